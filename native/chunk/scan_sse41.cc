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

struct Tables {
  alignas(16) uint8_t of[4][16];  // byte 0 by low nibble, byte 0 by high nibble, byte 1 by low, byte 1 by high
  constexpr Tables() : of() {
    for (int i = 0; i < 16; i++) {
      of[0][i] = static_cast<uint8_t>(kLow[i]);
      of[1][i] = static_cast<uint8_t>(kHigh[i]);
      of[2][i] = static_cast<uint8_t>(kLow[i] >> 8);
      of[3][i] = static_cast<uint8_t>(kHigh[i] >> 8);
    }
  }
};
constexpr Tables kTables;

struct Rows {
  using Least = __m128i;

  __m128i h[4];

  inline void Clear() { h[0] = h[1] = h[2] = h[3] = _mm_setzero_si128(); }

  static __m128i Table(int which) { return _mm_load_si128(reinterpret_cast<const __m128i*>(kTables.of[which])); }

  static inline void Half(const uint8_t* at, __m128i& a, __m128i& b) {
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i sample = _mm_add_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)),
                                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(at - kPartner)));
    const __m128i low = _mm_and_si128(sample, nibble);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(sample, 4), nibble);
    const __m128i byte0 = _mm_xor_si128(_mm_shuffle_epi8(Table(0), low), _mm_shuffle_epi8(Table(1), high));
    const __m128i byte1 = _mm_xor_si128(_mm_shuffle_epi8(Table(2), low), _mm_shuffle_epi8(Table(3), high));
    a = _mm_add_epi16(_mm_add_epi16(a, a), _mm_unpacklo_epi8(byte0, byte1));
    b = _mm_add_epi16(_mm_add_epi16(b, b), _mm_unpackhi_epi8(byte0, byte1));
  }
  inline void Step(const uint8_t* at) {
    Half(at, h[0], h[1]);
    Half(at + 16, h[2], h[3]);
  }

  static inline Least Start() { return _mm_set1_epi16(-1); }
  inline void Fold(Least& least) const {
    least = _mm_min_epu16(least, _mm_min_epu16(_mm_min_epu16(h[0], h[1]), _mm_min_epu16(h[2], h[3])));
  }

  static inline __m128i Below16(__m128i x) {
    return _mm_cmpeq_epi16(_mm_and_si128(x, _mm_set1_epi16(static_cast<short>(kFilter))), _mm_setzero_si128());
  }
  static inline bool Any(Least least) { return _mm_movemask_epi8(Below16(least)) != 0; }
  inline uint32_t Candidates() const {
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
