// Turns seeds (equal stretches) into covers that also span unequal bytes where that pays.
#ifndef SHOAL_DELTA_GROW_H
#define SHOAL_DELTA_GROW_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/common/progress.h"

namespace shoal::delta {

// Seeds come in target order without overlap and are used up. False when cancelled.
bool growCovers(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                const Progress& progress, std::vector<Cover>& seeds, std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
