// References in AArch64 instructions.
#include <algorithm>

#include "mover.h"

namespace shoal::delta {

// Calls and branches, and pages of addresses together with the next instruction that adds the rest.
void moveArm64(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  const Range& home = m.home;
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 3) / 4 * 4; i + 4 <= to; i += 4) {
    const uint32_t w = load32(m.bytes + i);
    const uint64_t pc = own.toBase + i - home.base + home.begin;
    uint64_t by;
    if ((w & 0x7C000000u) == 0x14000000u) {
      const uint64_t far = signed32((w & 0x03FFFFFFu) << 6) >> 4 | (w & 0x02000000u ? 0xF000000000000000ull : 0);
      const uint64_t to2 = i + far;
      if (to2 - own.from < own.to - own.from || !m.moved(pc + far, by)) continue;
      const uint32_t change = static_cast<uint32_t>(by - own.shift - home.drift);
      if ((change & 3) == 0) store32(m.bytes + i, (w & 0xFC000000u) | ((w + (change >> 2)) & 0x03FFFFFFu));
    } else if ((w & 0x9F000000u) == 0x90000000u) {
      const uint32_t last = static_cast<uint32_t>(std::min<uint64_t>(to, uint64_t{i} + 4 + 4 * kPageReach));
      const uint64_t page = (pc & ~uint64_t{0xFFF}) + (signed32((w >> 5 & 0x7FFFFu) << 13 | (w >> 29 & 3) << 11) << 1);
      for (uint32_t k = i + 4; k + 4 <= last; k += 4) {
        const uint32_t u = load32(m.bytes + k);
        if ((u >> 5 & 31) != (w & 31)) continue;
        uint32_t scale;
        if ((u & 0xFFC00000u) == 0x91000000u) scale = 0;
        else if ((u & 0x3B000000u) == 0x39000000u) scale = (u & 0x04800000u) == 0x04800000u ? 4 : u >> 30;
        else continue;
        const uint64_t value = page + (uint64_t{u >> 10 & 0xFFF} << scale);
        if (!m.moved(value, by)) break;
        const uint64_t now = value + by, pages = (now >> 12) - ((pc + own.shift + home.drift) >> 12);
        if ((now & ((1u << scale) - 1)) != 0) break;
        store32(m.bytes + i, (w & 0x9F00001Fu) | static_cast<uint32_t>(pages & 3) << 29 | static_cast<uint32_t>(pages >> 2 & 0x7FFFF) << 5);
        store32(m.bytes + k, (u & ~0x003FFC00u) | static_cast<uint32_t>((now & 0xFFF) >> scale) << 10);
        break;
      }
    }
  }
}

}  // namespace shoal::delta
