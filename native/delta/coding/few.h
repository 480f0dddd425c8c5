// A payload for a segment of which little changed: a list of changes, without the models of other payloads, which would learn
// nothing from so few (docs/delta.md, "Few changes").
#ifndef SHOAL_DELTA_FEW_H
#define SHOAL_DELTA_FEW_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "change.h"
#include "model.h"
#include "nibbles.h"

namespace shoal::delta {

constexpr uint8_t kFewHead = 32;        // first bytes of such payloads begin here
constexpr size_t kFewInHead = 74;       // changes that the first byte says: up to 253
constexpr size_t kFewMost = kFewInHead + 4096;
constexpr size_t kFewJoined = 2;        // equal bytes between two changes that are cheaper than another change
constexpr uint32_t kFewSameGap = 8192u << 16;  // a gap is as the last one: 1 in 8
constexpr uint32_t kFewQuotients = 8;

// How changed bytes are coded: themselves, what is added to the prediction, or that once for all bytes of a change.
enum FewWay : uint32_t { kFewBytes = 0, kFewAdded = 1, kFewSame = 2, kFewWays = 3 };

struct FewChange {
  uint32_t at, length;
};

struct FewState {
  Bit same, more[kFewQuotients];
  GammaState lengths;
  Nibbles high, low[16];

  FewState() {
    same.state = kFewSameGap;
    fill(more, kFewQuotients, kEven);
    lengths.reset();
    fillEven(&high, 1);
    fillEven(low, 16);
  }
};

// A decoder changes `bytes` into the target; encoders bring `changes` and leave them. `visit(at)` comes before each. False: damaged.
template <class Coder, class Bytes, class Visit>
bool codeFew(Coder& coder, FewWay way, size_t count, const FewChange* changes, Bytes* bytes, const uint8_t* target, size_t size,
             const Visit& visit) {
  FewState s;
  uint32_t at = 0, gap = 0;
  for (size_t i = 0; i < count; i++) {
    const uint32_t left = static_cast<uint32_t>(size) - at;
    const uint32_t want = Coder::kDecodes ? 0 : changes[i].at - at;
    if (!Coder::kDecodes) visit(changes[i].at);
    if (i == 0 || !plain(coder, s.same, want == gap)) {
      // As Golomb (1966) and Rice: the mean of what is left says how many bits are as likely zeros as ones.
      const uint32_t mean = left / static_cast<uint32_t>(count - i), bits = mean == 0 ? 0 : log2Floor(mean);
      uint32_t q = 0;
      while (plain(coder, s.more[std::min(q, kFewQuotients - 1)], q < want >> bits))
        if (++q > left >> bits) return false;
      gap = q;
      for (uint32_t k = bits; k > 0;) {
        const uint32_t n = std::min(k, 16u);
        k -= n;
        gap = gap << n | coder.raw(n, want >> k & ((1u << n) - 1));
      }
    }
    if (gap >= left) return false;
    at += gap;
    const uint32_t length = codeGamma(coder, s.lengths, Coder::kDecodes ? 0 : changes[i].length - 1) + 1;
    if (length > size - at) return false;
    uint32_t by = 0;
    for (uint32_t begin = at, end = at + length; at < end; at++) {
      const uint32_t wanted = Coder::kDecodes ? 0 : target[at];
      if (way == kFewBytes) {
        const uint32_t byte = coder.raw(8, wanted);
        if constexpr (Coder::kDecodes) bytes[at] = static_cast<uint8_t>(byte);
        continue;
      }
      if (way == kFewAdded || at == begin) {
        by = (wanted - bytes[at]) & 255;
        const uint32_t high = nibble(coder, s.high, by >> 4);
        by = high << 4 | nibble(coder, s.low[high], by & 15);
      }
      if constexpr (Coder::kDecodes) bytes[at] = static_cast<uint8_t>(bytes[at] + by);
    }
  }
  return true;
}

// What differs; false: too much to be listed.
bool findFew(const uint8_t* prediction, const uint8_t* target, size_t size, std::vector<FewChange>& changes);

// The smaller of both ways.
void encodeFew(const uint8_t* prediction, const uint8_t* target, size_t size, const std::vector<FewChange>& changes, std::vector<uint8_t>& payload);

// `prediction` becomes the target; the first byte is at least kFewHead. False: damaged.
bool decodeFew(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size);

// How many changes a payload lists; the coder's bytes are from `at` on.
bool readFewHead(const uint8_t*& at, const uint8_t* end, size_t& count, FewWay& way);

}  // namespace shoal::delta

#endif
