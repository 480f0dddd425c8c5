// What an encoder knows of relocatable objects: how places in their sections and numbers of their symbols changed. Internal
// C++ interface.
#ifndef SHOAL_DELTA_RELOCATIONS_H
#define SHOAL_DELTA_RELOCATIONS_H

#include <cstdint>
#include <vector>

#include "delta/references/references.h"
#include "images.h"
#include "learn.h"

namespace shoal::delta {

// All relocations of one object of the target: sections of them follow each other.
struct RelocationsFound {
  uint64_t begin = 0, end = 0;
  std::vector<ValueMap> maps;               // the first of symbols, then of sections
  std::vector<MapUse> addends, offsets;     // as in a rule, by these maps
};

// Covers of relocations of objects replace what covered them.
void coverRelocations(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers);

// By where they begin.
std::vector<RelocationsFound> findRelocations(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs,
                                              const std::vector<Cover>& covers);

// Of those entries `count` from `first` on.
std::vector<MapUse> cutOffsets(const std::vector<MapUse>& offsets, uint64_t first, uint64_t count);

}  // namespace shoal::delta

#endif
