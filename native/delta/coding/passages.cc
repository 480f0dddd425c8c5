#include "passages.h"

#include <memory>
#include <new>

#include "meter.h"
#include "passage_parser.h"
#include "range_coder.h"

namespace shoal::delta {

namespace {

template <class Coder>
int32_t decodeWith(Coder& coder, LiteralWay way, uint8_t* bytes, size_t size) {
  const std::unique_ptr<PassageState> state(new (std::nothrow) PassageState);
  const std::unique_ptr<uint8_t[]> dictionary(new (std::nothrow) uint8_t[size]);
  if (!state || !dictionary) return SHOAL_DELTA_NO_MEMORY;
  state->reset(way);
  memcpy(dictionary.get(), bytes, size);
  Passages<Coder> passages(coder, *state, dictionary.get(), bytes, size);
  for (size_t at = 0; at < size;) {
    Passage p = {Passage::kByte, 1, 0};
    uint8_t byte = 0;
    if (!passages.step(at, p, byte)) return SHOAL_DELTA_DAMAGED;
    if (p.kind == Passage::kByte) {
      bytes[at++] = byte;
      continue;
    }
    const uint8_t* from = p.distance > at ? dictionary.get() + (size + at - p.distance) : bytes + (at - p.distance);
    uint8_t* to = bytes + at;
    if (p.distance > at || p.distance >= p.length)
      memcpy(to, from, p.length);
    else
      for (uint32_t k = 0; k < p.length; k++) to[k] = from[k];
    at += p.length;
  }
  return SHOAL_DELTA_OK;
}

LiteralWay wayOf(uint8_t head) { return head == kPassagesHead ? kMixedWay : kNibbleWay; }

}  // namespace

int32_t decodePassages(const uint8_t* payload, size_t payloadSize, uint8_t* bytes, size_t size) {
  RangeDecoder coder(payload + 1, payloadSize - 1);
  return decodeWith(coder, wayOf(payload[0]), bytes, size);
}

int32_t meterPassages(const uint8_t* payload, size_t payloadSize, uint8_t* bytes, size_t size, Meter& meter) {
  MeterDecoder coder(payload + 1, payloadSize - 1, meter);
  return decodeWith(coder, wayOf(payload[0]), bytes, size);
}

bool encodePassages(const uint8_t* prediction, const uint8_t* target, size_t size, std::vector<uint8_t>& payload) {
  // Mixing takes some 600 cycles a byte: for segments that have time to spare.
  constexpr size_t kMixedShare = 16;
  const std::unique_ptr<PassageState> state(new (std::nothrow) PassageState);
  if (!state) return false;
  state->reset(kNibbleWay);
  std::vector<uint8_t> coded;
  std::vector<Passage> steps;
  {
    RangeEncoder coder(coded);
    Passages<RangeEncoder> passages(coder, *state, prediction, target, size);
    PassageParser parser(prediction, target, size, *state);
    if (!parser.run(passages, steps)) return false;
    coder.finish();
  }
  LiteralWay way = kNibbleWay;
  const size_t bytes = static_cast<size_t>(std::count_if(steps.begin(), steps.end(), [](const Passage& p) { return p.kind == Passage::kByte; }));
  if (bytes <= size / kMixedShare) {
    std::vector<uint8_t> mixed;
    state->reset(kMixedWay);
    RangeEncoder coder(mixed);
    Passages<RangeEncoder> passages(coder, *state, prediction, target, size);
    size_t at = 0;
    for (Passage p : steps) {
      uint8_t byte = target[at];
      passages.step(at, p, byte);
      at += p.length;
    }
    coder.finish();
    if (mixed.size() < coded.size()) {
      coded.swap(mixed);
      way = kMixedWay;
    }
  }
  payload.assign(1, static_cast<uint8_t>(kPassagesHead + (way == kMixedWay ? 0 : 1)));
  payload.insert(payload.end(), coded.begin(), coded.end());
  return true;
}

}  // namespace shoal::delta
