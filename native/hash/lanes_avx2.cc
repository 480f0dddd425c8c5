#include "hash/lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Only what follows is compiled for AVX2; hash.cc calls it after asking the processor.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace shoal_hash {
namespace {

struct Lane {
  using Vec = __m256i;
  static constexpr size_t kCount = 8;

  static inline Vec Load(const uint32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const Vec*>(at)); }
  static inline Vec Set(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
  static inline Vec Add(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  static inline Vec Xor(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
  static inline Vec Choose(Vec mask, Vec a, Vec b) { return _mm256_blendv_epi8(b, a, mask); }
  // Eight rows of eight words become eight columns.
  static inline __attribute__((always_inline)) void Transpose(Vec* r) {
    const Vec a0 = _mm256_unpacklo_epi32(r[0], r[1]), a1 = _mm256_unpackhi_epi32(r[0], r[1]);
    const Vec a2 = _mm256_unpacklo_epi32(r[2], r[3]), a3 = _mm256_unpackhi_epi32(r[2], r[3]);
    const Vec a4 = _mm256_unpacklo_epi32(r[4], r[5]), a5 = _mm256_unpackhi_epi32(r[4], r[5]);
    const Vec a6 = _mm256_unpacklo_epi32(r[6], r[7]), a7 = _mm256_unpackhi_epi32(r[6], r[7]);
    const Vec b0 = _mm256_unpacklo_epi64(a0, a2), b1 = _mm256_unpackhi_epi64(a0, a2);
    const Vec b2 = _mm256_unpacklo_epi64(a1, a3), b3 = _mm256_unpackhi_epi64(a1, a3);
    const Vec b4 = _mm256_unpacklo_epi64(a4, a6), b5 = _mm256_unpackhi_epi64(a4, a6);
    const Vec b6 = _mm256_unpacklo_epi64(a5, a7), b7 = _mm256_unpackhi_epi64(a5, a7);
    r[0] = _mm256_permute2x128_si256(b0, b4, 0x20);
    r[1] = _mm256_permute2x128_si256(b1, b5, 0x20);
    r[2] = _mm256_permute2x128_si256(b2, b6, 0x20);
    r[3] = _mm256_permute2x128_si256(b3, b7, 0x20);
    r[4] = _mm256_permute2x128_si256(b0, b4, 0x31);
    r[5] = _mm256_permute2x128_si256(b1, b5, 0x31);
    r[6] = _mm256_permute2x128_si256(b2, b6, 0x31);
    r[7] = _mm256_permute2x128_si256(b3, b7, 0x31);
  }

  static inline __attribute__((always_inline)) void Message(const uint8_t* const* at, size_t offset, Vec* m) {
    for (int lane = 0; lane < 8; lane++) {
      m[lane] = _mm256_loadu_si256(reinterpret_cast<const Vec*>(at[lane] + offset));
      m[8 + lane] = _mm256_loadu_si256(reinterpret_cast<const Vec*>(at[lane] + offset + 32));
      // The lanes are a leaf apart: too many streams for the processor to see where they go.
      _mm_prefetch(reinterpret_cast<const char*>(at[lane] + offset + 256), _MM_HINT_T0);
    }
    Transpose(m);
    Transpose(m + 8);
  }

  static inline __attribute__((always_inline)) void Store(Vec* h, uint8_t* const* out) {
    Transpose(h);
    for (int lane = 0; lane < 8; lane++) _mm256_storeu_si256(reinterpret_cast<Vec*>(out[lane]), h[lane]);
  }
};

alignas(32) constexpr uint8_t kTurn16[32] = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                           2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
alignas(32) constexpr uint8_t kTurn8[32] = {1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12,
                                          1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12};

// As rounds.inc, instruction by instruction: the state fills all sixteen registers and turning by 12 or 7 needs one more.
// Compilers then move words to and fro (GCC 12 loses a third of the rate); here ymm8 is the one more and v[8] lives in memory.
#define ADD_WORD(word, a) "vpaddd 32*" #word "(%[m]), %%ymm" #a ", %%ymm" #a "\n\t"
#define ADD(from, to) "vpaddd %%ymm" #from ", %%ymm" #to ", %%ymm" #to "\n\t"
#define XOR(from, to) "vpxor %%ymm" #from ", %%ymm" #to ", %%ymm" #to "\n\t"
#define SHUFFLE(how, d) "vpshufb %[" how "], %%ymm" #d ", %%ymm" #d "\n\t"
#define SHIFT(left, right, b) \
  "vpslld $" #left ", %%ymm" #b ", %%ymm8\n\tvpsrld $" #right ", %%ymm" #b ", %%ymm" #b "\n\tvpor %%ymm8, %%ymm" #b ", %%ymm" #b "\n\t"
// Half a mix of four columns or diagonals, of which the first has v[8].
#define QUAD(w0, w1, w2, w3, a0, a1, a2, a3, b0, b1, b2, b3, c1, c2, c3, d0, d1, d2, d3, how, left, right)   \
  ADD_WORD(w0, a0) ADD_WORD(w1, a1) ADD_WORD(w2, a2) ADD_WORD(w3, a3)                                        \
  ADD(b0, a0) ADD(b1, a1) ADD(b2, a2) ADD(b3, a3)                                                            \
  XOR(a0, d0) XOR(a1, d1) XOR(a2, d2) XOR(a3, d3)                                                            \
  SHUFFLE(how, d0) SHUFFLE(how, d1) SHUFFLE(how, d2) SHUFFLE(how, d3)                                        \
  "vpaddd %[v8], %%ymm" #d0 ", %%ymm8\n\tvmovdqa %%ymm8, %[v8]\n\t" ADD(d1, c1) ADD(d2, c2) ADD(d3, c3)     \
  XOR(8, b0) XOR(c1, b1) XOR(c2, b2) XOR(c3, b3)                                                             \
  SHIFT(left, right, b0) SHIFT(left, right, b1) SHIFT(left, right, b2) SHIFT(left, right, b3)
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15)                          \
  QUAD(s0, s2, s4, s6, 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, "turn16", 20, 12)                  \
  QUAD(s1, s3, s5, s7, 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, "turn8", 25, 7)                    \
  QUAD(s12, s14, s8, s10, 2, 3, 0, 1, 7, 4, 5, 6, 9, 10, 11, 13, 14, 15, 12, "turn16", 20, 12)               \
  QUAD(s13, s15, s9, s11, 2, 3, 0, 1, 7, 4, 5, 6, 9, 10, 11, 13, 14, 15, 12, "turn8", 25, 7)

// The rest of the initial state: a broadcast of each of kIv[0] to kIv[3].
#define FOUR(word) word, word, word, word, word, word, word, word
alignas(32) constexpr uint32_t kIvRows[32] = {FOUR(kIv[0]), FOUR(kIv[1]), FOUR(kIv[2]), FOUR(kIv[3])};

inline __attribute__((always_inline)) void Rounds(Lane::Vec (&h)[8], const Lane::Vec (&m)[16], const Lane::Vec (&counter)[2],
                                                  const uint32_t* length, const uint32_t* flags) {
  Lane::Vec v8;
  __asm__(
      "vmovdqa (%[iv]), %%ymm8\n\tvmovdqa 32(%[iv]), %%ymm9\n\tvmovdqa 64(%[iv]), %%ymm10\n\tvmovdqa 96(%[iv]), %%ymm11\n\t"
      "vmovdqa (%[counter]), %%ymm12\n\tvmovdqa 32(%[counter]), %%ymm13\n\tvmovdqu (%[length]), %%ymm14\n\tvmovdqu (%[flags]), %%ymm15\n\t"
      "vmovdqa (%[h]), %%ymm0\n\tvmovdqa 32(%[h]), %%ymm1\n\tvmovdqa 64(%[h]), %%ymm2\n\tvmovdqa 96(%[h]), %%ymm3\n\t"
      "vmovdqa 128(%[h]), %%ymm4\n\tvmovdqa 160(%[h]), %%ymm5\n\tvmovdqa 192(%[h]), %%ymm6\n\tvmovdqa 224(%[h]), %%ymm7\n\t"
      "vmovdqa %%ymm8, %[v8]\n\t"
      // Table 2 of the specification, applied once more each round.
      ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
      ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
      ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
      ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
      ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
      ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
      ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)
      "vpxor %[v8], %%ymm0, %%ymm0\n\tvpxor %%ymm9, %%ymm1, %%ymm1\n\tvpxor %%ymm10, %%ymm2, %%ymm2\n\tvpxor %%ymm11, %%ymm3, %%ymm3\n\t"
      "vpxor %%ymm12, %%ymm4, %%ymm4\n\tvpxor %%ymm13, %%ymm5, %%ymm5\n\tvpxor %%ymm14, %%ymm6, %%ymm6\n\tvpxor %%ymm15, %%ymm7, %%ymm7\n\t"
      "vmovdqa %%ymm0, (%[h])\n\tvmovdqa %%ymm1, 32(%[h])\n\tvmovdqa %%ymm2, 64(%[h])\n\tvmovdqa %%ymm3, 96(%[h])\n\t"
      "vmovdqa %%ymm4, 128(%[h])\n\tvmovdqa %%ymm5, 160(%[h])\n\tvmovdqa %%ymm6, 192(%[h])\n\tvmovdqa %%ymm7, 224(%[h])\n\t"
      : "+m"(h), [v8] "=&m"(v8)
      : [h] "r"(h), [m] "r"(m), "m"(m), [counter] "r"(counter), "m"(counter), [iv] "r"(kIvRows), "m"(kIvRows),
        [length] "r"(length), [flags] "r"(flags), [turn16] "m"(kTurn16), [turn8] "m"(kTurn8)
      : "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
}

#include "hash/compress.inc"

}  // namespace

const Isa kAvx2 = {Lane::kCount, CompressLanes};

}  // namespace shoal_hash

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
