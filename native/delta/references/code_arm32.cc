// References in 32-bit Arm instructions, of both instruction sets (Arm Architecture Reference Manual, A32 and T32).
#include <algorithm>

#include "mover.h"

namespace shoal::delta {
namespace {

constexpr uint32_t kReach = 32;    // bytes within which halves of an address follow each other
constexpr uint32_t kAddReach = 96;  // and the instruction that adds its own place

void store16(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v);
  p[1] = static_cast<uint8_t>(v >> 8);
}

// What a value is that lies in a pool or in two halves, and the instruction at `add` (0: none) adds its own place + ahead.
bool change(const Mover& m, const Own& own, uint32_t v, uint32_t add, uint32_t ahead, uint32_t& by) {
  uint64_t far;
  if (add != 0) return m.farther(own, add, v + ahead, by);
  // What can be loaded anywhere begins at 0, and holds no addresses.
  if (m.space[0].begin == 0 || !m.moved(v, far)) return false;
  by = static_cast<uint32_t>(far);
  return by != 0;
}

// --- A32

// The next instruction that adds a register to its own place, or loads from there.
uint32_t adds(const Mover& m, uint32_t i, uint32_t to, uint32_t reg) {
  for (uint32_t k = i, last = std::min(to, i + kAddReach); k + 4 <= last; k += 4) {
    const uint32_t w = load32(m.bytes + k);
    if ((w & 15) == reg && ((w & 0x0FFF0FF0u) == 0x008F0000u || (w & 0x0FFF0FF0u) == 0x079F0000u)) return k;
  }
  return 0;
}
uint32_t halfA32(uint32_t w) { return (w >> 4 & 0xF000) | (w & 0xFFF); }
uint32_t withHalfA32(uint32_t w, uint32_t v) { return (w & 0xFFF0F000u) | (v & 0xF000) << 4 | (v & 0xFFF); }

// --- T32

bool isWide(uint32_t first) { return first >= 0xE800; }
uint32_t lengthOf(const uint8_t* p) { return isWide(load16(p)) ? 4 : 2; }
uint32_t addsT32(const Mover& m, uint32_t i, uint32_t to, uint32_t reg) {
  for (uint32_t k = i, last = std::min(to, i + kAddReach); k + 4 <= last; k += lengthOf(m.bytes + k)) {
    const uint32_t h = load16(m.bytes + k);
    if ((h & 0xFF78) == 0x4478 && ((h >> 4 & 8) | (h & 7)) == reg) return k;
  }
  return 0;
}
uint32_t halfT32(uint32_t first, uint32_t second) { return (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | (second & 0xFF); }
void storeHalfT32(uint8_t* p, uint32_t v) {
  store16(p, (load16(p) & 0xFBF0) | (v >> 12 & 15) | (v >> 11 & 1) << 10);
  store16(p + 2, (load16(p + 2) & 0x8F00) | (v >> 8 & 7) << 12 | (v & 0xFF));
}

// A word that instructions load from a pool near them.
void pool(const Mover& m, const Own& own, int64_t place, uint32_t add, uint32_t ahead) {
  if (place < int64_t{own.from} || place + 4 > int64_t{own.to}) return;
  const uint32_t at = static_cast<uint32_t>(place);
  uint32_t by;
  const uint32_t v = load32(m.bytes + at);
  if (change(m, own, v, add, ahead, by)) store32(m.bytes + at, v + by);
}

}  // namespace

void moveArm32(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 3) / 4 * 4; i + 4 <= to; i += 4) {
    const uint32_t w = load32(m.bytes + i);
    uint32_t by;
    if ((w & 0x0E000000u) == 0x0A000000u) {
      const uint32_t far = static_cast<uint32_t>(static_cast<int32_t>(w << 8) >> 6);
      if (m.farther(own, i, far + 8, by) && (by & 3) == 0) store32(m.bytes + i, (w & 0xFF000000u) | ((w + (by >> 2)) & 0x00FFFFFFu));
    } else if ((w & 0x0FF00000u) == 0x03000000u) {
      const uint32_t reg = w >> 12 & 15;
      for (uint32_t k = i + 4, last = std::min(to, i + 4 + kReach); k + 4 <= last; k += 4) {
        const uint32_t u = load32(m.bytes + k);
        if ((u & 0x0FF0F000u) != (0x03400000u | reg << 12)) continue;
        const uint32_t v = halfA32(w) | halfA32(u) << 16;
        if (change(m, own, v, adds(m, k + 4, to, reg), 8, by)) {
          store32(m.bytes + i, withHalfA32(w, (v + by) & 0xFFFF));
          store32(m.bytes + k, withHalfA32(u, (v + by) >> 16));
        }
        break;
      }
    } else if ((w & 0x0F7F0000u) == 0x051F0000u) {
      const uint32_t distance = w & 0xFFF, reg = w >> 12 & 15;
      const uint32_t add = adds(m, i + 4, to, reg);
      if (add != 0) pool(m, own, int64_t{i} + 8 + (w & 0x00800000u ? int64_t{distance} : -int64_t{distance}), add, 8);
    }
  }
}

void moveThumb(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  for (uint32_t i = m.rule.begin + (from - m.rule.begin + 1) / 2 * 2; i + 4 <= to;) {
    uint8_t* p = m.bytes + i;
    const uint32_t first = load16(p), second = load16(p + 2);
    uint32_t by;
    // Counted from a multiple of four in memory, as the stretch begins at one.
    const uint32_t even = i - (i - m.rule.begin) % 4;
    if (!isWide(first)) {
      if ((first & 0xF800) == 0x4800) {
        const uint32_t add = addsT32(m, i + 2, to, first >> 8 & 7);
        if (add != 0) pool(m, own, int64_t{even} + 4 + (first & 0xFF) * 4, add, 4);
      }
      i += 2;
      continue;
    }
    i += 4;
    const uint32_t at = i - 4;
    if ((first & 0xF800) == 0xF000 && (second & 0x8000) != 0) {
      const uint32_t s = first >> 10 & 1, j1 = second >> 13 & 1, j2 = second >> 11 & 1;
      if ((second & 0xD000) == 0x8000) {
        // On a condition: 20 bits.
        if ((first & 0x0380) == 0x0380) continue;
        const uint32_t far = (s ? 0xFFF00000u : 0) | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1;
        if (!m.farther(own, at, far + 4, by)) continue;
        const uint32_t now = far + by;
        if ((now & 1) != 0 || now + 0x100000 >= 0x200000) continue;
        store16(p, (first & 0xFBC0) | (now >> 20 & 1) << 10 | (now >> 12 & 0x3F));
        store16(p + 2, (second & 0xD000) | (now >> 18 & 1) << 13 | (now >> 19 & 1) << 11 | (now >> 1 & 0x7FF));
        continue;
      }
      const bool exchanges = (second & 0xD001) == 0xC000;
      if ((second & 0xD000) == 0xC000 && !exchanges) continue;
      const uint32_t far = (s ? 0xFF000000u : 0) | ((j1 ^ s) ^ 1) << 23 | ((j2 ^ s) ^ 1) << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1;
      if (!m.farther(own, exchanges ? even : at, far + 4, by)) continue;
      const uint32_t now = far + by;
      if ((now & (exchanges ? 3 : 1)) != 0 || now + 0x1000000 >= 0x2000000) continue;
      const uint32_t sign = now >> 24 & 1;
      store16(p, (first & 0xF800) | sign << 10 | (now >> 12 & 0x3FF));
      store16(p + 2, (second & 0xD000) | ((now >> 23 & 1) ^ sign ^ 1) << 13 | ((now >> 22 & 1) ^ sign ^ 1) << 11 | (now >> 1 & 0x7FF));
    } else if ((first & 0xFBF0) == 0xF240 && (second & 0x8000) == 0) {
      const uint32_t reg = second >> 8 & 15;
      for (uint32_t k = i, last = std::min(to, i + kReach); k + 4 <= last; k += lengthOf(m.bytes + k)) {
        const uint32_t a = load16(m.bytes + k), b = load16(m.bytes + k + 2);
        if ((a & 0xFBF0) != 0xF2C0 || (b & 0x8F00) != reg << 8) continue;
        const uint32_t v = halfT32(first, second) | halfT32(a, b) << 16;
        if (change(m, own, v, addsT32(m, k + 4, to, reg), 4, by)) {
          storeHalfT32(p, (v + by) & 0xFFFF);
          storeHalfT32(m.bytes + k, (v + by) >> 16);
        }
        break;
      }
    } else if ((first & 0xFF7F) == 0xF85F) {
      const uint32_t add = addsT32(m, i, to, second >> 12 & 15), distance = second & 0xFFF;
      if (add != 0) pool(m, own, int64_t{even} + 4 + (first & 0x80 ? int64_t{distance} : -int64_t{distance}), add, 4);
    }
  }
}

}  // namespace shoal::delta
