#include "learn.h"

#include <algorithm>

namespace shoal::delta {

namespace {

constexpr uint32_t kMostChange = 1u << 29;

}  // namespace

std::vector<ValuePair> settle(std::vector<ValuePair>& votes) {
  std::sort(votes.begin(), votes.end(), [](const ValuePair& a, const ValuePair& b) { return a.from != b.from ? a.from < b.from : a.to < b.to; });
  std::vector<ValuePair> kept;
  for (size_t i = 0, j; i < votes.size(); i = j) {
    ValuePair best = {votes[i].from, 0, 0};
    uint32_t all = 0;
    for (j = i; j < votes.size() && votes[j].from == votes[i].from;) {
      uint32_t times = 0;
      const uint32_t to = votes[j].to;
      for (; j < votes.size() && votes[j].from == votes[i].from && votes[j].to == to; j++) times += votes[j].times;
      all += times;
      if (times > best.times) best = {votes[i].from, to, times};
    }
    if (best.times * 2 > all) kept.push_back(best);
  }
  return kept;
}

ValueMap mapOf(const std::vector<ValuePair>& pairs) {
  struct Run {
    uint32_t from, by, times;
  };
  std::vector<Run> runs;
  // An entry takes three bytes and more, a wrong field two: where a run lies between two of the same kind it costs two entries.
  auto tidy = [&](uint32_t next, bool any) {
    while (runs.size() >= 2) {
      const Run& last = runs.back();
      const bool between = any && runs[runs.size() - 2].by == next;
      if (!between || last.times > 1) return;
      runs.pop_back();
    }
  };
  for (const ValuePair& p : pairs) {
    const uint32_t by = p.to - p.from;
    // What numbers of a payload cannot say.
    if (by + kMostChange >= 2 * kMostChange || p.from == UINT32_MAX) continue;
    if (!runs.empty() && runs.back().by != by) tidy(by, true);
    if (!runs.empty() && runs.back().by == by)
      runs.back().times += p.times;
    else
      runs.push_back({p.from, by, p.times});
  }
  tidy(0, false);
  ValueMap map;
  for (const Run& r : runs) {
    map.from.push_back(r.from);
    map.by.push_back(r.by);
  }
  return map;
}

ValueMap sharedMap(const std::vector<ValuePair>& pairs, std::vector<uint32_t>& values) {
  sortUnique(values);
  std::vector<ValuePair> used;
  auto at = pairs.begin();
  for (const uint32_t v : values) {
    at = std::lower_bound(at, pairs.end(), v, [](const ValuePair& p, uint32_t x) { return p.from < x; });
    if (at != pairs.end() && at->from == v) used.push_back(*at);
  }
  return mapOf(used);
}

void sortUnique(std::vector<uint32_t>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace shoal::delta
