// The index of unwinding records (.eh_frame_hdr), which says nothing that the records do not: it is left out and made again.
// Internal C++ interface.
#ifndef SHOAL_DELTA_FRAME_INDEX_H
#define SHOAL_DELTA_FRAME_INDEX_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "references.h"

namespace shoal::delta {

constexpr uint32_t kIndexHead = 12;  // bytes before the rows, which these count from
constexpr uint32_t kIndexRow = 8;

// Zeros where the rules say that an index lies.
void clearIndexes(const Rules& rules, uint8_t* bytes);
// Makes the indexes of a segment that is right but for these.
void makeIndexes(const Rules& rules, uint8_t* bytes);
// The rows of one: `rule.size` bytes.
std::vector<uint8_t> indexOf(const Rule& rule, const uint8_t* bytes);

}  // namespace shoal::delta

#endif
