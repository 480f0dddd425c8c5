// Records of .BTF, types of kernel modules (Linux, Documentation/bpf/btf.rst). Internal C++ interface.
#ifndef SHOAL_DELTA_TYPE_RECORDS_H
#define SHOAL_DELTA_TYPE_RECORDS_H

#include <cstddef>
#include <cstdint>

#include "delta/coding/change.h"

namespace shoal::delta {

// What follows the first three fields of a record, by kind: once, or for each member;
// s: offset of a string, i: number of a type, -: neither. `refers`: the third field is the number of a type.
struct TypeKind {
  bool refers, members;
  uint32_t fields;
  char field[4];
};
constexpr TypeKind kTypeShapes[] = {
    {false, false, 0, ""}, {false, false, 1, "-"}, {true, false, 0, ""},  {false, false, 3, "ii-"}, {false, true, 3, "si-"},
    {false, true, 3, "si-"}, {false, true, 2, "s-"}, {false, false, 0, ""}, {true, false, 0, ""},     {true, false, 0, ""},
    {true, false, 0, ""},  {true, false, 0, ""},    {true, false, 0, ""},  {true, true, 2, "si"},    {true, false, 1, "-"},
    {false, true, 3, "i--"}, {false, false, 0, ""}, {true, false, 1, "-"}, {true, false, 0, ""},     {false, true, 3, "s--"},
};
constexpr uint32_t kTypeKinds = sizeof kTypeShapes / sizeof kTypeShapes[0];

// A record with this second word takes so many words; 0: there is no such record.
inline uint32_t typeWords(uint32_t info) {
  const uint32_t kind = info >> 24 & 31;
  if (kind == 0 || kind >= kTypeKinds || (info & 0x60FF0000u) != 0) return 0;
  const TypeKind& shape = kTypeShapes[kind];
  return 3 + shape.fields * (shape.members ? info & 0xFFFF : 1);
}

// Visits its fields that are offsets of strings ('s') and numbers of types ('i').
template <class Visit>
void forTypeFields(const uint8_t* p, const Visit& visit) {
  const uint32_t info = load32(p + 4);
  const TypeKind& shape = kTypeShapes[info >> 24 & 31];
  visit('s', p);
  if (shape.refers) visit('i', p + 8);
  p += 12;
  for (uint32_t n = shape.members ? info & 0xFFFF : 1; n > 0; n--)
    for (uint32_t k = 0; k < shape.fields; k++, p += 4)
      if (shape.field[k] != '-') visit(shape.field[k], p);
}

}  // namespace shoal::delta

#endif
