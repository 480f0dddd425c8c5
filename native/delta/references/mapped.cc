#include "mapped.h"

#include "delta/coding/change.h"
#include "delta/common/numbers.h"
#include "type_records.h"
#include "wasm_code.h"

namespace shoal::delta {

// Records of 32-bit fields, found by what their second one must be: a kind, no bits that nothing uses. What else lies
// there (the rest of a record that began earlier) does not look like that.
void mapTypes(const std::vector<ValueMap>& maps, const Rule& rule, uint8_t* bytes, uint32_t from, uint32_t to) {
  const Values ids(maps, maps[rule.ids]), strings(maps, maps[rule.strings]);
  for (uint32_t i = rule.begin + (from - rule.begin + 3) / 4 * 4; i + 12 <= to;) {
    const uint32_t info = load32(bytes + i + 4), kind = info >> 24 & 31;
    if (kind == 0 || kind >= kTypeKinds || (info & 0x60FF0000u) != 0) {
      i += 4;
      continue;
    }
    const TypeKind& shape = kTypeShapes[kind];
    strings.apply(bytes + i);
    if (shape.refers) ids.apply(bytes + i + 8);
    i += 12;
    // Members, or the fields that come once.
    for (uint32_t n = shape.members ? info & 0xFFFF : 1; n > 0; n--) {
      for (uint32_t k = 0; k < shape.fields; k++, i += 4) {
        if (i + 4 > to) return;
        const char field = shape.field[k];
        if (field == 's') strings.apply(bytes + i);
        if (field == 'i') ids.apply(bytes + i);
      }
    }
  }
}

void mapRelocations(const std::vector<ValueMap>& maps, const Rule& rule, uint8_t* bytes, uint32_t from, uint32_t to) {
  size_t stretch = 0;
  uint64_t end = rule.begin;
  for (uint64_t i = rule.begin + uint64_t{from - rule.begin + kRelocation - 1} / kRelocation * kRelocation; i + kRelocation <= to; i += kRelocation) {
    uint8_t* p = bytes + i;
    while (stretch < rule.offsets.size() && i >= end) end += uint64_t{kRelocation} * rule.offsets[stretch++].value;
    if (i < end && stretch > 0) {
      const uint32_t map = rule.offsets[stretch - 1].map;
      if (map != 0) Values(maps, maps[map - 1]).apply(p);
    }
    const uint32_t symbol = load32(p + 12);
    const auto addend = std::lower_bound(rule.addends.begin(), rule.addends.end(), symbol, [](const MapUse& u, uint32_t v) { return u.value < v; });
    if (addend != rule.addends.end() && addend->value == symbol && load32(p + 20) == 0) Values(maps, maps[addend->map]).apply(p + 16);
    Values(maps, maps[rule.ids]).apply(p + 12);
  }
}

void WasmMapper::map(uint8_t* bytes, uint32_t from, uint32_t to) {
  auto visit = [&](Operand what, uint64_t at, const Leb& n) {
    uint32_t v;
    if (!valueOf(what, n, v)) return;
    const uint32_t by = what == Operand::kFunction ? functions_.by(v) : constants_.by(v);
    if (by != 0) writeLeb(bytes + at, what, n.length, v + by);
  };
  if (list_) walkList(bytes, from, to, visit);
  else walkWasm(bytes, from, to, visit);
}

void writeMapped(const Rule& rule, std::vector<uint8_t>& out) {
  putNumber(rule.ids, out);
  if (rule.kind != kRelocations) {
    putNumber(rule.strings, out);
    return;
  }
  putNumber(rule.addends.size(), out);
  uint32_t last = 0;
  for (const MapUse& u : rule.addends) {
    putNumber(u.value - last, out);
    putNumber(u.map, out);
    last = u.value;
  }
  putNumber(rule.offsets.size(), out);
  for (const MapUse& u : rule.offsets) {
    putNumber(u.value, out);
    putNumber(u.map, out);
  }
}

bool readMapped(const uint8_t*& at, const uint8_t* end, size_t maps, Rule& rule) {
  uint64_t v, map, count, sum = 0;
  if (maps == 0 || !getNumber(at, end, maps - 1, v)) return false;
  rule.ids = static_cast<uint32_t>(v);
  if (rule.kind != kRelocations) {
    if (!getNumber(at, end, maps - 1, v)) return false;
    rule.strings = static_cast<uint32_t>(v);
    return true;
  }
  if (!getNumber(at, end, kMostUses, count)) return false;
  for (; count > 0; count--) {
    if (!getNumber(at, end, UINT32_MAX, v) || !getNumber(at, end, maps - 1, map) || (v == 0 && !rule.addends.empty())) return false;
    sum += v;
    if (sum > UINT32_MAX) return false;
    rule.addends.push_back({static_cast<uint32_t>(sum), static_cast<uint32_t>(map)});
  }
  if (!getNumber(at, end, kMostUses, count)) return false;
  for (; count > 0; count--) {
    if (!getNumber(at, end, UINT32_MAX, v) || v == 0 || !getNumber(at, end, maps, map)) return false;
    rule.offsets.push_back({static_cast<uint32_t>(v), static_cast<uint32_t>(map)});
  }
  return true;
}

}  // namespace shoal::delta
