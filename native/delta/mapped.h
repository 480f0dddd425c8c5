// Rules whose values go by maps: types of kernel modules, relocations. Internal C++ interface.
#ifndef SHOAL_DELTA_MAPPED_H
#define SHOAL_DELTA_MAPPED_H

#include <cstdint>
#include <vector>

#include "references.h"

namespace shoal::delta {

// Of a rule's stretch the part [from, to) that lies in one piece of base bytes.
void mapTypes(const std::vector<ValueMap>& maps, const Rule& rule, uint8_t* bytes, uint32_t from, uint32_t to);
void mapRelocations(const std::vector<ValueMap>& maps, const Rule& rule, uint8_t* bytes, uint32_t from, uint32_t to);

void writeMapped(const Rule& rule, std::vector<uint8_t>& out);
// What follows kind, begin and size of such a rule. False: damaged.
bool readMapped(const uint8_t*& at, const uint8_t* end, size_t maps, Rule& rule);

}  // namespace shoal::delta

#endif
