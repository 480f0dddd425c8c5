// Adaptive bit models and a logistic mixer (Mahoney 2005), integers only so that every implementation agrees.
#ifndef SHOAL_DELTA_MODEL_H
#define SHOAL_DELTA_MODEL_H

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace shoal::delta {

struct Tables {
  int16_t stretch[4096];   // ln(p/(1-p)) * 256 of p/4096
  uint16_t squash[4096];   // its inverse of (i-2048)/256, to 16 bits, 16..65520
  int32_t rate[1024];      // 65536 / (n + 1.5)
};
extern const Tables kTables;

inline int32_t stretch(uint32_t p16) { return kTables.stretch[p16 >> 4]; }
inline uint32_t squash(int32_t x) {
  return kTables.squash[(x < -2048 ? -2048 : x > 2047 ? 2047 : x) + 2048];
}

// A probability in the upper 22 bits and how often it was updated in the lower 10: new models learn fast.
struct BitModel {
  uint32_t state = 0x80000000u;

  uint32_t p16() const { return state >> 16; }
  // The probability as the coder takes it: never 0.
  uint32_t pCoder() const {
    const uint32_t p = state >> 16;
    return p == 0 ? 1 : p;
  }
  template <unsigned Limit>
  void update(int bit) {
    const uint32_t n = state & 1023;
    const int32_t p = static_cast<int32_t>(state >> 10);
    const int32_t goal = bit ? (1 << 22) - 1 : 0;
    const int32_t rate = kTables.rate[n];
    const int32_t next = p + static_cast<int32_t>((static_cast<int64_t>(goal - p) * rate) >> 16);
    state = static_cast<uint32_t>(next) << 10 | (n < Limit ? n + 1 : n);
  }
};


constexpr int kInputs = 8;

struct Mixer {
  alignas(16) int16_t weight[kInputs];

  int32_t dot(const int16_t* input) const {
#if defined(__SSE2__)
    __m128i s = _mm_madd_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weight)),
                               _mm_load_si128(reinterpret_cast<const __m128i*>(input)));
    s = _mm_add_epi32(s, _mm_srli_si128(s, 8));
    s = _mm_add_epi32(s, _mm_srli_si128(s, 4));
    return _mm_cvtsi128_si32(s);
#else
    int32_t s = 0;
    for (int i = 0; i < kInputs; i++) s += static_cast<int32_t>(weight[i]) * input[i];
    return s;
#endif
  }
  // error: -32768..32767
  void train(const int16_t* input, int32_t error) {
#if defined(__SSE2__)
    const __m128i in = _mm_load_si128(reinterpret_cast<const __m128i*>(input));
    __m128i w = _mm_load_si128(reinterpret_cast<const __m128i*>(weight));
    const __m128i step = _mm_mulhi_epi16(_mm_adds_epi16(in, in), _mm_set1_epi16(static_cast<int16_t>(error)));
    w = _mm_adds_epi16(w, _mm_srai_epi16(_mm_adds_epi16(step, _mm_set1_epi16(1)), 1));
    _mm_store_si128(reinterpret_cast<__m128i*>(weight), w);
#else
    for (int i = 0; i < kInputs; i++) {
      int32_t twice = 2 * input[i];
      if (twice > 32767) twice = 32767;
      if (twice < -32768) twice = -32768;
      const int32_t step = ((twice * error) >> 16) + 1;
      int32_t w = weight[i] + (step >> 1);
      if (w > 32767) w = 32767;
      if (w < -32768) w = -32768;
      weight[i] = static_cast<int16_t>(w);
    }
#endif
  }
};

}  // namespace shoal::delta

#endif
