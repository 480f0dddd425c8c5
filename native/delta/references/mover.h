// What moves the references of one rule. Internal C++ interface.
#ifndef SHOAL_DELTA_MOVER_H
#define SHOAL_DELTA_MOVER_H

#include <cstddef>
#include <cstdint>

#include "delta/coding/change.h"
#include "delta/coding/maps.h"
#include "references.h"
#include "shifts.h"

namespace shoal::delta {

constexpr uint32_t kPageReach = 8;  // instructions within which the rest of an address is looked for

inline uint64_t signed32(uint32_t v) { return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v))); }

// Of the piece that something lies in: base position of byte 0 of the segment, its shift, its stretch of the segment.
struct Own {
  uint64_t toBase, shift;
  uint32_t from, to;
};

class Mover {
 public:
  // Without a home where the rule needs none.
  Mover(const Rule& rule, const Space& space, const Shifts& shifts, uint8_t* bytes)
      : rule(rule), space(space), home(rule.home < space.size() ? space[rule.home] : kNowhere), shifts(shifts), bytes(bytes) {}

  const Rule& rule;
  const Space& space;
  const Range& home;
  const Shifts& shifts;
  uint8_t* const bytes;

  // Where the value goes; false: it names nothing that is known.
  bool moved(uint64_t value, uint64_t& by) const {
    for (const Range& r : space) {
      if (value - r.begin >= r.size) continue;
      by = r.drift + (r.bare ? 0 : shifts.at(r.base + (value - r.begin)));
      return true;
    }
    return false;
  }
  // What names the place `at` (of the segment), which lies in the home.
  uint64_t value(const Own& own, uint64_t at) const { return own.toBase + at - home.base + home.begin; }

  // A field whose value counts from `next` bytes behind its beginning.
  bool relative(const Own& own, size_t field, uint32_t next) const {
    const uint32_t v = load32(bytes + field);
    // What it refers to lies in the same stretch: both went the same way.
    const uint64_t to = field + next + signed32(v);
    if (to - own.from < own.to - own.from) return true;
    uint64_t by;
    if (!moved(value(own, to), by)) return false;
    const uint32_t change = static_cast<uint32_t>(by - own.shift - home.drift);
    if (change != 0) store32(bytes + field, v + change);
    return true;
  }
  bool absolute(size_t field) const {
    const uint32_t v = load32(bytes + field);
    uint64_t by;
    if (!moved(v, by)) return false;
    if (by != 0) store32(bytes + field, v + static_cast<uint32_t>(by));
    return true;
  }
  // By how much the distance (signed) from `at` to what lies so far changes. False: it does not, or nobody knows.
  bool farther(const Own& own, uint64_t at, uint32_t far, uint32_t& change) const {
    const uint64_t to = at + signed32(far);
    if (to - own.from < own.to - own.from) return false;
    uint64_t by;
    if (!moved(value(own, to), by)) return false;
    change = static_cast<uint32_t>(by - own.shift - home.drift);
    return change != 0;
  }

 private:
  static inline const Range kNowhere{};
};

// Of the rule's stretch the part [from, to) that lies in one piece: instructions of each processor.
void moveX86(const Mover& mover, const Own& own, uint32_t from, uint32_t to);
void moveI386(const Mover& mover, const Own& own, uint32_t from, uint32_t to);
void moveArm64(const Mover& mover, const Own& own, uint32_t from, uint32_t to);
void moveRiscV(const Mover& mover, const Own& own, uint32_t from, uint32_t to);
void moveArm32(const Mover& mover, const Own& own, uint32_t from, uint32_t to);
void moveThumb(const Mover& mover, const Own& own, uint32_t from, uint32_t to);

}  // namespace shoal::delta

#endif
