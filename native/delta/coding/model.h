// Adaptive bit models and a logistic mixer (Mahoney 2005) in 32-bit integers, so that every implementation agrees.
#ifndef SHOAL_DELTA_MODEL_H
#define SHOAL_DELTA_MODEL_H

#include <cstddef>
#include <cstdint>

namespace shoal::delta {

struct Tables {
  int16_t stretch[4096];  // ln(p/(1-p)) * 256 of p/4096
  uint16_t squash[4096];  // its inverse of (i-2048)/256, to 16 bits, 22..65514
  int32_t rate[128];      // 65536 / (2n + 3), of 32768
};
extern const Tables kTables;

inline int32_t stretch(uint32_t p16) { return kTables.stretch[p16 >> 4]; }
inline uint32_t squash(int32_t x) {
  return kTables.squash[(x < -2048 ? -2048 : x > 2047 ? 2047 : x) + 2048];
}

// The probability of a one in the upper 16 bits and how often it was updated in the lower 16: new models learn fast.
struct Bit {
  uint32_t state;
  uint32_t p() const { return state >> 16; }
};
constexpr uint32_t kEven = 0x80000000u;

template <uint32_t Limit>
inline void learn(Bit& b, int bit) {
  const uint32_t n = b.state & 0xFFFF;
  const int32_t p = static_cast<int32_t>(b.state >> 16);
  const int32_t next = p + ((((bit ? 65535 : 0) - p) * kTables.rate[n]) >> 15);
  b.state = static_cast<uint32_t>(next) << 16 | (n + (n < Limit ? 1 : 0));
}

// Weights are of 65536. Sums wrap: only damaged payloads get there, and they must do so alike everywhere.
template <int N, int Shift>
struct Mix {
  int32_t weight[N];

  int32_t dot(const int32_t* in) const {
    uint32_t x = 0;
    for (int i = 0; i < N; i++) x += static_cast<uint32_t>(weight[i]) * static_cast<uint32_t>(in[i]);
    return static_cast<int32_t>(x) >> 16;
  }
  // error: 65536 times the bit, minus the probability the mixer gave it.
  void train(const int32_t* in, int32_t error) {
    for (int i = 0; i < N; i++)
      weight[i] = static_cast<int32_t>(static_cast<uint32_t>(weight[i]) +
                                       static_cast<uint32_t>((in[i] * error + (1 << (Shift - 1))) >> Shift));
  }
};

// What every model needs of a coder: a bit with a model of its own.
constexpr uint32_t kPlainLimit = 60;
template <class Coder>
inline int plain(Coder& coder, Bit& m, int bit) {
  const uint32_t p = m.p();
  bit = coder.bit(p + (p == 0 ? 1 : 0), bit);
  learn<kPlainLimit>(m, bit);
  return bit;
}

inline void fill(Bit* bits, size_t count, uint32_t state) {
  for (size_t i = 0; i < count; i++) bits[i].state = state;
}

}  // namespace shoal::delta

#endif
