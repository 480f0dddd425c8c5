// Lets segments copy from earlier ones where that makes them smaller. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_LOOK_BACK_H
#define SHOAL_DELTA_LOOK_BACK_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/common/progress.h"
#include "delta/find/images.h"
#include "delta/match/earlier.h"

namespace shoal::delta {

struct LookBack {
  const uint8_t* base;
  size_t baseSize;
  const uint8_t* target;
  size_t targetSize;
  const std::vector<ImagePair>& images;
  uint64_t memoryCap;
  unsigned threads;
  const Progress& progress;

  // Replaces covers of segments whose payload and covers are smaller then, by what both really take. `segments` are all of the target. `saved`: bytes.
  // Returns a status.
  int32_t run(const std::vector<shoal_delta_segment>& segments, std::vector<Cover>& covers, uint64_t& saved) const;
  // What all segments take with these covers, without rules and passages. Returns a status.
  int32_t measureAll(const std::vector<shoal_delta_segment>& segments, const std::vector<Cover>& covers, uint64_t& bytes) const;

 private:
  // How many bytes a segment saves with its covers `changed`; 0: it does not. False: no memory.
  bool compare(const TargetRange& segment, const std::vector<Cover>& own, const std::vector<Cover>& changed, size_t& saved) const;
  // What a segment takes with these covers, without rules. False: no memory.
  bool measure(const TargetRange& segment, const std::vector<Cover>& covers, size_t& bytes) const;
};

}  // namespace shoal::delta

#endif
