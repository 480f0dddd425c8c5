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

// Values that were asked for lately: most are few.
class RecentValues {
 public:
  RecentValues(const std::vector<ValueMap>& maps, const ValueMap& map) : values_(maps, map) {
    for (uint32_t k = 0; k < kSlots; k++) keys_[k] = k + 1;  // of another slot
  }
  // By how much a value goes up.
  uint32_t by(uint32_t v) {
    const uint32_t slot = (v ^ v >> 10) % kSlots;
    if (keys_[slot] != v) {
      keys_[slot] = v;
      by_[slot] = values_.of(v) - v;
    }
    return by_[slot];
  }

 private:
  static constexpr uint32_t kSlots = 1024;
  Values values_;
  uint32_t keys_[kSlots], by_[kSlots];
};

// Of a rule of WebAssembly, piece by piece.
class WasmMapper {
 public:
  WasmMapper(const std::vector<ValueMap>& maps, const Rule& rule)
      : functions_(maps, maps[rule.ids]), constants_(maps, maps[rule.strings]), list_(rule.kind == kWasmList) {}
  void map(uint8_t* bytes, uint32_t from, uint32_t to);

 private:
  RecentValues functions_, constants_;
  bool list_;
};

void writeMapped(const Rule& rule, std::vector<uint8_t>& out);
// What follows kind, begin and size of such a rule. False: damaged.
bool readMapped(const uint8_t*& at, const uint8_t* end, size_t maps, Rule& rule);

}  // namespace shoal::delta

#endif
