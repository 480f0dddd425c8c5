#include "chunk/comb.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Only what follows is compiled for AVX2; chunk.cc calls it after asking the processor.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,popcnt,bmi")
#endif

namespace shoal_chunk {
namespace {

struct Tables {
  alignas(32) uint8_t of[4][32];  // byte 0 by low nibble, byte 0 by high nibble, byte 1 by low, byte 1 by high; twice
  constexpr Tables() : of() {
    for (int i = 0; i < 32; i++) {
      of[0][i] = static_cast<uint8_t>(kLow[i & 15]);
      of[1][i] = static_cast<uint8_t>(kHigh[i & 15]);
      of[2][i] = static_cast<uint8_t>(kLow[i & 15] >> 8);
      of[3][i] = static_cast<uint8_t>(kHigh[i & 15] >> 8);
    }
  }
};
constexpr Tables kTables;

struct Rows {
  using Least = __m256i;

  // Positions 0–7 and 16–23, and 8–15 and 24–31: how unpacking leaves them.
  __m256i a, b;

  // Not a constructor: a compiler-made one would not be compiled for this instruction set.
  inline void Clear() { a = b = _mm256_setzero_si256(); }

  static __m256i Table(int which) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(kTables.of[which])); }

  inline void Step(const uint8_t* at) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i sample = _mm256_add_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)),
                                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at - kPartner)));
    const __m256i low = _mm256_and_si256(sample, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(sample, 4), nibble);
    const __m256i byte0 = _mm256_xor_si256(_mm256_shuffle_epi8(Table(0), low), _mm256_shuffle_epi8(Table(1), high));
    const __m256i byte1 = _mm256_xor_si256(_mm256_shuffle_epi8(Table(2), low), _mm256_shuffle_epi8(Table(3), high));
    a = _mm256_add_epi16(_mm256_add_epi16(a, a), _mm256_unpacklo_epi8(byte0, byte1));
    b = _mm256_add_epi16(_mm256_add_epi16(b, b), _mm256_unpackhi_epi8(byte0, byte1));
  }

  static inline Least Start() { return _mm256_set1_epi16(-1); }
  inline void Fold(Least& least) const { least = _mm256_min_epu16(least, _mm256_min_epu16(a, b)); }

  static inline __m256i Below16(__m256i h) {
    return _mm256_cmpeq_epi16(_mm256_and_si256(h, _mm256_set1_epi16(static_cast<short>(kFilter))), _mm256_setzero_si256());
  }
  static inline bool Any(Least least) { return _mm256_movemask_epi8(Below16(least)) != 0; }
  inline uint32_t Candidates() const {
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(Below16(a), Below16(b))));
  }
};

#include "chunk/scan.inc"

}  // namespace

size_t FindCutAvx2(const Scan& scan) { return FindCutRows(scan); }

}  // namespace shoal_chunk

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
