// Finds indexes of functions and their like, which hide from a matcher of bytes: every number in them moved.
#ifndef SHOAL_DELTA_TABLES_H
#define SHOAL_DELTA_TABLES_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"

namespace shoal::delta {

// Replaces covers where the target has a table of pairs of 32-bit numbers that go up, and the base one with the same
// steps from pair to pair. The new covers say kTable in their base and are whole pairs.
void coverTables(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
