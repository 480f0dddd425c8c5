#include "shifts.h"

#include <algorithm>
#include <queue>

namespace shoal::delta {
namespace {

constexpr size_t kBuckets = size_t{1} << 18;
constexpr uint64_t kFillMark = uint64_t{1} << 63;
constexpr uint64_t kMarks = uint64_t{3} << 62;

}  // namespace

bool Shifts::build(const shoal_delta_cover* covers, size_t count, uint64_t baseSize) {
  baseSize_ = baseSize;
  std::vector<uint32_t> order;
  for (size_t i = 0; i < count; i++)
    if (!(covers[i].base & kFillMark)) order.push_back(static_cast<uint32_t>(i));
  auto from = [&](uint32_t i) { return covers[i].base & ~kMarks; };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return from(a) != from(b) ? from(a) < from(b) : a < b; });
  // The longest on top.
  auto less = [&](uint32_t a, uint32_t b) { return covers[a].length != covers[b].length ? covers[a].length < covers[b].length : a > b; };
  std::priority_queue<uint32_t, std::vector<uint32_t>, decltype(less)> open(less);
  starts_.clear();
  moved_.clear();
  auto emit = [&](uint64_t at, uint32_t i) {
    const uint64_t by = covers[i].target - from(i);
    if (!moved_.empty() && moved_.back() == by) return;
    if (!starts_.empty() && starts_.back() == at) {
      moved_.back() = by;
      return;
    }
    starts_.push_back(at);
    moved_.push_back(by);
  };
  // What begins at or before `until`: where a cover ends, the longest that goes on takes over.
  auto close = [&](uint64_t until) {
    while (!open.empty()) {
      const uint64_t end = from(open.top()) + covers[open.top()].length;
      if (end > until) return;
      open.pop();
      while (!open.empty() && from(open.top()) + covers[open.top()].length <= end) open.pop();
      if (!open.empty()) emit(end, open.top());
    }
  };
  for (const uint32_t i : order) {
    close(from(i));
    open.push(i);
    emit(from(i), open.top());
  }
  close(UINT64_MAX);
  bits_ = 0;
  while ((baseSize >> bits_) >= kBuckets) bits_++;
  if (starts_.empty()) {
    starts_.push_back(0);
    moved_.push_back(0);
  }
  buckets_.resize(static_cast<size_t>(baseSize >> bits_) + 1);
  uint32_t k = 0;
  for (size_t b = 0; b < buckets_.size(); b++) {
    while (k + 1 < starts_.size() && starts_[k + 1] <= static_cast<uint64_t>(b) << bits_) k++;
    uint32_t last = k;
    while (last + 1 < starts_.size() && starts_[last + 1] < static_cast<uint64_t>(b + 1) << bits_) last++;
    buckets_[b] = {moved_[k], k, last - k};
    k = last;
  }
  return true;
}

}  // namespace shoal::delta
