#include "few.h"

#include "delta/common/bytes.h"
#include "delta/common/numbers.h"
#include "range_coder.h"

namespace shoal::delta {

bool findFew(const uint8_t* prediction, const uint8_t* target, size_t size, std::vector<FewChange>& changes) {
  changes.clear();
  for (size_t at = 0; at < size;) {
    at += equalForward(prediction + at, target + at, size - at);
    if (at == size) break;
    size_t end = at;
    while (end < size && prediction[end] != target[end]) end++;
    if (!changes.empty() && at - (changes.back().at + changes.back().length) <= kFewJoined) {
      changes.back().length = static_cast<uint32_t>(end - changes.back().at);
    } else if (changes.size() == kFewMost) {
      return false;
    } else {
      changes.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(end - at)});
    }
    at = end;
  }
  return !changes.empty();
}

// Whether all bytes of each change become larger by the same.
static bool areSame(const uint8_t* prediction, const uint8_t* target, const std::vector<FewChange>& changes) {
  for (const FewChange& c : changes)
    for (uint32_t k = 1; k < c.length; k++)
      if (static_cast<uint8_t>(target[c.at + k] - prediction[c.at + k]) != static_cast<uint8_t>(target[c.at] - prediction[c.at])) return false;
  return true;
}

void encodeFew(const uint8_t* prediction, const uint8_t* target, size_t size, const std::vector<FewChange>& changes, std::vector<uint8_t>& payload) {
  constexpr size_t kMany = 1 << 16;  // bytes of which it takes long to try all ways
  const size_t count = changes.size(), said = std::min(count, kFewInHead);
  size_t bytes = 0;
  for (const FewChange& c : changes) bytes += c.length;
  for (const FewWay way : {kFewBytes, kFewAdded, kFewSame}) {
    if (way == kFewSame ? !areSame(prediction, target, changes) : way == kFewAdded && bytes > kMany) continue;
    std::vector<uint8_t> head(1, static_cast<uint8_t>(kFewHead + kFewWays * (said - 1) + way)), coded;
    if (said == kFewInHead) putNumber(count - said, head);
    RangeEncoder coder(coded);
    codeFew(coder, way, count, changes.data(), prediction, target, size, [](size_t) {});
    coder.finish();
    if (!payload.empty() && payload.size() <= head.size() + coded.size()) continue;
    payload = std::move(head);
    payload.insert(payload.end(), coded.begin(), coded.end());
  }
}

bool readFewHead(const uint8_t*& at, const uint8_t* end, size_t& count, FewWay& way) {
  if (at == end || *at < kFewHead) return false;
  const uint32_t head = *at++ - kFewHead;
  way = static_cast<FewWay>(head % kFewWays);
  count = head / kFewWays + 1;
  if (count < kFewInHead) return true;
  uint64_t rest;
  if (!getNumber(at, end, kFewMost - kFewInHead, rest, 2)) return false;
  count += static_cast<size_t>(rest);
  return true;
}

bool decodeFew(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size) {
  const uint8_t *at = payload, *end = payload + payloadSize;
  size_t count;
  FewWay way;
  if (!readFewHead(at, end, count, way)) return false;
  RangeDecoder coder(at, static_cast<size_t>(end - at));
  return codeFew(coder, way, count, nullptr, prediction, nullptr, size, [](size_t) {});
}

}  // namespace shoal::delta
