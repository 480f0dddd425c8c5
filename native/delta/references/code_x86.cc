// References in x86-64 instructions.
#include "mover.h"

#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
#include <emmintrin.h>
#endif

namespace shoal::delta {
namespace {

// What follows an opcode when the ModRM byte after it addresses memory.
enum : uint8_t { kNone, kNoImmediate, kByte, kWord, kTestByte, kTestWord };

struct Opcodes {
  uint8_t behind[256] = {};
  constexpr Opcodes() {
    for (const int op : {0x01, 0x03, 0x09, 0x0B, 0x11, 0x13, 0x19, 0x1B, 0x21, 0x23, 0x29, 0x2B, 0x31, 0x33, 0x38, 0x39, 0x3A, 0x3B, 0x63, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8D, 0xFE, 0xFF}) behind[op] = kNoImmediate;
    for (const int op : {0x6B, 0x80, 0x83, 0xC0, 0xC1, 0xC6}) behind[op] = kByte;
    for (const int op : {0x69, 0x81, 0xC7}) behind[op] = kWord;
    behind[0xF6] = kTestByte;
    behind[0xF7] = kTestWord;
  }
};
constexpr Opcodes kOpcodes;

// Where among 16 bytes a reference may begin: bit by bit.
#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
inline uint32_t mayBegin(const uint8_t* p) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  auto is = [&](int mask, int value) { return _mm_cmpeq_epi8(_mm_and_si128(v, _mm_set1_epi8(static_cast<char>(mask))), _mm_set1_epi8(static_cast<char>(value))); };
  const __m128i near = _mm_or_si128(is(0xFE, 0xE8), is(0xFF, 0x0F)), mod = _mm_or_si128(is(0xC6, 0x04), is(0xF8, 0xB8));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(near, mod), _mm_or_si128(is(0xFF, 0x68), is(0xFF, 0xC7)))));
}
#else
inline uint32_t mayBegin(const uint8_t* p) {
  uint32_t mask = 0;
  for (uint32_t k = 0; k < 16; k++) {
    const uint8_t b = p[k];
    mask |= static_cast<uint32_t>((b & 0xFE) == 0xE8 || b == 0x0F || (b & 0xC6) == 0x04 || (b & 0xF8) == 0xB8 || b == 0x68 || b == 0xC7) << k;
  }
  return mask;
}
#endif

// How many bytes the reference at i takes; 0: there is none.
inline uint32_t instruction(const Mover& m, const Own& own, uint32_t i, uint32_t floor, uint32_t to) {
  const uint8_t* p = m.bytes + i;
  const uint32_t room = to - i, b = p[0];
  if (room < 5) return 0;
  if ((b & 0xFE) == 0xE8) return m.relative(own, i + 1, 4) ? 5 : 0;
  if ((b & 0xF8) == 0xB8 || b == 0x68) return m.absolute(i + 1) ? 5 : 0;
  if (b == 0x0F) return room >= 6 && (p[1] & 0xF0) == 0x80 && m.relative(own, i + 2, 4) ? 6 : 0;
  if ((b & 0xC7) == 0x05) {
    // Counted from the next instruction.
    if (i == floor) return 0;
    const uint32_t kind = kOpcodes.behind[p[-1]];
    uint32_t more = 0;
    if (i >= floor + 2 && p[-2] == 0x0F) {
      const uint32_t op = p[-1];
      more = op == 0xBA || op == 0xC2 || op == 0xC6 || op == 0x70 || op == 0xA4 || op == 0xAC ? 1 : 0;
    } else if (kind == kNone) {
      return 0;
    } else if (kind == kByte || (kind == kTestByte && b < 0x10)) {
      more = 1;
    } else if (kind == kWord || (kind == kTestWord && b < 0x10)) {
      more = 4;
    }
    return m.relative(own, i + 1, 4 + more) ? 5 : 0;
  }
  if ((b & 0xC7) == 0x04)  // an index and no base: tables
    return room >= 6 && (p[1] & 7) == 5 && i > floor && kOpcodes.behind[p[-1]] != kNone && m.absolute(i + 2) ? 6 : 0;
  if (b == 0xC7) {
    // A word to memory: behind SIB byte and displacement.
    const uint32_t modrm = p[1];
    if ((modrm & 0x38) != 0 || modrm >= 0xC0 || (modrm & 0xC7) == 0x05) return 0;
    const uint32_t at = 2 + ((modrm & 7) == 4 ? 1 : 0) + (modrm >= 0x80 ? 4 : modrm >= 0x40 ? 1 : 0);
    return room >= at + 4 && m.absolute(i + at) ? at + 4 : 0;
  }
  return 0;
}

}  // namespace

// Looks at each place in turn. What a reference was found at is behind; opcodes are not looked for in it.
void moveX86(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  uint32_t i = from, floor = from;
  for (; i + 16 <= to;) {
    const uint32_t mask = mayBegin(m.bytes + i);
    if (mask == 0) {
      i += 16;
      continue;
    }
    const uint32_t base = i;
    uint32_t left = mask;
    i += 16;
    while (left != 0) {
      const uint32_t at = base + static_cast<uint32_t>(__builtin_ctz(left));
      const uint32_t length = instruction(m, own, at, floor, to);
      if (length == 0) {
        left &= left - 1;
        continue;
      }
      floor = at + length;
      if (floor >= base + 16) {
        i = floor;
        break;
      }
      left &= ~0u << (floor - base);
    }
  }
  while (i + 5 <= to) {
    const uint32_t length = instruction(m, own, i, floor, to);
    i += length == 0 ? 1 : length;
    if (length != 0) floor = i;
  }
}

// Addresses are whole, and counted from nowhere.
void moveI386(const Mover& m, const Own& own, uint32_t from, uint32_t to) {
  uint32_t floor = from;
  for (uint32_t i = from; i + 5 <= to;) {
    const uint8_t* p = m.bytes + i;
    const uint32_t room = to - i, b = p[0];
    uint32_t length = 0;
    if ((b & 0xFE) == 0xE8) {
      if (m.relative(own, i + 1, 4)) length = 5;
    } else if ((b & 0xF8) == 0xB8 || b == 0x68 || (b & 0xFC) == 0xA0) {
      if (m.absolute(i + 1)) length = 5;
    } else if (b == 0x0F) {
      if (room >= 6 && (p[1] & 0xF0) == 0x80 && m.relative(own, i + 2, 4)) length = 6;
    } else if ((b & 0xC7) == 0x05) {
      if (i > floor && m.absolute(i + 1)) length = 5;
    } else if ((b & 0xC7) == 0x04) {
      if (room >= 6 && (p[1] & 7) == 5 && i > floor && m.absolute(i + 2)) length = 6;
    } else if ((b & 0xC0) == 0x80 && (b & 7) != 4) {
      if (i > floor && kOpcodes.behind[p[-1]] != kNone && m.absolute(i + 1)) length = 5;
    }
    i += length == 0 ? 1 : length;
    if (length != 0) floor = i;
  }
}

}  // namespace shoal::delta
