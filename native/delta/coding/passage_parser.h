// Decides which passages a segment is made of: the cheapest way through every few thousand bytes, by what each step would cost with the
// models as they are. Internal C++ interface.
#ifndef SHOAL_DELTA_PASSAGE_PARSER_H
#define SHOAL_DELTA_PASSAGE_PARSER_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "passages.h"
#include "range_coder.h"

namespace shoal::delta {

class PassageParser {
 public:
  PassageParser(const uint8_t* dictionary, const uint8_t* target, size_t size, const PassageState& state);
  ~PassageParser();
  // Codes the whole segment; `steps` receives what it is made of. False: no memory.
  bool run(Passages<RangeEncoder>& passages, std::vector<Passage>& steps);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::delta

#endif
