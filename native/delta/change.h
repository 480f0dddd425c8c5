// Codes by how much a field changed when nothing foresaw it, and distances.
#ifndef SHOAL_DELTA_CHANGE_H
#define SHOAL_DELTA_CHANGE_H

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model.h"

namespace shoal::delta {

inline uint32_t load32(const uint8_t* p) {
  return p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}
inline uint32_t load16(const uint8_t* p) { return p[0] | static_cast<uint32_t>(p[1]) << 8; }
inline uint32_t log2Floor(uint32_t v) { return 31 - static_cast<uint32_t>(__builtin_clz(v)); }

// Four bytes, fewer at the end of a stretch, little-endian.
struct Field {
  uint32_t value, want, mask, room;

  Field(const uint8_t* predicted, const uint8_t* target, size_t left)
      : room(static_cast<uint32_t>(std::min<size_t>(4, left))) {
    mask = room == 4 ? ~0u : (1u << 8 * room) - 1;
    value = read(predicted, room);
    want = target == nullptr ? 0 : read(target, room);
  }
  void write(uint8_t* p, uint32_t by) const {
    const uint32_t v = value + by;
    if (room == 4) {
      for (uint32_t k = 0; k < 4; k++) p[k] = static_cast<uint8_t>(v >> 8 * k);
      return;
    }
    for (uint32_t k = 0; k < room; k++) p[k] = static_cast<uint8_t>(v >> 8 * k);
  }

 private:
  static uint32_t read(const uint8_t* p, uint32_t room) {
    if (room == 4) return load32(p);
    uint32_t v = 0;
    for (uint32_t k = 0; k < room; k++) v |= static_cast<uint32_t>(p[k]) << 8 * k;
    return v;
  }
};

constexpr uint32_t kChangeRows = 258;  // 256 of sites, two of tables

struct ChangeState {
  Bit size[kChangeRows][32], sign[32], small[16][128], high[32][8], low[32][16];

  void reset() {
    fill(size[0], kChangeRows * 32, kEven);
    fill(sign, 32, kEven);
    fill(small[0], 16 * 128, kEven);
    fill(high[0], 32 * 8, kEven);
    fill(low[0], 32 * 16, kEven);
  }
};

// Size class, sign, then the bits, the lowest four last (code moves by multiples of 16). Never 0.
template <class Coder>
uint32_t codeChange(Coder& coder, ChangeState& s, uint32_t row, const Field& f) {
  uint32_t magnitude = 1, negative = 0;
  if (!Coder::kDecodes) {
    const uint32_t d = (f.want - f.value) & f.mask;
    negative = d > f.mask >> 1 ? 1 : 0;
    magnitude = negative ? (0u - d) & f.mask : d;
  }
  const uint32_t want = log2Floor(magnitude);
  uint32_t node = 1;
  for (uint32_t b = 5; b-- > 0;)
    node = node << 1 | static_cast<uint32_t>(plain(coder, s.size[row][node], want >> b & 1));
  const uint32_t bits = node & 31;
  negative = static_cast<uint32_t>(plain(coder, s.sign[bits], static_cast<int>(negative)));
  uint32_t r = 1;
  auto next = [&](Bit& m, uint32_t k) { return static_cast<uint32_t>(plain(coder, m, magnitude >> k & 1)); };
  if (bits <= 7) {
    for (uint32_t k = bits; k-- > 0;) r = r << 1 | next(s.small[bits + 8 * negative][r], k);
    return negative ? 0u - r : r;
  }
  uint32_t k = bits;
  for (int n = 0; n < 3; n++) {
    k--;
    r = r << 1 | next(s.high[bits][r], k);
  }
  while (k > 4) {
    const uint32_t n = std::min(k - 4, 16u);
    k -= n;
    r = r << n | coder.raw(n, magnitude >> k & ((1u << n) - 1));
  }
  uint32_t tail = 1, low = 0;
  for (uint32_t b = 0; b < 4; b++) {
    const uint32_t bit = next(s.low[bits][tail], b);
    tail = tail << 1 | bit;
    low |= bit << b;
  }
  r = r << 4 | low;
  return negative ? 0u - r : r;
}

// Numbers of 0 to 2^32 - 2 in Elias' gamma code with learned bits; each expects to be about as large as the last.
struct GammaState {
  Bit more[32][32], bits[32][32];
  uint32_t last;

  void reset() {
    fill(more[0], 32 * 32, kEven);
    fill(bits[0], 32 * 32, kEven);
    last = 0;
  }
};

template <class Coder>
uint32_t codeGamma(Coder& coder, GammaState& s, uint32_t number) {
  const uint32_t n = number + 1, want = log2Floor(n);
  uint32_t size = 0;
  while (size < 31 && plain(coder, s.more[s.last][size], size < want)) size++;
  s.last = size;
  uint32_t r = 1;
  for (uint32_t k = size; k-- > 0;) r = r << 1 | static_cast<uint32_t>(plain(coder, s.bits[size][k], n >> k & 1));
  return r - 1;
}

}  // namespace shoal::delta

#endif
