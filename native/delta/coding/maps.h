// What values become where no alignment says it: numbers of types, offsets of names, places in a section. Internal C++ interface.
#ifndef SHOAL_DELTA_MAPS_H
#define SHOAL_DELTA_MAPS_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "change.h"

namespace shoal::delta {

// Values go up by `by` (modulo 2^32) of the last of `from` (ascending) that is not above them; those below the first go
// by the parent (a number of an earlier map without a parent, plus 1; 0: none, and nothing changes).
struct ValueMap {
  uint32_t parent = 0;
  std::vector<uint32_t> from, by;
};

constexpr size_t kMostMaps = 8192;
constexpr size_t kMostValues = 1 << 16;  // of all maps of a segment

void writeMaps(const std::vector<ValueMap>& maps, std::vector<uint8_t>& out);
bool readMaps(const uint8_t*& at, const uint8_t* end, std::vector<ValueMap>& maps);

inline void store32(uint8_t* p, uint32_t v) {
  for (int k = 0; k < 4; k++) p[k] = static_cast<uint8_t>(v >> 8 * k);
}

// A map with its parent.
class Values {
 public:
  Values(const std::vector<ValueMap>& maps, const ValueMap& own) : own_(own), parent_(own.parent == 0 ? nullptr : &maps[own.parent - 1]) {}
  // What a value becomes.
  uint32_t of(uint32_t v) const {
    const ValueMap* map = own_.from.empty() || v < own_.from[0] ? parent_ : &own_;
    if (map == nullptr || map->from.empty() || v < map->from[0]) return v;
    const size_t k = static_cast<size_t>(std::upper_bound(map->from.begin(), map->from.end(), v) - map->from.begin());
    return v + map->by[k - 1];
  }
  void apply(uint8_t* p) const { store32(p, of(load32(p))); }

 private:
  const ValueMap& own_;
  const ValueMap* parent_;
};

}  // namespace shoal::delta

#endif
