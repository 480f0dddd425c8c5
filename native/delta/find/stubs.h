// Stubs that call functions of other libraries (.plt): all look alike, and what they call is said elsewhere. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_STUBS_H
#define SHOAL_DELTA_STUBS_H

#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "images.h"

namespace shoal::delta {

// Aligns them by the names of what they call, where some came or went.
void coverStubs(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
