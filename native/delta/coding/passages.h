// A payload for a segment that was written anew from known phrases: lists dealt out otherwise, text moved about. It is made of
// passages of the prediction and of what the segment has so far, from anywhere in them, and single bytes (Ziv and Lempel 1977); the
// prediction is a dictionary, right at no place in particular (docs/delta.md, "Passages").
#ifndef SHOAL_DELTA_PASSAGES_H
#define SHOAL_DELTA_PASSAGES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "change.h"
#include "delta/delta.h"
#include "literals.h"
#include "mixed.h"
#include "model.h"
#include "nibbles.h"

namespace shoal::delta {

constexpr uint8_t kPassagesHead = 254;  // first bytes of such payloads: this or one more
constexpr uint32_t kPassageStates = 9;  // what the last two steps were: a byte, a new distance, a known one
constexpr uint32_t kKnown = 4;          // distances remembered
constexpr uint32_t kLeastNew = 2;       // bytes of a passage at a new distance

// What comes next: a byte, or `length` bytes that lie `distance` back in the prediction followed by the segment.
struct Passage {
  enum Kind : uint32_t { kByte = 0, kNew = 1, kFirstKnown = 2 };  // kFirstKnown + n: the distance known as number n
  uint32_t kind, length, distance;
};

// What coder and parser know of the steps so far.
struct PassageHistory {
  uint32_t state = 0;
  uint32_t known[kKnown];
  uint32_t ahead;  // the last distance that led into the prediction

  explicit PassageHistory(uint32_t size) : known{size, 1, 2, 4}, ahead(size) {}

  // After a step at place `at`.
  void after(const Passage& p, size_t at) {
    const uint32_t did = p.kind == Passage::kByte ? 0 : p.kind == Passage::kNew ? 1 : 2;
    state = state % 3 * 3 + did;
    if (did == 0) return;
    const uint32_t number = did == 1 ? kKnown - 1 : p.kind - Passage::kFirstKnown;
    for (uint32_t k = number; k > 0; k--) known[k] = known[k - 1];
    known[0] = p.distance;
    if (p.distance > at) ahead = p.distance;
  }
};

enum PassageLengths : uint32_t { kNewBehind = 0, kNewAhead = 1, kKnownFirst = 2, kKnownOther = 3 };

// Lengths and magnitudes as a half byte that says their class, and what is left.
struct PassageSizes {
  Nibbles size[4], top[4][7];
  GammaState rest;
  Nibbles far[2][4], below[2][16], low[2];

  void reset() {
    fillEven(size, 4);
    fillEven(top[0], 4 * 7);
    rest.reset();
    fillEven(far[0], 2 * 4);
    fillEven(below[0], 2 * 16);
    fillEven(low, 2);
  }
};

// v: length minus the least there can be. Up to 7 itself, then its magnitude, from 1024 on a number.
template <class Coder>
uint32_t codePassageLength(Coder& coder, PassageSizes& s, uint32_t which, uint32_t v) {
  const uint32_t bits = v < 8 ? 0 : log2Floor(v);
  const uint32_t half = nibble<true>(coder, s.size[which], v < 8 ? v : std::min(8 + bits - 3, 15u));
  if (half < 8) return half;
  if (half == 15) return 1024 + std::min(codeGamma(coder, s.rest, v - 1024), SHOAL_DELTA_MAX_SEGMENT);
  const uint32_t k = half - 8 + 3;
  uint32_t r = 8 | (nibble<true>(coder, s.top[which][half - 8], v >> (k - 3) & 7) & 7);
  if (k > 3) r = r << (k - 3) | coder.raw(k - 3, v & ((1u << (k - 3)) - 1));
  return r;
}

// v: 1 to 2^25 - 1. `ahead`: of the step between distances into the prediction, else of a distance back in the segment.
template <class Coder>
uint32_t codePassageFar(Coder& coder, PassageSizes& s, uint32_t ahead, uint32_t length, uint32_t v) {
  const uint32_t bits = Coder::kDecodes ? 0 : log2Floor(v);
  const uint32_t three = bits >= 3 ? v >> (bits - 3) & 7 : v << (3 - bits) & 7;
  const uint32_t half = nibble<true>(coder, s.far[ahead][std::min(length - kLeastNew, 3u)], bits >> 1);
  const uint32_t sub = nibble<true>(coder, s.below[ahead][half], (bits & 1) << 3 | three);
  const uint32_t k = half << 1 | sub >> 3;
  uint32_t r = 8 | (sub & 7);
  if (k <= 3) return r >> (3 - k);
  uint32_t left = k - 3;
  while (left > 4) {
    const uint32_t n = std::min(left - 4, 16u);
    left -= n;
    r = r << n | coder.raw(n, v >> left & ((1u << n) - 1));
  }
  const uint32_t mask = (1u << left) - 1;
  return r << left | (left == 4 ? nibble<true>(coder, s.low[ahead], v & mask) & mask : coder.raw(left, v & mask));
}

struct PassageState {
  Bit passage[kPassageStates][256], known[kPassageStates], which[kKnown - 1][kPassageStates], ahead[kPassageStates], back;
  PassageSizes sizes;
  LiteralWay way;
  // Of bytes, and of those behind a passage, which differ from what would come next in it.
  NibbleBytes nibbles[2];
  MixedBytes mixed[2];

  void reset(LiteralWay w) {
    fill(passage[0], kPassageStates * 256, kEven);
    fill(known, kPassageStates, kEven);
    fill(which[0], (kKnown - 1) * kPassageStates, kEven);
    fill(ahead, kPassageStates, kEven);
    back.state = kEven;
    sizes.reset();
    way = w;
    for (auto& m : nibbles)
      if (way == kNibbleWay) m.reset();
    for (auto& m : mixed)
      if (way == kMixedWay) m.reset();
  }
};

// The byte that lies `distance` back from `at` in the dictionary followed by the segment; distances are within both.
inline uint8_t byteBack(const uint8_t* dictionary, const uint8_t* made, size_t size, size_t at, uint32_t distance) {
  return distance > at ? dictionary[size + at - distance] : made[at - distance];
}

template <class Coder>
class Passages {
 public:
  // `dictionary` and `made` have `size` bytes each; the second is right up to where the coder is.
  Passages(Coder& coder, PassageState& state, const uint8_t* dictionary, const uint8_t* made, size_t size)
      : coder_(coder), s_(state), d_(dictionary), p_(made), n_(size), history_(static_cast<uint32_t>(size)) {}

  const PassageHistory& history() const { return history_; }

  // Codes the step at place `at`; of a byte, `byte` is the byte. A decoder fills both in; false: that leads out of bounds.
  bool step(size_t at, Passage& p, uint8_t& byte) {
    coder_.at(at);
    const uint32_t state = history_.state;
    const uint32_t before = at == 0 ? 0 : p_[at - 1];
    if (!plain(coder_, s_.passage[state][before], p.kind != Passage::kByte)) {
      p = {Passage::kByte, 1, 0};
      byte = static_cast<uint8_t>(literal(at, byte));
      history_.after(p, at);
      return true;
    }
    if (plain(coder_, s_.known[state], p.kind >= Passage::kFirstKnown)) {
      const uint32_t want = Coder::kDecodes ? 0 : p.kind - Passage::kFirstKnown;
      uint32_t number = 0;
      while (number < kKnown - 1 && plain(coder_, s_.which[number][state], number < want)) number++;
      p.kind = Passage::kFirstKnown + number;
      p.distance = history_.known[number];
      p.length = 1 + codePassageLength(coder_, s_.sizes, number == 0 ? kKnownFirst : kKnownOther, p.length - 1);
    } else {
      p.kind = Passage::kNew;
      const int isAhead = plain(coder_, s_.ahead[state], p.distance > at);
      p.length = kLeastNew + codePassageLength(coder_, s_.sizes, isAhead ? kNewAhead : kNewBehind, p.length - kLeastNew);
      if (isAhead) {
        // By how much it differs from the last of its kind.
        const int32_t by = static_cast<int32_t>(p.distance - history_.ahead);
        const int back = plain(coder_, s_.back, by < 0);
        const uint32_t far = codePassageFar(coder_, s_.sizes, 1, p.length, static_cast<uint32_t>(by < 0 ? -by : by) + 1) - 1;
        p.distance = back ? history_.ahead - far : history_.ahead + far;
      } else {
        p.distance = codePassageFar(coder_, s_.sizes, 0, p.length, p.distance);
      }
    }
    if (Coder::kDecodes && !within(at, p)) return false;
    history_.after(p, at);
    return true;
  }

  uint32_t literal(size_t at, uint32_t want) {
    const uint32_t recent = at >= 4 ? load32(p_ + at - 4) : 0;
    const bool behind = history_.state % 3 != 0;
    const uint32_t seen = behind ? afterPassage(at, recent) : recent;
    return s_.way == kMixedWay ? s_.mixed[behind].byte(coder_, seen, want) : s_.nibbles[behind].byte(coder_, seen, want);
  }

  // The bytes before, with what would come next in the passage that ended in the place of the second.
  uint32_t afterPassage(size_t at, uint32_t recent) const {
    const uint32_t distance = history_.known[0];
    const uint32_t next = distance <= n_ + at ? byteBack(d_, p_, n_, at, distance) : 0;
    return (recent & 0xFF000000u) | next << 16 | (recent >> 8 & 0xFF00u);
  }

 private:
  bool within(size_t at, const Passage& p) const {
    if (p.length > n_ - at || p.distance == 0) return false;
    if (p.distance <= at) return true;
    return p.distance <= n_ + at && p.length <= p.distance - at;
  }

  Coder& coder_;
  PassageState& s_;
  const uint8_t* d_;
  const uint8_t* p_;
  size_t n_;
  PassageHistory history_;
};

// `bytes` is the prediction and becomes the target; the first byte is at least kPassagesHead. A status of delta.h.
int32_t decodePassages(const uint8_t* payload, size_t payloadSize, uint8_t* bytes, size_t size);

struct Meter;
// What such a payload is spent on. A status of delta.h.
int32_t meterPassages(const uint8_t* payload, size_t payloadSize, uint8_t* bytes, size_t size, Meter& meter);

// The payload of `target` with `prediction` for its dictionary. False: no memory.
bool encodePassages(const uint8_t* prediction, const uint8_t* target, size_t size, std::vector<uint8_t>& payload);

}  // namespace shoal::delta

#endif
