#include "hash/lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Only what follows is compiled for SSE4.1; hash.cc calls it after asking the processor.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("sse4.1"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse4.1")
#endif

namespace shoal_hash {
namespace {

struct Lane {
  using Vec = __m128i;
  static constexpr size_t kCount = 4;

  static inline Vec Load(const uint32_t* at) { return _mm_loadu_si128(reinterpret_cast<const Vec*>(at)); }
  static inline Vec Set(uint32_t value) { return _mm_set1_epi32(static_cast<int>(value)); }
  static inline Vec Add(Vec a, Vec b) { return _mm_add_epi32(a, b); }
  static inline Vec Xor(Vec a, Vec b) { return _mm_xor_si128(a, b); }
  static inline Vec Choose(Vec mask, Vec a, Vec b) { return _mm_blendv_epi8(b, a, mask); }
  static inline Vec Right16(Vec v) {
    return _mm_shuffle_epi8(v, _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
  }
  static inline Vec Right8(Vec v) {
    return _mm_shuffle_epi8(v, _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1));
  }
  static inline Vec Right12(Vec v) { return _mm_or_si128(_mm_srli_epi32(v, 12), _mm_slli_epi32(v, 20)); }
  static inline Vec Right7(Vec v) { return _mm_or_si128(_mm_srli_epi32(v, 7), _mm_slli_epi32(v, 25)); }

  // Four rows of four words become four columns.
  static inline __attribute__((always_inline)) void Transpose(Vec* r) {
    const Vec a0 = _mm_unpacklo_epi32(r[0], r[1]), a1 = _mm_unpackhi_epi32(r[0], r[1]);
    const Vec a2 = _mm_unpacklo_epi32(r[2], r[3]), a3 = _mm_unpackhi_epi32(r[2], r[3]);
    r[0] = _mm_unpacklo_epi64(a0, a2);
    r[1] = _mm_unpackhi_epi64(a0, a2);
    r[2] = _mm_unpacklo_epi64(a1, a3);
    r[3] = _mm_unpackhi_epi64(a1, a3);
  }

  static inline __attribute__((always_inline)) void Message(const uint8_t* const* at, size_t offset, Vec* m) {
    for (int row = 0; row < 4; row++) {
      for (int lane = 0; lane < 4; lane++) {
        m[row * 4 + lane] = _mm_loadu_si128(reinterpret_cast<const Vec*>(at[lane] + offset + static_cast<size_t>(row) * 16));
      }
      Transpose(m + row * 4);
    }
  }

  static inline __attribute__((always_inline)) void Store(Vec* h, uint8_t* const* out) {
    Transpose(h);
    Transpose(h + 4);
    for (int lane = 0; lane < 4; lane++) {
      _mm_storeu_si128(reinterpret_cast<Vec*>(out[lane]), h[lane]);
      _mm_storeu_si128(reinterpret_cast<Vec*>(out[lane] + 16), h[4 + lane]);
    }
  }
};

#include "hash/rounds.inc"
#include "hash/compress.inc"

}  // namespace

const Isa kSse41 = {Lane::kCount, CompressLanes};

}  // namespace shoal_hash

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
