// What an encoder knows of .BTF, the types of kernel modules: which records of the target come from which of the base, and
// how numbers of types and offsets of strings changed. Internal C++ interface.
#ifndef SHOAL_DELTA_TYPES_H
#define SHOAL_DELTA_TYPES_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/references/references.h"
#include "elf.h"
#include "images.h"
#include "learn.h"

namespace shoal::delta {

// Records of one section of the target.
struct TypesFound {
  uint64_t begin = 0, end = 0;
  ValueMap ids, strings;                        // own ones
  std::vector<uint32_t> commonIds, commonStrings;  // values that go by what all modules share, ascending
};

struct AllTypes {
  std::vector<TypesFound> sections;  // by `begin`
  std::vector<ValuePair> ids, strings;  // shared by all
};

// Covers of records found replace what covered them.
void coverTypes(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers, AllTypes& found);

}  // namespace shoal::delta

#endif
