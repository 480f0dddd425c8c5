#include "references.h"

#include <algorithm>
#include <optional>

#include "frame_index.h"
#include "mapped.h"
#include "mover.h"

namespace shoal::delta {
namespace {

void pointers(const Mover& m, uint32_t from, uint32_t to) {
  uint64_t at = uint64_t{m.rule.begin} + m.rule.field;
  if (at < from) at += (from - at + m.rule.stride - 1) / m.rule.stride * m.rule.stride;
  for (; at + m.rule.width <= to; at += m.rule.stride) {
    uint8_t* p = m.bytes + at;
    uint64_t value = load32(p), by;
    if (m.rule.width == 8) value |= static_cast<uint64_t>(load32(p + 4)) << 32;
    if (!m.moved(value, by) || by == 0) continue;
    value += by;
    store32(p, static_cast<uint32_t>(value));
    if (m.rule.width == 8) store32(p + 4, static_cast<uint32_t>(value >> 32));
  }
}

// Fields count from the beginning of their table; what lies before the first is none.
void jumps(const Mover& m, const Own& own, const ValueMap& starts, uint32_t from, uint32_t to) {
  const Range& home = m.home;
  // What lies before the home is in no table.
  if (own.toBase + to <= home.base) return;
  if (own.toBase + from < home.base) from = static_cast<uint32_t>(home.base - own.toBase);
  const uint64_t first = own.toBase + from - home.base, last = own.toBase + to - home.base;
  size_t k = static_cast<size_t>(std::upper_bound(starts.from.begin(), starts.from.end(), first) - starts.from.begin());
  for (k -= k == 0 ? 0 : 1; k < starts.from.size() && starts.from[k] + 4 <= last; k++) {
    const uint64_t start = starts.from[k], stop = std::min<uint64_t>(last, k + 1 < starts.from.size() ? starts.from[k + 1] : last);
    if (start >= home.size) return;
    const uint64_t went = m.shifts.at(home.base + start) + home.drift;
    for (uint64_t at = start + (start < first ? (first - start + 3) / 4 * 4 : 0); at + 4 <= stop; at += 4) {
      uint8_t* p = m.bytes + (at + home.base - own.toBase);
      const uint32_t v = load32(p);
      uint64_t by;
      if (m.moved(home.begin + start + signed32(v), by) && by != went) store32(p, v + static_cast<uint32_t>(by - went));
    }
  }
}

void frames(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  const Range& home = m.home;
  // Length, distance back to what is common, where the function begins.
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 3) / 4 * 4; i + 12 <= to; i += 4) {
    uint8_t* p = m.bytes + i;
    const uint32_t length = load32(p), back = load32(p + 4);
    if (length < 12 || length > 0xFFFF || (length & 3) != 0 || back == 0 || (back & 3) != 0 || back > i + 4 + own.toBase) continue;
    const uint64_t value = own.toBase + i + 8 + signed32(load32(p + 8)) - home.base + home.begin;
    uint64_t by;
    if (!m.moved(value, by)) continue;
    store32(p + 8, load32(p + 8) + static_cast<uint32_t>(by - own.shift - home.drift));
    store32(p + 4, back + static_cast<uint32_t>(own.shift - m.shifts.at(own.toBase + i + 4 - back)));
    i += 8;
  }
}

void places31(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 3) / 4 * 4; i + 4 <= to; i += 4) {
    const uint32_t v = load32(m.bytes + i);
    uint32_t change;
    if (v >> 31 == 0 && m.farther(own, i, (v & 0x40000000u) << 1 | v, change)) store32(m.bytes + i, (v + change) & 0x7FFFFFFFu);
  }
}

}  // namespace

void moveReferences(const Rules& all, const Shifts& shifts, uint8_t* bytes, uint32_t origin, const Piece* pieces,
                    size_t count) {
  // Rules come in order: pieces before one are before all that follow.
  size_t first = 0;
  uint32_t firstAt = 0;
  for (const Rule& rule : all.rules) {
    if (rule.kind == kFrameIndex) continue;
    static const Space kNone;
    const Mover mover(rule, isMapped(rule.kind) ? kNone : all.spaces[rule.space], shifts, bytes);
    std::optional<WasmMapper> wasm;
    if (isWasm(rule.kind)) wasm.emplace(all.maps, rule);
    const uint32_t end = rule.begin + rule.size;
    while (first < count && firstAt + pieces[first].length <= rule.begin) firstAt += pieces[first++].length;
    uint32_t at = firstAt;
    for (size_t i = first; i < count && at < end; i++) {
      const Piece& p = pieces[i];
      const uint32_t begin = at;
      at += p.length;
      // What comes from an earlier segment has moved already.
      if (p.kind != SHOAL_DELTA_BASE || p.base >= shifts.baseSize()) continue;
      const uint32_t from = std::max(begin, rule.begin), to = std::min(at, end);
      const Own own = {p.base - begin, static_cast<uint64_t>(origin) + begin - p.base, begin, at};
      switch (rule.kind) {
        case kCodeX86: moveX86(mover, own, from, to); break;
        case kCodeArm64: moveArm64(mover, own, from, to); break;
        case kCodeRiscV: moveRiscV(mover, own, from, to); break;
        case kCodeArm32: moveArm32(mover, own, from, to); break;
        case kCodeThumb: moveThumb(mover, own, from, to); break;
        case kCodeI386: moveI386(mover, own, from, to); break;
        case kPlaces31: places31(mover, own, from, to); break;
        case kTypes: mapTypes(all.maps, rule, bytes, from, to); break;
        case kWasmCode:
        case kWasmList: wasm->map(bytes, from, to); break;
        case kRelocations: mapRelocations(all.maps, rule, bytes, from, to); break;
        case kPointers: pointers(mover, from, to); break;
        case kJumps: jumps(mover, own, all.maps[rule.ids], from, to); break;
        default: frames(mover, own, from, to);
      }
    }
  }
  clearIndexes(all, bytes);
}

}  // namespace shoal::delta
