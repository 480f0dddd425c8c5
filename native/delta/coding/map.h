// The alignment map: which base range (or fill byte) predicts which target range, in pages that decode alone.
#ifndef SHOAL_DELTA_MAP_H
#define SHOAL_DELTA_MAP_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"

namespace shoal::delta {

// Covers lie inside [begin, end), in order, without overlap.
// False: no memory.
bool encodeMapPage(const Cover* covers, size_t count, uint64_t begin, std::vector<uint8_t>& out);

// Writes `count` covers, each checked against [begin, end) and the base. False: the page is damaged.
bool decodeMapPage(const uint8_t* page, size_t size, uint64_t begin, uint64_t end, uint64_t baseSize, Cover* covers,
                   size_t count);

}  // namespace shoal::delta

#endif
