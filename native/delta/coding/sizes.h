// How large the models are (docs/delta.md). Fuzzers compile small ones: making models takes nearly all of a short run, and no
// bound depends on them.
#ifndef SHOAL_DELTA_SIZES_H
#define SHOAL_DELTA_SIZES_H

#include <cstdint>

namespace shoal::delta {

#ifdef SHOAL_SMALL_MODELS
constexpr unsigned kCacheBits = 5, kSeenBits = 6, kLineBits = 4, kNibbleBits = 5, kTableBits = 7;
constexpr uint32_t kOrder1 = 8;
#else
constexpr unsigned kCacheBits = 13;   // of a site
constexpr unsigned kSeenBits = 13;    // where literals repeat
constexpr unsigned kLineBits = 12;    // lines of 16 bits' models, one for each half of a byte
constexpr unsigned kNibbleBits = 12;  // halves of bytes after two bytes
constexpr unsigned kTableBits = 16;   // of the map
constexpr uint32_t kOrder1 = 256;     // rows for the byte before
#endif

}  // namespace shoal::delta

#endif
