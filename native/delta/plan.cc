#include "plan.h"

#include <algorithm>
#include <cstring>

#include "delta.h"

namespace shoal::delta {
namespace {

// As in src/delta/predict.ts, which says why.
constexpr uint64_t kBatch = 2 << 20, kJoin = 64 << 10, kLong = 128 << 10;

struct Stretch {
  uint64_t base;
  uint32_t at, length;
};

bool whole(double v) { return v >= 0 && v <= 9007199254740991.0; }

}  // namespace

bool makePlan(const double* covers, size_t count, uint64_t begin, uint8_t* into, size_t size, Plan& plan) {
  const uint64_t end = begin + size;
  size_t low = 0, high = count;
  // The first that ends after `begin`.
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (covers[middle * 4] + covers[middle * 4 + 1] <= static_cast<double>(begin))
      low = middle + 1;
    else
      high = middle;
  }
  std::vector<Stretch> stretches;
  uint64_t at = begin;
  auto piece = [&](uint64_t to, uint32_t kind, uint64_t base) {
    plan.pieces.insert(plan.pieces.end(), {static_cast<uint32_t>(to - at), kind, static_cast<uint32_t>(base), static_cast<uint32_t>(base >> 32)});
    at = to;
  };
  auto literal = [&](uint64_t to) {
    if (to <= at) return;
    memset(into + (at - begin), 0, to - at);
    piece(to, SHOAL_DELTA_LITERAL, 0);
  };
  for (const double* c = covers + low * 4; c < covers + count * 4 && c[0] < static_cast<double>(end); c += 4) {
    if (!whole(c[0]) || !whole(c[1]) || !whole(c[2])) return false;
    const uint64_t target = static_cast<uint64_t>(c[0]), from = std::max(begin, target), to = std::min(end, target + static_cast<uint64_t>(c[1]));
    if (from < at || to <= from) return false;
    literal(from);
    if (c[3] >= 0) {
      memset(into + (from - begin), static_cast<int>(c[3]), to - from);
      piece(to, SHOAL_DELTA_FILL, 0);
      continue;
    }
    const uint64_t base = static_cast<uint64_t>(c[2]) + (from - target);
    stretches.push_back({base, static_cast<uint32_t>(from - begin), static_cast<uint32_t>(to - from)});
    piece(to, c[3] == -2 ? SHOAL_DELTA_TABLE : SHOAL_DELTA_BASE, base);
  }
  literal(end);
  std::stable_sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.base < b.base; });
  for (size_t i = 0; i < stretches.size();) {
    uint64_t used = 0;
    while (i < stretches.size()) {
      const Stretch& s = stretches[i];
      if (s.length >= kLong) {
        plan.reads.insert(plan.reads.end(), {static_cast<double>(s.base), static_cast<double>(s.length), -1 - static_cast<double>(s.at)});
        i++;
        continue;
      }
      uint64_t stop = s.base + s.length;
      size_t next = i + 1;
      for (; next < stretches.size(); next++) {
        const Stretch& n = stretches[next];
        const uint64_t reach = std::max(stop, n.base + n.length);
        if (n.length >= kLong || n.base > stop + kJoin || reach - s.base > kBatch) break;
        stop = reach;
      }
      if (used + (stop - s.base) > kBatch) break;
      plan.reads.insert(plan.reads.end(), {static_cast<double>(s.base), static_cast<double>(stop - s.base), static_cast<double>(used)});
      for (size_t k = i; k < next; k++)
        plan.copies.insert(plan.copies.end(), {static_cast<uint32_t>(used + stretches[k].base - s.base), stretches[k].at, stretches[k].length});
      used += stop - s.base;
      i = next;
    }
    plan.reads.insert(plan.reads.end(), {0.0, 0.0, static_cast<double>(plan.copies.size())});
  }
  return true;
}

}  // namespace shoal::delta
