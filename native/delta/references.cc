#include "references.h"

#include <algorithm>
#include <optional>

#include "bytes.h"
#include "change.h"
#include "mapped.h"
#include "numbers.h"

#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
#include <emmintrin.h>
#endif

namespace shoal::delta {
namespace {

constexpr uint32_t kPageReach = 8;  // instructions within which the rest of an address is looked for
constexpr uint64_t kMostValue = uint64_t{1} << 52;

uint64_t signed32(uint32_t v) { return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v))); }

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

class Mover {
 public:
  Mover(const Shifts& shifts, const Space& space, uint8_t* bytes) : shifts_(shifts), space_(space), bytes_(bytes) {}

  // Where the value goes; false: it names nothing that is known.
  bool moved(uint64_t value, uint64_t& by) const {
    for (const Range& r : space_) {
      if (value - r.begin >= r.size) continue;
      by = r.drift + (r.bare ? 0 : shifts_.at(r.base + (value - r.begin)));
      return true;
    }
    return false;
  }
  bool known(uint64_t value) const {
    for (const Range& r : space_)
      if (value - r.begin < r.size) return true;
    return false;
  }

  void pointers(const Rule& rule, uint32_t from, uint32_t to) const {
    uint64_t at = uint64_t{rule.begin} + rule.field;
    if (at < from) at += (from - at + rule.stride - 1) / rule.stride * rule.stride;
    for (; at + rule.width <= to; at += rule.stride) {
      uint8_t* p = bytes_ + at;
      uint64_t value = load32(p), by;
      if (rule.width == 8) value |= static_cast<uint64_t>(load32(p + 4)) << 32;
      if (!moved(value, by) || by == 0) continue;
      value += by;
      store32(p, static_cast<uint32_t>(value));
      if (rule.width == 8) store32(p + 4, static_cast<uint32_t>(value >> 32));
    }
  }

  // own: of the piece that the code lies in: base position of byte 0 of the segment, its shift, its stretch of the segment.
  struct Own {
    uint64_t toBase, shift;
    uint32_t from, to;
  };

  // A field whose value counts from `next` bytes behind its beginning.
  bool relative(const Rule& rule, const Own& own, size_t field, uint32_t next) const {
    const uint32_t v = load32(bytes_ + field);
    // What it refers to lies in the same stretch: both went the same way.
    const uint64_t to = field + next + signed32(v);
    if (to - own.from < own.to - own.from) return true;
    const Range& home = space_[rule.home];
    const uint64_t value = own.toBase + to - home.base + home.begin;
    uint64_t by;
    if (!moved(value, by)) return false;
    const uint32_t change = static_cast<uint32_t>(by - own.shift - home.drift);
    if (change != 0) store32(bytes_ + field, v + change);
    return true;
  }
  bool absolute(size_t field) const {
    const uint32_t v = load32(bytes_ + field);
    uint64_t by;
    if (!moved(v, by)) return false;
    if (by != 0) store32(bytes_ + field, v + static_cast<uint32_t>(by));
    return true;
  }

  // Looks at each place in turn. What a reference was found at is behind; opcodes are not looked for in it.
  void x86(const Rule& rule, const Own& own, uint32_t from, uint32_t to) const {
    uint32_t i = from, floor = from;
    for (; i + 16 <= to;) {
      const uint32_t mask = mayBegin(bytes_ + i);
      if (mask == 0) {
        i += 16;
        continue;
      }
      const uint32_t base = i;
      uint32_t left = mask;
      i += 16;
      while (left != 0) {
        const uint32_t at = base + static_cast<uint32_t>(__builtin_ctz(left));
        const uint32_t length = instruction(rule, own, at, floor, to);
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
      const uint32_t length = instruction(rule, own, i, floor, to);
      i += length == 0 ? 1 : length;
      if (length != 0) floor = i;
    }
  }

  // How many bytes the reference at i takes; 0: there is none.
  uint32_t instruction(const Rule& rule, const Own& own, uint32_t i, uint32_t floor, uint32_t to) const {
    const uint8_t* p = bytes_ + i;
    const uint32_t room = to - i, b = p[0];
    if (room < 5) return 0;
    if ((b & 0xFE) == 0xE8) return relative(rule, own, i + 1, 4) ? 5 : 0;
    if ((b & 0xF8) == 0xB8 || b == 0x68) return absolute(i + 1) ? 5 : 0;
    if (b == 0x0F) return room >= 6 && (p[1] & 0xF0) == 0x80 && relative(rule, own, i + 2, 4) ? 6 : 0;
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
      return relative(rule, own, i + 1, 4 + more) ? 5 : 0;
    }
    if ((b & 0xC7) == 0x04)  // an index and no base: tables
      return room >= 6 && (p[1] & 7) == 5 && i > floor && kOpcodes.behind[p[-1]] != kNone && absolute(i + 2) ? 6 : 0;
    if (b == 0xC7) {
      // A word to memory: behind SIB byte and displacement.
      const uint32_t modrm = p[1];
      if ((modrm & 0x38) != 0 || modrm >= 0xC0 || (modrm & 0xC7) == 0x05) return 0;
      const uint32_t at = 2 + ((modrm & 7) == 4 ? 1 : 0) + (modrm >= 0x80 ? 4 : modrm >= 0x40 ? 1 : 0);
      return room >= at + 4 && absolute(i + at) ? at + 4 : 0;
    }
    return 0;
  }

  // Calls and branches, and pages of addresses together with the next instruction that adds the rest.
  void arm64(const Rule& rule, const Own& own, uint32_t from, uint32_t to) const {
    const Range& home = space_[rule.home];
    for (uint32_t i = rule.begin + (from - rule.begin + 3) / 4 * 4; i + 4 <= to; i += 4) {
      const uint32_t w = load32(bytes_ + i);
      const uint64_t pc = own.toBase + i - home.base + home.begin;
      uint64_t by;
      if ((w & 0x7C000000u) == 0x14000000u) {
        const uint64_t far = signed32((w & 0x03FFFFFFu) << 6) >> 4 | (w & 0x02000000u ? 0xF000000000000000ull : 0);
        const uint64_t to2 = i + far;
        if (to2 - own.from < own.to - own.from || !moved(pc + far, by)) continue;
        const uint32_t change = static_cast<uint32_t>(by - own.shift - home.drift);
        if ((change & 3) == 0) store32(bytes_ + i, (w & 0xFC000000u) | ((w + (change >> 2)) & 0x03FFFFFFu));
      } else if ((w & 0x9F000000u) == 0x90000000u) {
        const uint32_t last = static_cast<uint32_t>(std::min<uint64_t>(to, uint64_t{i} + 4 + 4 * kPageReach));
        const uint64_t page = (pc & ~uint64_t{0xFFF}) + (signed32((w >> 5 & 0x7FFFFu) << 13 | (w >> 29 & 3) << 11) << 1);
        for (uint32_t k = i + 4; k + 4 <= last; k += 4) {
          const uint32_t u = load32(bytes_ + k);
          if ((u >> 5 & 31) != (w & 31)) continue;
          uint32_t scale;
          if ((u & 0xFFC00000u) == 0x91000000u) scale = 0;
          else if ((u & 0x3B000000u) == 0x39000000u) scale = (u & 0x04800000u) == 0x04800000u ? 4 : u >> 30;
          else continue;
          const uint64_t value = page + (uint64_t{u >> 10 & 0xFFF} << scale);
          if (!moved(value, by)) break;
          const uint64_t now = value + by, pages = (now >> 12) - ((pc + own.shift + home.drift) >> 12);
          if ((now & ((1u << scale) - 1)) != 0) break;
          store32(bytes_ + i, (w & 0x9F00001Fu) | static_cast<uint32_t>(pages & 3) << 29 | static_cast<uint32_t>(pages >> 2 & 0x7FFFF) << 5);
          store32(bytes_ + k, (u & ~0x003FFC00u) | static_cast<uint32_t>((now & 0xFFF) >> scale) << 10);
          break;
        }
      }
    }
  }

  // Jumps and branches, and the upper part of an address together with the next instruction that adds the lower one.
  void riscv(const Rule& rule, const Own& own, uint32_t from, uint32_t to) const {
    for (uint32_t i = rule.begin + (from - rule.begin + 1) / 2 * 2; i + 4 <= to;) {
      const uint32_t w = load32(bytes_ + i);
      if ((w & 3) != 3) {
        i += 2;
        continue;
      }
      const uint32_t op = w & 0x7F;
      uint32_t change;
      if (op == 0x6F) {
        const uint32_t far = (w >> 31 ? 0xFFF00000u : 0) | (w & 0xFF000) | (w >> 9 & 0x800) | (w >> 20 & 0x7FE);
        if (farther(rule, own, i, far, change)) {
          const uint32_t now = far + change;
          if ((now & 1) == 0 && now + 0x100000 < 0x200000)
            store32(bytes_ + i, (w & 0xFFF) | (now & 0xFF000) | (now & 0x800) << 9 | (now & 0x7FE) << 20 | (now >> 20 & 1) << 31);
        }
      } else if (op == 0x63) {
        const uint32_t far = (w >> 31 ? 0xFFFFF000u : 0) | (w << 4 & 0x800) | (w >> 20 & 0x7E0) | (w >> 7 & 0x1E);
        if (farther(rule, own, i, far, change)) {
          const uint32_t now = far + change;
          if ((now & 1) == 0 && now + 0x1000 < 0x2000)
            store32(bytes_ + i, (w & 0x01FFF07F) | (now & 0x800) >> 4 | (now & 0x7E0) << 20 | (now & 0x1E) << 7 | (now >> 12 & 1) << 31);
        }
      } else if (op == 0x17) {
        const uint32_t last = static_cast<uint32_t>(std::min<uint64_t>(to, uint64_t{i} + 4 + 4 * kPageReach));
        for (uint32_t k = i + 4; k + 4 <= last;) {
          const uint32_t u = load32(bytes_ + k), kind = u & 0x7F;
          const bool loads = kind == 0x03 || kind == 0x07 || kind == 0x67 || (kind == 0x13 && (u & 0x7000) == 0), stores = kind == 0x23 || kind == 0x27;
          if ((u >> 15 & 31) != (w >> 7 & 31) || !(loads || stores)) {
            k += (u & 3) == 3 ? 4 : 2;
            continue;
          }
          const uint32_t low = (loads ? u >> 20 : (u >> 20 & 0xFE0) | (u >> 7 & 31)), far = (w & 0xFFFFF000u) + low - (low & 0x800) * 2;
          if (!farther(rule, own, i, far, change)) break;
          const uint32_t now = far + change, upper = (now + 0x800) & 0xFFFFF000u, rest = now & 0xFFF;
          store32(bytes_ + i, (w & 0xFFF) | upper);
          store32(bytes_ + k, loads ? (u & 0xFFFFF) | rest << 20 : (u & 0x01FFF07F) | (rest & 0xFE0) << 20 | (rest & 31) << 7);
          break;
        }
      }
      i += 4;
    }
  }
  // By how much the distance from an instruction to what lies so far (signed) changes. False: it does not, or nobody knows.
  bool farther(const Rule& rule, const Own& own, uint32_t i, uint32_t far, uint32_t& change) const {
    const uint64_t to = i + signed32(far);
    if (to - own.from < own.to - own.from) return false;
    const Range& home = space_[rule.home];
    uint64_t by;
    if (!moved(own.toBase + to - home.base + home.begin, by)) return false;
    change = static_cast<uint32_t>(by - own.shift - home.drift);
    return change != 0;
  }

  void frames(const Rule& rule, const Own& own, uint32_t from, uint32_t to) const {
    const Range& home = space_[rule.home];
    // Length, distance back to what is common, where the function begins.
    for (uint32_t i = rule.begin + (from - rule.begin + 3) / 4 * 4; i + 12 <= to; i += 4) {
      uint8_t* p = bytes_ + i;
      const uint32_t length = load32(p), back = load32(p + 4);
      if (length < 12 || length > 0xFFFF || (length & 3) != 0 || back == 0 || (back & 3) != 0 || back > i + 4 + own.toBase) continue;
      const uint64_t value = own.toBase + i + 8 + signed32(load32(p + 8)) - home.base + home.begin;
      uint64_t by;
      if (!moved(value, by)) continue;
      store32(p + 8, load32(p + 8) + static_cast<uint32_t>(by - own.shift - home.drift));
      store32(p + 4, back + static_cast<uint32_t>(own.shift - shifts_.at(own.toBase + i + 4 - back)));
      i += 8;
    }
  }

 private:
  const Shifts& shifts_;
  const Space& space_;
  uint8_t* bytes_;
};

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
    out.push_back(static_cast<uint8_t>(r.space));
    if (r.kind == kPointers) {
      out.push_back(r.stride);
      out.push_back(r.field);
      out.push_back(r.width);
    } else {
      out.push_back(r.home);
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
    if (!byte(r.kind) || r.kind > kCodeRiscV || !getNumber(at, end, size, by) || !getNumber(at, end, size, length)) return false;
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
    uint8_t space;
    if (!byte(space) || space >= rules.spaces.size()) return false;
    r.space = space;
    if (r.kind == kPointers) {
      if (!byte(r.stride) || !byte(r.field) || !byte(r.width) || (r.width != 4 && r.width != 8) || r.stride < r.width) return false;
    } else if (!byte(r.home) || r.home >= rules.spaces[r.space].size() || rules.spaces[r.space][r.home].bare) {
      return false;
    }
  }
  return true;
}

void moveReferences(const Rules& all, const Shifts& shifts, uint8_t* bytes, uint32_t origin, const Piece* pieces,
                    size_t count) {
  // Rules come in order: pieces before one are before all that follow.
  size_t first = 0;
  uint32_t firstAt = 0;
  for (const Rule& rule : all.rules) {
    static const Space kNone;
    const Mover mover(shifts, isMapped(rule.kind) ? kNone : all.spaces[rule.space], bytes);
    std::optional<WasmMapper> wasm;
    if (isWasm(rule.kind)) wasm.emplace(all.maps, rule);
    const uint32_t end = rule.begin + rule.size;
    while (first < count && firstAt + pieces[first].length <= rule.begin) firstAt += pieces[first++].length;
    uint32_t at = firstAt;
    for (size_t i = first; i < count && at < end; i++) {
      const Piece& p = pieces[i];
      const uint32_t begin = at;
      at += p.length;
      if (p.kind != SHOAL_DELTA_BASE) continue;
      const uint32_t from = std::max(begin, rule.begin), to = std::min(at, end);
      const Mover::Own own = {p.base - begin, static_cast<uint64_t>(origin) + begin - p.base, begin, at};
      switch (rule.kind) {
        case kCodeX86: mover.x86(rule, own, from, to); break;
        case kCodeArm64: mover.arm64(rule, own, from, to); break;
        case kCodeRiscV: mover.riscv(rule, own, from, to); break;
        case kTypes: mapTypes(all.maps, rule, bytes, from, to); break;
        case kWasmCode:
        case kWasmList: wasm->map(bytes, from, to); break;
        case kRelocations: mapRelocations(all.maps, rule, bytes, from, to); break;
        case kPointers: mover.pointers(rule, from, to); break;
        default: mover.frames(rule, own, from, to);
      }
    }
  }
}

}  // namespace shoal::delta
