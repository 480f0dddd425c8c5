// Aligns records by what they say. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_FOLLOW_H
#define SHOAL_DELTA_FOLLOW_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "delta/common/cover.h"

namespace shoal::delta {

constexpr uint32_t kNone = UINT32_MAX;
constexpr size_t kWays = 24;    // places in the base that a record is compared with
constexpr size_t kFollow = 48;  // records one way is followed before it is chosen

inline uint64_t mixed(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9E3779B97F4A7C15ull;
  return h ^ h >> 29;
}

// Of each record of the target the one of the base that it comes from. `like(i, j)`: these two may be one that was changed.
template <class Like>
std::vector<uint32_t> follow(const std::vector<uint64_t>& saysB, const std::vector<uint64_t>& saysT, const Like& like) {
  std::unordered_map<uint64_t, std::vector<uint32_t>> places;
  for (size_t i = 0; i < saysB.size(); i++) places[saysB[i]].push_back(static_cast<uint32_t>(i));
  std::vector<uint32_t> from(saysT.size(), kNone);
  const size_t n = saysB.size(), m = saysT.size();
  auto length = [&](size_t i, size_t j) {
    size_t k = 0;
    while (k < kFollow && i + k < m && j + k < n && saysT[i + k] == saysB[j + k]) k++;
    return k;
  };
  size_t next = 0;  // of the base
  for (size_t i = 0; i < m; i++) {
    if (next < n && saysT[i] == saysB[next]) {
      from[i] = static_cast<uint32_t>(next++);
      continue;
    }
    size_t best = n, longest = 0;
    const auto known = places.find(saysT[i]);
    if (known != places.end()) {
      // Those nearest to where the base goes on.
      const std::vector<uint32_t>& list = known->second;
      auto right = std::lower_bound(list.begin(), list.end(), next);
      auto left = right;
      for (size_t way = 0; way < kWays && (right != list.end() || left != list.begin()); way++) {
        const bool forward = left == list.begin() || (right != list.end() && *right - next <= next - *(left - 1));
        const size_t j = forward ? *right++ : *--left;
        const size_t len = length(i, j);
        if (len > longest) {
          longest = len;
          best = j;
        }
      }
    }
    // One that was changed in its place.
    const bool here = next < n && like(i, next);
    if (here && (longest == 0 || (longest < 4 && best != next + 1 && length(i + 1, next + 1) > longest))) best = next;
    if (best == n) continue;
    from[i] = static_cast<uint32_t>(best);
    next = best + 1;
  }
  return from;
}

struct Stretch {
  uint64_t begin, end;
};

// Adds what follows the last.
inline void addCover(std::vector<Cover>& covers, const Cover& c) {
  if (!covers.empty()) {
    Cover& last = covers.back();
    if (last.target + last.length == c.target && last.base + last.length == c.base) {
      last.length += c.length;
      return;
    }
  }
  covers.push_back(c);
}

// `found` lies in the stretches and takes the place of what covered them. Both may come in any order.
void replaceCovers(std::vector<Cover>& covers, std::vector<Stretch> stretches, std::vector<Cover> found);

}  // namespace shoal::delta

#endif
