#include "hash/lanes.h"

#if defined(__x86_64__)
#if defined(SHOAL_HASH_EMULATE_AVX512)
// For tests where there is no such processor: what each instruction does, in others (libsimde-dev).
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>

// Only what follows is compiled for AVX-512F; hash.cc calls it after asking the processor and trying it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
// GCC 12 takes the headers' own idiom for "any value" for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#endif

namespace shoal_hash {
namespace {

// Sixteen lanes, and thirty-two registers: state and message stay in them, and turning is one instruction.
struct Lane {
  using Vec = __m512i;
  static constexpr size_t kCount = 16;

  static inline Vec Load(const uint32_t* at) { return _mm512_loadu_si512(at); }
  static inline Vec Set(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static inline Vec Add(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  static inline Vec Xor(Vec a, Vec b) { return _mm512_xor_si512(a, b); }
  static inline Vec Choose(Vec mask, Vec a, Vec b) { return _mm512_mask_blend_epi32(_mm512_test_epi32_mask(mask, mask), b, a); }
  static inline Vec Right16(Vec v) { return _mm512_ror_epi32(v, 16); }
  static inline Vec Right12(Vec v) { return _mm512_ror_epi32(v, 12); }
  static inline Vec Right8(Vec v) { return _mm512_ror_epi32(v, 8); }
  static inline Vec Right7(Vec v) { return _mm512_ror_epi32(v, 7); }

  // Within each quarter of four rows: afterwards row j of them has, in quarter p, word 4 p + j of all four.
  static inline __attribute__((always_inline)) void Quarters(Vec* r) {
    const Vec a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
    const Vec c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);
    r[0] = _mm512_unpacklo_epi64(a, c);
    r[1] = _mm512_unpackhi_epi64(a, c);
    r[2] = _mm512_unpacklo_epi64(b, d);
    r[3] = _mm512_unpackhi_epi64(b, d);
  }

  // Quarter p of row q changes places with quarter q of row p.
  static inline __attribute__((always_inline)) void Swap(Vec& r0, Vec& r1, Vec& r2, Vec& r3) {
    const Vec even0 = _mm512_shuffle_i32x4(r0, r1, 0x88), odd0 = _mm512_shuffle_i32x4(r0, r1, 0xdd);
    const Vec even1 = _mm512_shuffle_i32x4(r2, r3, 0x88), odd1 = _mm512_shuffle_i32x4(r2, r3, 0xdd);
    r0 = _mm512_shuffle_i32x4(even0, even1, 0x88);
    r1 = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
    r2 = _mm512_shuffle_i32x4(even0, even1, 0xdd);
    r3 = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
  }

  // Sixteen rows of sixteen words, a block of each lane, become sixteen columns.
  static inline __attribute__((always_inline)) void Message(const uint8_t* const* at, size_t offset, Vec* m) {
    for (int lane = 0; lane < 16; lane++) {
      m[lane] = _mm512_loadu_si512(at[lane] + offset);
      // The lanes are a leaf apart: too many streams for the processor to see where they go.
      __builtin_prefetch(at[lane] + offset + 256);
    }
    for (int quarter = 0; quarter < 16; quarter += 4) Quarters(m + quarter);
    for (int j = 0; j < 4; j++) Swap(m[j], m[4 + j], m[8 + j], m[12 + j]);
  }

  static inline __attribute__((always_inline)) void Store(Vec* h, uint8_t* const* out) {
    alignas(64) uint32_t words[8][kCount];
    for (int i = 0; i < 8; i++) _mm512_storeu_si512(words[i], h[i]);
    for (size_t lane = 0; lane < kCount; lane++) {
      uint32_t value[8];
      for (int i = 0; i < 8; i++) value[i] = words[i][lane];
      __builtin_memcpy(out[lane], value, kValue);
    }
  }
};

#include "hash/rounds.inc"
#include "hash/compress.inc"

}  // namespace

const Isa kAvx512 = {Lane::kCount, CompressLanes};

}  // namespace shoal_hash

#if !defined(SHOAL_HASH_EMULATE_AVX512)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC diagnostic pop
#pragma GCC pop_options
#endif
#endif
#endif
