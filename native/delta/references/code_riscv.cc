// References in RISC-V instructions.
#include <algorithm>

#include "mover.h"

namespace shoal::delta {

// Jumps and branches, and the upper part of an address together with the next instruction that adds the lower one.
void moveRiscV(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 1) / 2 * 2; i + 4 <= to;) {
    const uint32_t w = load32(m.bytes + i);
    if ((w & 3) != 3) {
      i += 2;
      continue;
    }
    const uint32_t op = w & 0x7F;
    uint32_t change;
    if (op == 0x6F) {
      const uint32_t far = (w >> 31 ? 0xFFF00000u : 0) | (w & 0xFF000) | (w >> 9 & 0x800) | (w >> 20 & 0x7FE);
      if (m.farther(own, i, far, change)) {
        const uint32_t now = far + change;
        if ((now & 1) == 0 && now + 0x100000 < 0x200000)
          store32(m.bytes + i, (w & 0xFFF) | (now & 0xFF000) | (now & 0x800) << 9 | (now & 0x7FE) << 20 | (now >> 20 & 1) << 31);
      }
    } else if (op == 0x63) {
      const uint32_t far = (w >> 31 ? 0xFFFFF000u : 0) | (w << 4 & 0x800) | (w >> 20 & 0x7E0) | (w >> 7 & 0x1E);
      if (m.farther(own, i, far, change)) {
        const uint32_t now = far + change;
        if ((now & 1) == 0 && now + 0x1000 < 0x2000)
          store32(m.bytes + i, (w & 0x01FFF07F) | (now & 0x800) >> 4 | (now & 0x7E0) << 20 | (now & 0x1E) << 7 | (now >> 12 & 1) << 31);
      }
    } else if (op == 0x17) {
      const uint32_t last = static_cast<uint32_t>(std::min<uint64_t>(to, uint64_t{i} + 4 + 4 * kPageReach));
      for (uint32_t k = i + 4; k + 4 <= last;) {
        const uint32_t u = load32(m.bytes + k), kind = u & 0x7F;
        const bool loads = kind == 0x03 || kind == 0x07 || kind == 0x67 || (kind == 0x13 && (u & 0x7000) == 0), stores = kind == 0x23 || kind == 0x27;
        if ((u >> 15 & 31) != (w >> 7 & 31) || !(loads || stores)) {
          k += (u & 3) == 3 ? 4 : 2;
          continue;
        }
        const uint32_t low = (loads ? u >> 20 : (u >> 20 & 0xFE0) | (u >> 7 & 31)), far = (w & 0xFFFFF000u) + low - (low & 0x800) * 2;
        if (!m.farther(own, i, far, change)) break;
        const uint32_t now = far + change, upper = (now + 0x800) & 0xFFFFF000u, rest = now & 0xFFF;
        store32(m.bytes + i, (w & 0xFFF) | upper);
        store32(m.bytes + k, loads ? (u & 0xFFFFF) | rest << 20 : (u & 0x01FFF07F) | (rest & 0xFE0) << 20 | (rest & 31) << 7);
        break;
      }
    }
    i += 4;
  }
}

}  // namespace shoal::delta
