// Finds segments that passages (passages.h) make smaller: text of which much changed. Internal C++ interface.
#ifndef SHOAL_DELTA_REWRITTEN_H
#define SHOAL_DELTA_REWRITTEN_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/common/progress.h"

namespace shoal::delta {

// Whether people wrote it.
bool isText(const uint8_t* bytes, size_t size);

// A stretch of what pages see, and where its bytes lie in the target.
struct SegmentPlace {
  uint64_t begin, end, place;
};

// Replaces the covers of stretches whose payload is then smaller together with them, by one of the base bytes around those; their
// payloads go to `payloads`, one for each stretch, empty for all others. False: no memory.
bool rewrite(const uint8_t* base, size_t baseSize, const uint8_t* target, const std::vector<SegmentPlace>& stretches, const Progress& progress,
             unsigned threads, std::vector<Cover>& covers, std::vector<std::vector<uint8_t>>& payloads);

}  // namespace shoal::delta

#endif
