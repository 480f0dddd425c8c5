// Where places of the base went: the alignment map, read by base position. Internal C++ interface.
#ifndef SHOAL_DELTA_SHIFTS_H
#define SHOAL_DELTA_SHIFTS_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/delta.h"

namespace shoal::delta {

class Shifts {
 public:
  // Of all covers of a delta, in any order. A place in several covers went where the longest took it (the one that comes
  // first in the target among equals); one in none where the nearest before it went. False: no memory.
  bool build(const shoal_delta_cover* covers, size_t count, uint64_t baseSize);
  bool empty() const { return starts_.empty(); }
  uint64_t baseSize() const { return baseSize_; }

  // Target minus base position, modulo 2^64, of the place at `position` (below baseSize).
  uint64_t at(uint64_t position) const {
    const Bucket& bucket = buckets_[static_cast<size_t>(position >> bits_)];
    if (bucket.more == 0) return bucket.moved;
    // The last that begins at or before the position.
    uint32_t low = bucket.first, high = bucket.first + bucket.more;
    while (low < high) {
      const uint32_t middle = low + (high - low + 1) / 2;
      if (starts_[middle] <= position)
        low = middle;
      else
        high = middle - 1;
    }
    return moved_[low];
  }

 private:
  uint64_t baseSize_ = 0;
  unsigned bits_ = 0;
  std::vector<uint64_t> starts_, moved_;
  // The stretch that holds where the bucket begins, and how many begin within it.
  struct Bucket {
    uint64_t moved;
    uint32_t first, more;
  };
  std::vector<Bucket> buckets_;
};

}  // namespace shoal::delta

struct shoal_delta_shifts : shoal::delta::Shifts {};

#endif
