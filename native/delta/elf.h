// What an encoder knows of executables: where in the target they hold references. Internal C++ interface.
#ifndef SHOAL_DELTA_ELF_H
#define SHOAL_DELTA_ELF_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "match.h"
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

// Looks for ELF files (64 bits, little-endian) anywhere in base and target; covers say which belongs to which.
void findReferences(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                    const std::vector<Cover>& covers, FoundRules& found);

}  // namespace shoal::delta

#endif
