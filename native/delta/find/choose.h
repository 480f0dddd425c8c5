// Which rules a segment gets: all that were found for its stretches and bring more than they cost. Internal C++ interface of
// the encoder.
#ifndef SHOAL_DELTA_CHOOSE_H
#define SHOAL_DELTA_CHOOSE_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/delta.h"
#include "delta/references/references.h"
#include "delta/references/shifts.h"
#include "elf.h"
#include "images.h"
#include "relocations.h"
#include "types.h"
#include "wasm.h"

namespace shoal::delta {

class Chooser {
 public:
  Chooser(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize)
      : base_(base), baseSize_(baseSize), target_(target), targetSize_(targetSize) {}

  // Filled when covers are made.
  AllTypes& types() { return types_; }
  std::vector<JumpsFound>& jumps() { return jumps_; }
  // Once covers are what they will be. `all`: those that a decoder has.
  void find(const std::vector<ImagePair>& images, const std::vector<Cover>& covers, const std::vector<Cover>& all);
  // Of the rules that reach into target bytes [from, to) those that make more bytes right.
  Rules rulesFor(uint64_t from, uint64_t to, const std::vector<uint8_t>& prediction, const std::vector<Piece>& pieces) const;
  const Shifts& shifts() const { return shifts_; }

 private:
  void addMapped(const std::vector<ImagePair>& images, const std::vector<Cover>& covers);
  void addShared(const std::vector<const TypesFound*>& types, Rules& rules) const;

  const uint8_t* base_;
  size_t baseSize_;
  const uint8_t* target_;
  size_t targetSize_;
  Shifts shifts_;
  AllTypes types_;
  std::vector<JumpsFound> jumps_;
  ValueMap shared_[2];  // of ids and of strings
  std::vector<RelocationsFound> relocations_;
  std::vector<WasmModule> wasm_;
  FoundRules found_;
};

}  // namespace shoal::delta

#endif
