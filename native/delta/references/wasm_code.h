// WebAssembly instructions, as far as is needed to find the numbers in them (WebAssembly Core Specification 2.0, "Binary Format", and the
// proposals that compilers use: threads, tail calls, exceptions). Internal C++ interface.
#ifndef SHOAL_DELTA_WASM_CODE_H
#define SHOAL_DELTA_WASM_CODE_H

#include <cstddef>
#include <cstdint>

namespace shoal::delta {

// What a number stands for.
enum class Operand : uint8_t {
  kFunction,  // which function
  kWord,      // i32.const: signed
  kLong,      // i64.const: signed
  kOffset,    // what a load or store adds to an address
};

// Seven bits a byte, the lowest first; 128 is added to all but the last.
struct Leb {
  uint32_t length = 0;  // 0: none
  uint64_t bits = 0;    // of nine bytes at most
  bool negative = false;  // if it is signed
};

inline Leb readLeb(const uint8_t* p, uint64_t at, uint64_t to, uint32_t most) {
  Leb n;
  for (uint32_t k = 0; k < most && at + k < to; k++) {
    const uint64_t b = p[at + k];
    if (k < 9) n.bits |= (b & 127) << 7 * k;
    if (b >= 128) continue;
    n.length = k + 1;
    n.negative = (b & 64) != 0;
    return n;
  }
  return n;
}

// The value modulo 2^32 of an operand that maps can say; false: it is none of these.
inline bool valueOf(Operand what, const Leb& n, uint32_t& v) {
  if (n.length > 9) return false;
  v = static_cast<uint32_t>(n.bits);
  if (what == Operand::kFunction || what == Operand::kOffset) return n.bits >> 32 == 0;
  if (what == Operand::kLong) return !n.negative && n.bits >> 32 == 0;
  const uint64_t x = n.negative ? n.bits | ~uint64_t{0} << 7 * n.length : n.bits;
  v = static_cast<uint32_t>(x);
  return x + 0x80000000u < uint64_t{1} << 32;
}

// In the bytes that the number there takes; nothing happens where it takes more.
inline void writeLeb(uint8_t* p, Operand what, uint32_t length, uint32_t v) {
  const bool isSigned = what == Operand::kWord || what == Operand::kLong;
  const uint64_t x = what == Operand::kWord ? static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v))) : v;
  const uint32_t bits = 7 * length - (isSigned ? 1 : 0);
  const uint64_t rest = bits >= 64 ? 0 : x >> bits;
  if (rest != 0 && !(isSigned && rest == ~uint64_t{0} >> bits)) return;
  for (uint32_t k = 0; k < length; k++) p[k] = static_cast<uint8_t>((x >> 7 * k & 127) | (k + 1 < length ? 128 : 0));
}

enum Shape : uint8_t { kAlone, kNumber, kTwoNumbers, kCall, kConst32, kConst64, kMemory, kBranches, kFourBytes, kEightBytes, kList, kMore, kVector, kAtomic, kEnd };

struct WasmShapes {
  uint8_t of[256] = {};
  constexpr WasmShapes() {
    for (int op = 0x02; op <= 0x09; op++) of[op] = op == 0x05 ? kAlone : kNumber;
    of[0x0B] = kEnd;
    of[0x0C] = of[0x0D] = of[0x18] = kNumber;
    of[0x0E] = kBranches;
    of[0x10] = of[0x12] = of[0xD2] = kCall;
    of[0x11] = of[0x13] = kTwoNumbers;
    of[0x1C] = kList;
    for (int op = 0x20; op <= 0x26; op++) of[op] = kNumber;
    for (int op = 0x28; op <= 0x3E; op++) of[op] = kMemory;
    of[0x3F] = of[0x40] = of[0xD0] = kNumber;
    of[0x41] = kConst32;
    of[0x42] = kConst64;
    of[0x43] = kFourBytes;
    of[0x44] = kEightBytes;
    of[0xFC] = kMore;
    of[0xFD] = kVector;
    of[0xFE] = kAtomic;
  }
};
inline constexpr WasmShapes kWasmShapes;

// Goes through instructions from `from` on, wherever that is: a place within an instruction is one soon. Calls visit(operand, place, number).
template <class Visit>
class WasmWalk {
 public:
  WasmWalk(const uint8_t* p, uint64_t to, Visit& visit) : p_(p), to_(to), visit_(visit) {}

  void run(uint64_t from) {
    uint64_t i = head(from);
    while (i < to_) {
      at_ = i + 1;
      // What does not fit is no instruction.
      i = instruction(p_[i]) ? at_ : i + 1;
    }
  }

 private:
  bool number(uint32_t most = 5) {
    const Leb n = readLeb(p_, at_, to_, most);
    at_ += n.length;
    return n.length != 0;
  }
  bool operand(Operand what, uint32_t most) {
    const Leb n = readLeb(p_, at_, to_, most);
    if (n.length == 0) return false;
    visit_(what, at_, n);
    at_ += n.length;
    return true;
  }
  bool bytes(uint64_t count) {
    if (count > to_ - at_) return false;
    at_ += count;
    return true;
  }
  // Alignment, of which a bit says that the number of a memory follows, and offset.
  bool memory() {
    const Leb align = readLeb(p_, at_, to_, 5);
    at_ += align.length;
    return align.length != 0 && ((align.bits & 64) == 0 || number()) && operand(Operand::kOffset, 5);
  }

  bool instruction(uint8_t op) {
    switch (kWasmShapes.of[op]) {
      case kAlone: return true;
      case kNumber: return number();
      case kTwoNumbers: return number() && number();
      case kCall: return operand(Operand::kFunction, 5);
      case kConst32: return operand(Operand::kWord, 5);
      case kConst64: return operand(Operand::kLong, 10);
      case kMemory: return memory();
      case kFourBytes: return bytes(4);
      case kEightBytes: return bytes(8);
      case kEnd: at_ = head(at_); return true;
      case kBranches: {
        const Leb count = readLeb(p_, at_, to_, 5);
        if (count.length == 0 || count.bits >= to_ - at_) return false;
        at_ += count.length;
        for (uint64_t k = 0; k <= count.bits; k++)
          if (!number()) return false;
        return true;
      }
      case kList: {
        const Leb count = readLeb(p_, at_, to_, 5);
        at_ += count.length;
        return count.length != 0 && bytes(count.bits);
      }
      default: return prefixed(op);
    }
  }

  bool prefixed(uint8_t op) {
    const Leb sub = readLeb(p_, at_, to_, 5);
    if (sub.length == 0) return false;
    at_ += sub.length;
    const uint64_t n = sub.bits;
    if (op == 0xFC) {
      if (n < 8 || n > 17) return true;
      return number() && ((n != 8 && n != 10 && n != 12 && n != 14) || number());
    }
    if (op == 0xFE) return n == 3 ? bytes(1) : memory();
    if (n <= 11 || n == 92 || n == 93) return memory();
    if (n == 12 || n == 13) return bytes(16);
    if (n >= 84 && n <= 91) return memory() && bytes(1);
    return n < 21 || n > 34 || bytes(1);
  }

  // Behind the size and the locals of a function, if those are at `at`.
  uint64_t head(uint64_t at) const {
    const Leb size = readLeb(p_, at, to_, 5);
    const uint64_t begin = at + size.length;
    const Leb groups = readLeb(p_, begin, to_, 1);
    if (size.length == 0 || groups.length == 0 || groups.bits > 50) return at;
    uint64_t i = begin + groups.length;
    for (uint64_t k = 0; k < groups.bits; k++) {
      const Leb count = readLeb(p_, i, to_, 5);
      i += count.length;
      if (count.length == 0 || i >= to_ || (p_[i] != 0x70 && p_[i] != 0x6F && (p_[i] < 0x7B || p_[i] > 0x7F))) return at;
      i++;
    }
    if (size.bits <= i - begin) return at;
    // It ends with `end`, if that can be seen.
    const bool seen = size.bits <= to_ - begin;
    return seen ? (p_[begin + size.bits - 1] == 0x0B ? i : at) : (groups.bits > 0 ? i : at);
  }

  const uint8_t* p_;
  uint64_t to_, at_ = 0;
  Visit& visit_;
};

template <class Visit>
void walkWasm(const uint8_t* p, uint64_t from, uint64_t to, Visit visit) {
  WasmWalk<Visit>(p, to, visit).run(from);
}

// A list of numbers, as of elements: each is one of a function.
template <class Visit>
void walkList(const uint8_t* p, uint64_t from, uint64_t to, Visit visit) {
  for (uint64_t i = from; i < to;) {
    const Leb n = readLeb(p, i, to, 5);
    if (n.length != 0) visit(Operand::kFunction, i, n);
    i += n.length == 0 ? 1 : n.length;
  }
}

}  // namespace shoal::delta

#endif
