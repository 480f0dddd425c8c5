// Which bytes of a target come from where: what matching finds, structures refine, and the map codes. Internal C++ interface.
#ifndef SHOAL_DELTA_COVER_H
#define SHOAL_DELTA_COVER_H

#include <cstdint>

#include "delta/delta.h"

namespace shoal::delta {

using Cover = shoal_delta_cover;

// In Cover::base: the source is a run of the byte in the lowest 8 bits.
constexpr uint64_t kFill = uint64_t{1} << 63;
// The source is a table (table.h).
constexpr uint64_t kTable = uint64_t{1} << 62;

}  // namespace shoal::delta

#endif
