// Tables of jumps: 32-bit distances from a table's beginning to code. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_JUMPS_H
#define SHOAL_DELTA_JUMPS_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "images.h"

namespace shoal::delta {

// Of one pair of images.
struct JumpsFound {
  size_t pair;
  uint64_t begin, end;           // the stretch of the target from its first table to its last
  std::vector<uint64_t> starts;  // where tables of the base begin, ascending
};

// Aligns tables by the instructions that name them and gives them covers of their own where these show more. `found`: in order.
void coverJumps(const uint8_t* base, size_t baseSize, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers,
                std::vector<JumpsFound>& found);

}  // namespace shoal::delta

#endif
