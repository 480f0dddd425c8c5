// Finds where a target's bytes come from in a base. Internal C++ interface of the delta kernel.
#ifndef SHOAL_DELTA_MATCH_H
#define SHOAL_DELTA_MATCH_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/common/progress.h"

namespace shoal::delta {

struct MatchOptions {
  uint64_t memoryCap = 0;  // bytes the index may take; 0: about two per base byte
  unsigned threads = 2;
  // Pairs of begin and end, ascending: base bytes that nothing of the target is looked for in. A match may still grow into them.
  const uint64_t* skip = nullptr;
  size_t skips = 0;
};

// Covers come in target order and do not overlap in the target. False when cancelled.
bool findCovers(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                const MatchOptions& options, const Progress& progress, std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
