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

struct Lane {
  using Vec = __m256i;
  static constexpr int kBytes = 32;

  static inline Vec Load(const uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const Vec*>(at)); }
  static inline Vec Table(const uint8_t* table) { return _mm256_load_si256(reinterpret_cast<const Vec*>(table)); }
  static inline Vec Zero() { return _mm256_setzero_si256(); }
  static inline Vec Ones() { return _mm256_set1_epi16(-1); }
  static inline Vec AddBytes(Vec a, Vec b) { return _mm256_add_epi8(a, b); }
  static inline Vec Low(Vec v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static inline Vec High(Vec v) { return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15)); }
  static inline Vec Look(Vec table, Vec v) { return _mm256_shuffle_epi8(table, v); }
  static inline Vec Xor(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
  static inline Vec Add(Vec a, Vec b) { return _mm256_add_epi16(a, b); }
  static inline Vec Least(Vec a, Vec b) { return _mm256_min_epu16(a, b); }
  static inline Vec ZipLow(Vec a, Vec b) { return _mm256_unpacklo_epi8(a, b); }
  static inline Vec ZipHigh(Vec a, Vec b) { return _mm256_unpackhi_epi8(a, b); }

  static inline Vec Below16(Vec v) {
    return _mm256_cmpeq_epi16(_mm256_and_si256(v, _mm256_set1_epi16(static_cast<short>(kFilter))), _mm256_setzero_si256());
  }
  static inline bool Any(Vec least) { return _mm256_movemask_epi8(Below16(least)) != 0; }
  // Zipping left positions 0–7 and 16–23 in one register, 8–15 and 24–31 in the other; packing puts them in order.
  static inline uint32_t Candidates(const Vec* h) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(Below16(h[0]), Below16(h[1]))));
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
