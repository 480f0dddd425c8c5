// What an encoder knows of executables: where in the target they hold references. Internal C++ interface.
#ifndef SHOAL_DELTA_ELF_H
#define SHOAL_DELTA_ELF_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "images.h"
#include "references.h"

namespace shoal::delta {

// A rule whose stretch is of the target.
struct FoundRule {
  uint64_t begin, end;
  Rule rule;  // its space is a number in `spaces`
};
struct FoundRules {
  std::vector<Space> spaces;
  std::vector<FoundRule> rules;  // by `begin`
};

void findReferences(const std::vector<ImagePair>& pairs, FoundRules& found);

}  // namespace shoal::delta

#endif
