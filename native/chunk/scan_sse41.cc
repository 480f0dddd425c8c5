#include "chunk/comb.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Only what follows is compiled for SSE4.1; chunk.cc calls it after asking the processor.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("sse4.1"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse4.1")
#endif

namespace shoal_chunk {
namespace {

struct Lane {
  using Vec = __m128i;
  static constexpr int kBytes = 16;

  static inline Vec Load(const uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const Vec*>(at)); }
  static inline Vec Table(const uint8_t* table) { return _mm_load_si128(reinterpret_cast<const Vec*>(table)); }
  static inline Vec Zero() { return _mm_setzero_si128(); }
  static inline Vec Ones() { return _mm_set1_epi16(-1); }
  static inline Vec AddBytes(Vec a, Vec b) { return _mm_add_epi8(a, b); }
  static inline Vec Low(Vec v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
  static inline Vec High(Vec v) { return _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15)); }
  static inline Vec Look(Vec table, Vec v) { return _mm_shuffle_epi8(table, v); }
  static inline Vec Xor(Vec a, Vec b) { return _mm_xor_si128(a, b); }
  static inline Vec Add(Vec a, Vec b) { return _mm_add_epi16(a, b); }
  static inline Vec Least(Vec a, Vec b) { return _mm_min_epu16(a, b); }
  static inline Vec ZipLow(Vec a, Vec b) { return _mm_unpacklo_epi8(a, b); }
  static inline Vec ZipHigh(Vec a, Vec b) { return _mm_unpackhi_epi8(a, b); }

  static inline Vec Below16(Vec v) {
    return _mm_cmpeq_epi16(_mm_and_si128(v, _mm_set1_epi16(static_cast<short>(kFilter))), _mm_setzero_si128());
  }
  static inline bool Any(Vec least) { return _mm_movemask_epi8(Below16(least)) != 0; }
  static inline uint32_t Candidates(const Vec* h) {
    const int low = _mm_movemask_epi8(_mm_packs_epi16(Below16(h[0]), Below16(h[1])));
    const int high = _mm_movemask_epi8(_mm_packs_epi16(Below16(h[2]), Below16(h[3])));
    return static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
  }
};

#include "chunk/scan.inc"

}  // namespace

size_t FindCutSse41(const Scan& scan) { return FindCutRows(scan); }

}  // namespace shoal_chunk

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
