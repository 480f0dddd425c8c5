// Rules as they lie at the beginning of a payload.
#include "delta/common/numbers.h"
#include "frame_index.h"
#include "mapped.h"
#include "references.h"

namespace shoal::delta {
namespace {

constexpr uint64_t kMostValue = uint64_t{1} << 52;

}  // namespace

void writeRules(const Rules& all, std::vector<uint8_t>& out) {
  putNumber(all.spaces.size(), out);
  for (const Space& space : all.spaces) {
    putNumber(space.size(), out);
    for (const Range& r : space) {
      putNumber(r.begin, out);
      putNumber(r.size, out);
      putNumber(r.bare ? 0 : r.base + 1, out);
      putNumber(r.drift >> 63 ? ~r.drift << 1 | 1 : r.drift << 1, out);
    }
  }
  writeMaps(all.maps, out);
  putNumber(all.rules.size(), out);
  uint32_t at = 0;
  for (const Rule& r : all.rules) {
    out.push_back(r.kind);
    // Rules come in order of where they begin.
    putNumber(r.begin - at, out);
    at = r.begin;
    putNumber(r.size, out);
    if (isMapped(r.kind)) {
      writeMapped(r, out);
      continue;
    }
    if (r.kind == kFrameIndex) {
      putNumber(r.records, out);
      putNumber(r.recordsSize, out);
      continue;
    }
    out.push_back(static_cast<uint8_t>(r.space));
    if (r.kind == kPointers) {
      out.push_back(r.stride);
      out.push_back(r.field);
      out.push_back(r.width);
    } else {
      out.push_back(r.home);
      if (r.kind == kJumps) putNumber(r.ids, out);
    }
  }
}

bool readRules(const uint8_t*& at, const uint8_t* end, size_t size, uint64_t baseSize, Rules& rules) {
  uint64_t n, spaces;
  if (!getNumber(at, end, kMostSpaces, spaces)) return false;
  rules.spaces.resize(static_cast<size_t>(spaces));
  for (Space& space : rules.spaces) {
    if (!getNumber(at, end, kMostRanges, n) || n == 0) return false;
    space.resize(static_cast<size_t>(n));
    for (Range& r : space) {
      uint64_t base, drift;
      if (!getNumber(at, end, kMostValue, r.begin) || !getNumber(at, end, kMostValue, r.size) ||
          !getNumber(at, end, uint64_t{1} << 38, base) || !getNumber(at, end, 2 * kMostValue, drift))
        return false;
      r.bare = base == 0;
      r.base = base - (r.bare ? 0 : 1);
      if (!r.bare && (r.base > baseSize || r.size > baseSize - r.base)) return false;
      r.drift = drift & 1 ? ~(drift >> 1) : drift >> 1;
    }
  }
  if (!readMaps(at, end, rules.maps) || !getNumber(at, end, kMostRules, n)) return false;
  rules.rules.resize(static_cast<size_t>(n));
  uint64_t begin = 0, sum = 0;
  auto byte = [&](uint8_t& v) {
    if (at == end) return false;
    v = *at++;
    return true;
  };
  for (Rule& r : rules.rules) {
    uint64_t by, length;
    if (!byte(r.kind) || r.kind > kPlaces31 || !getNumber(at, end, size, by) || !getNumber(at, end, size, length)) return false;
    begin += by;
    sum += length;
    // Stretches may overlap, but not without end.
    if (begin > size || length > size - begin || sum > 4 * uint64_t{size}) return false;
    r.begin = static_cast<uint32_t>(begin);
    r.size = static_cast<uint32_t>(length);
    if (isMapped(r.kind)) {
      if (!readMapped(at, end, rules.maps.size(), r)) return false;
      continue;
    }
    if (r.kind == kFrameIndex) {
      uint64_t from;
      if (!getNumber(at, end, size, from) || !getNumber(at, end, size - from, n) || begin < kIndexHead) return false;
      r.records = static_cast<uint32_t>(from);
      r.recordsSize = static_cast<uint32_t>(n);
      // These are gone through, and so count as well.
      sum += n;
      if (sum > 4 * uint64_t{size}) return false;
      continue;
    }
    uint8_t space;
    if (!byte(space) || space >= rules.spaces.size()) return false;
    r.space = space;
    if (r.kind == kPointers) {
      if (!byte(r.stride) || !byte(r.field) || !byte(r.width) || (r.width != 4 && r.width != 8) || r.stride < r.width) return false;
    } else if (!byte(r.home) || r.home >= rules.spaces[r.space].size() || rules.spaces[r.space][r.home].bare) {
      return false;
    } else if (r.kind == kJumps) {
      if (rules.maps.empty() || !getNumber(at, end, rules.maps.size() - 1, n)) return false;
      r.ids = static_cast<uint32_t>(n);
    }
  }
  return true;
}

}  // namespace shoal::delta
