// A target as its covers show it. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_COVERED_H
#define SHOAL_DELTA_COVERED_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/references/references.h"

namespace shoal::delta {

struct Covered {
  const uint8_t* base;
  uint64_t baseSize;
  const uint8_t* target;  // what covers show that lie behind the base's end: earlier segments
  const std::vector<Cover>& covers;

  // The first cover that ends after `at`.
  size_t at(uint64_t at) const;
  // What [begin, end) is predicted to be, zeros where nothing covers it, and of what pieces.
  void predict(uint64_t begin, uint64_t end, uint8_t* out, std::vector<Piece>& pieces) const;
};

// Bytes that a payload takes for what is wrong and what is new, guessed.
uint64_t expectedPayload(const uint8_t* prediction, const uint8_t* target, const std::vector<Piece>& pieces);

}  // namespace shoal::delta

#endif
