// What an encoder knows of executables: where in the target they hold references. Internal C++ interface.
#ifndef SHOAL_DELTA_ELF_H
#define SHOAL_DELTA_ELF_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/references/references.h"
#include "images.h"
#include "jumps.h"

namespace shoal::delta {

// A rule whose stretch is of the target.
struct FoundRule {
  uint64_t begin, end;
  Rule rule;  // its space is a number in `spaces`
  uint64_t records = 0, recordsSize = 0;  // of an index, in the target
};
struct FoundRules {
  std::vector<Space> spaces;
  std::vector<FoundRule> rules;  // by `begin`
};

// A rule of jumps has the number of what was found in its `ids`.
void findReferences(const std::vector<ImagePair>& pairs, const std::vector<JumpsFound>& jumps, FoundRules& found);

}  // namespace shoal::delta

#endif
