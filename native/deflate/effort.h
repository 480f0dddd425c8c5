// What a level means to zlib and to GNU gzip, and the sizes that both were built with (docs/containers.md, "Encoders").
#ifndef SHOAL_DEFLATE_EFFORT_H
#define SHOAL_DEFLATE_EFFORT_H

#include <stdint.h>

namespace shoal::deflate {

// What one stream may hold.
constexpr uint32_t kMostBytes = 8u << 20;
constexpr uint32_t kWindow = 32768, kLeastMatch = 3, kMostMatch = 258;
// zlib refills its buffer of two windows when fewer bytes than this lie ahead, and keeps matches this far from the window's end.
constexpr uint32_t kAhead = kMostMatch + kLeastMatch + 1, kFarthest = kWindow - kAhead;
// Three bytes this far back cost more than three literals.
constexpr uint32_t kTooFar = 4096;

// What a level means: below `good` the whole chain is looked at; a match of `lazy` is taken without looking at the next byte
// (levels up to 3: longer ones do not enter the table); one of `nice` ends the search; `chain` entries are looked at.
struct Effort {
  uint32_t good, lazy, nice, chain;
};
constexpr Effort kEfforts[10] = {{},
                                 {4, 4, 8, 4},
                                 {4, 5, 16, 8},
                                 {4, 6, 32, 32},
                                 {4, 4, 16, 16},
                                 {8, 16, 32, 32},
                                 {8, 16, 128, 128},
                                 {8, 32, 128, 256},
                                 {32, 128, 258, 1024},
                                 {32, 258, 258, 4096}};
constexpr uint8_t kLazyLevel = 4;
// From this level on chains are so long that going through them takes most of the time: see Finder::deepest.
constexpr uint8_t kDeepLevel = 7;

}  // namespace shoal::deflate
#endif
