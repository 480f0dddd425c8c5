// Finds what of a segment is new to the base and lies in an earlier segment of the target as well. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_EARLIER_H
#define SHOAL_DELTA_EARLIER_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/common/progress.h"

namespace shoal::delta {

// Target bytes [begin, end).
struct TargetRange {
  uint64_t begin, end;
};

struct EarlierOptions {
  uint64_t memoryCap = 0;  // bytes that looking may take; 0: as much as there is to look at
  unsigned threads = 2;
  // Ascending: where references are moved, so that wrong bytes of a prediction say little of what it costs.
  std::vector<TargetRange> moved;
};

// `segments` follow each other from 0 to the target's end, `covers` are in order. Of each segment: covers whose `base` is the base's size + a place in the
// target that lies, as does all they show, in segments before theirs. In order, without overlap, none where a table is; empty where there is little to gain.
// The result does not depend on threads. False when cancelled.
bool findEarlier(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const std::vector<TargetRange>& segments,
                 const std::vector<Cover>& covers, const EarlierOptions& options, const Progress& progress, std::vector<std::vector<Cover>>& found);

}  // namespace shoal::delta

#endif
