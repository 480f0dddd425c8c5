// What to read of a base for the prediction of a segment, and where it belongs: the twin of src/delta/predict.ts. Internal C++ interface.
#ifndef SHOAL_DELTA_PLAN_H
#define SHOAL_DELTA_PLAN_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::delta {

struct Plan {
  // As Pieces of src/delta/types.ts.
  std::vector<uint32_t> pieces;
  // Base position, length, where to: in the window, or -1 - where in the segment. A length of 0 ends a batch: then the third is how
  // many numbers of `copies` belong to it and those before.
  std::vector<double> reads;
  // Where in the window, where in the segment, length.
  std::vector<uint32_t> copies;
};

// `covers`: target, length, base, fill of each, in order (src/delta/kernel.ts). Fills `into` with the runs and zeros of the prediction.
// False: covers are not in order.
bool makePlan(const double* covers, size_t count, uint64_t begin, uint8_t* into, size_t size, Plan& plan);

}  // namespace shoal::delta

#endif
