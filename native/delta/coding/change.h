// Codes by how much a field changed when nothing foresaw it, and distances.
#ifndef SHOAL_DELTA_CHANGE_H
#define SHOAL_DELTA_CHANGE_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model.h"
#include "nibbles.h"

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
  Nibbles size[kChangeRows], top[2][16], small[7][8], low[32];

  void reset() {
    fillEven(size, kChangeRows);
    fillEven(top[0], 2 * 16);
    fillEven(small[0], 7 * 8);
    fillEven(low, 32);
  }
};

// Half of the size class; its other half, the sign and the two bits below the leading one; then the bits that are left: all
// of them where they are few, else plain bits and the lowest four (code moves by multiples of 16). Never 0.
template <class Coder>
uint32_t codeChange(Coder& coder, ChangeState& s, uint32_t row, const Field& f) {
  uint32_t magnitude = 1, negative = 0, bits = 0, sub = 0;
  if (!Coder::kDecodes) {
    const uint32_t d = (f.want - f.value) & f.mask;
    negative = d > f.mask >> 1 ? 1 : 0;
    magnitude = negative ? (0u - d) & f.mask : d;
    bits = log2Floor(magnitude);
    sub = (bits & 1) << 3 | negative << 2 | (bits >= 2 ? magnitude >> (bits - 2) & 3 : bits == 1 ? (magnitude & 1) << 1 : 0);
  }
  const uint32_t half = nibble(coder, s.size[row], bits >> 1);
  sub = nibble(coder, s.top[row >= kChangeRows - 2][half], sub);
  bits = half << 1 | sub >> 3;
  negative = sub >> 2 & 1;
  uint32_t r = bits >= 2 ? 4 | (sub & 3) : bits == 1 ? 2 | (sub >> 1 & 1) : 1;
  uint32_t left = bits >= 2 ? bits - 2 : 0;
  if (bits <= 6) {
    if (left > 0) r = r << left | (nibble(coder, s.small[bits][sub & 7], magnitude & ((1u << left) - 1)) & ((1u << left) - 1));
    return negative ? 0u - r : r;
  }
  while (left > 4) {
    const uint32_t n = std::min(left - 4, 16u);
    left -= n;
    r = r << n | coder.raw(n, magnitude >> left & ((1u << n) - 1));
  }
  r = r << 4 | nibble(coder, s.low[bits], magnitude & 15);
  return negative ? 0u - r : r;
}

// Numbers of 0 to 2^32 - 2 in Elias' gamma code with learned bits; each expects to be about as large as the last.
struct GammaState {
  Bit more[32][32], bits[32][32];
  uint32_t last;

  void reset() {
    fill(more[0], 32 * 32, 0xC0000000u);
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

// Counts how often something happened until the next exception, in a coder of its own: an encoder writes a count when the
// exception is there, a decoder reads it ahead. Nothing at all stands for no exception: past the end come zeros, which is
// the largest count.
template <class Coder>
class Countdown {
 public:
  Countdown(Coder& coder, GammaState& state) : coder_(coder), s_(state) {
    if (Coder::kDecodes) left_ = codeGamma(coder_, s_, 0);
  }
  // Decoders: how many of the next `most` are as expected; fewer: then comes an exception.
  uint32_t take(uint32_t most) {
    if (left_ >= most) {
      left_ -= most;
      return most;
    }
    const uint32_t n = left_;
    left_ = codeGamma(coder_, s_, 0);
    return n;
  }
  // Decoders: is the next as expected?
  bool expected() {
    if (left_ != 0) {
      left_--;
      return true;
    }
    return again();
  }
  // Encoders.
  void add(uint32_t n) { left_ += n; }
  void exception() {
    codeGamma(coder_, s_, left_);
    left_ = 0;
    any_ = true;
  }
  void finish() {
    if (any_) codeGamma(coder_, s_, left_);
  }

 private:
  [[gnu::noinline]] bool again() {
    left_ = codeGamma(coder_, s_, 0);
    return false;
  }

  Coder& coder_;
  GammaState& s_;
  uint32_t left_ = 0;
  bool any_ = false;
};

}  // namespace shoal::delta

#endif
