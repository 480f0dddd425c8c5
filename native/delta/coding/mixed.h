// The small way to code a byte nothing predicts: bit by bit, orders 1 to 3 mixed. Five times slower than nibbles.h.
#ifndef SHOAL_DELTA_MIXED_H
#define SHOAL_DELTA_MIXED_H

#include <cstddef>
#include <cstdint>

#include "model.h"
#include "sizes.h"

namespace shoal::delta {

constexpr uint32_t kMixedLimit = 30;

class MixedBytes {
 public:
  void reset() {
    fill(order1_[0], kOrder1 * 256, kEven);
    fill(lines_[0], 2 * (16 << kLineBits), kEven);
    for (auto& m : mix_)
      for (auto& w : m.weight) w = 16384;
  }

  // recent: the four bytes before, the nearest on top.
  template <class Coder>
  uint32_t byte(Coder& coder, uint32_t recent, uint32_t want) {
    const uint32_t h[2] = {((recent >> 16) + 0x10000u) * 0x9E3779B1u, ((recent >> 8) + 0x1000000u) * 0x85EBCA6Bu};
    Bit* order1 = order1_[(recent >> 24) & (kOrder1 - 1)];
    uint32_t node = 1;
    for (int half = 4; half >= 0; half -= 4) {
      Bit* line[2];
      for (int j = 0; j < 2; j++) {
        uint32_t x = h[j] + node * 0x9E3779B1u;
        x ^= x >> 15;
        line[j] = &lines_[j][(x * 0x2C1B3C6Du) >> (32 - kLineBits) << 4];
      }
      uint32_t sub = 1;
      for (int k = 3; k >= 0; k--) {
        Bit &a = order1[node], &b = line[0][sub], &c = line[1][sub];
        const int32_t in[3] = {stretch(a.p()), stretch(b.p()), stretch(c.p())};
        Mix<3, 16>& mix = mix_[node];
        const uint32_t p = squash(mix.dot(in));
        const int bit = coder.bit(p, want >> (half + k) & 1);
        mix.train(in, (bit << 16) - static_cast<int32_t>(p));
        learn<kMixedLimit>(a, bit);
        learn<kMixedLimit>(b, bit);
        learn<kMixedLimit>(c, bit);
        sub = sub << 1 | static_cast<uint32_t>(bit);
        node = node << 1 | static_cast<uint32_t>(bit);
      }
    }
    return node & 0xFF;
  }

 private:
  Bit order1_[kOrder1][256];
  Bit lines_[2][16 << kLineBits];
  Mix<3, 16> mix_[256];
};

}  // namespace shoal::delta

#endif
