// References moved to where the alignment map says that what they refer to went: of machine code, of tables of pointers and
// symbols, of unwinding records. Which stretches hold such is said by rules at the beginning of a payload (docs/delta.md,
// "References"). Internal C++ interface.
#ifndef SHOAL_DELTA_REFERENCES_H
#define SHOAL_DELTA_REFERENCES_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/coding/maps.h"
#include "delta/delta.h"
#include "shifts.h"

namespace shoal::delta {

using Piece = shoal_delta_piece;

// Values [begin, begin + size) name the base bytes from `base` on; in the target they are `drift` larger beside what the map
// says. Without base bytes (zeroed memory) they only drift.
struct Range {
  uint64_t begin = 0, size = 0, base = 0, drift = 0;
  bool bare = false;
};
using Space = std::vector<Range>;

enum RuleKind : uint8_t {
  kCodeX86 = 0,    // x86-64 instructions
  kCodeArm64 = 1,  // AArch64 instructions
  kPointers = 2,   // a field every `stride` bytes
  kFrames = 3,     // records of .eh_frame
  kTypes = 4,      // records of .BTF
  kRelocations = 5,  // entries of .rela sections
  kWasmCode = 6,     // WebAssembly instructions
  kWasmList = 7,     // numbers of WebAssembly functions, one after another
  kCodeRiscV = 8,    // RISC-V instructions
  kJumps = 9,        // 32-bit distances from the beginning of a table
  kFrameIndex = 10,  // rows of .eh_frame_hdr, made from records in the same segment
  kCodeArm32 = 11,   // A32 instructions
  kCodeThumb = 12,   // T32 instructions
  kCodeI386 = 13,    // i386 instructions
  kPlaces31 = 14,    // 32-bit fields whose lower 31 bits are a distance from themselves, unless the highest one is set
};
inline bool isWasm(uint8_t kind) { return kind == kWasmCode || kind == kWasmList; }
// Values go by maps, not by the alignment map.
inline bool isMapped(uint8_t kind) { return kind == kTypes || kind == kRelocations || isWasm(kind); }

// A map for one value, or for so many entries (map + 1, or 0).
struct MapUse {
  uint32_t value, map;
};

// Of a stretch of a segment.
struct Rule {
  uint8_t kind = 0;
  uint32_t begin = 0, size = 0;
  uint32_t space = 0;              // which values are references
  uint8_t home = 0;                // code, records: which range of the space they lie in themselves
  uint8_t stride = 0, field = 0, width = 0;  // pointers: 4 or 8 bytes at `field` of every `stride`, from `begin` on
  uint32_t ids = 0, strings = 0;             // types: which maps their numbers and names go by; relocations: numbers of symbols; WebAssembly: functions and constants; jumps: where tables begin in the home, as `from` (ids alone)
  uint32_t records = 0, recordsSize = 0;     // index: the stretch of the segment that its records are
  std::vector<MapUse> addends, offsets;      // relocations: addends by symbol, ascending; offsets entry by entry
};

struct Rules {
  std::vector<Space> spaces;
  std::vector<ValueMap> maps;
  std::vector<Rule> rules;
};

constexpr size_t kMostSpaces = 16, kMostRanges = 16, kMostRules = 4096, kMostUses = 4096;
constexpr uint32_t kRelocation = 24;  // bytes of an entry: offset, type, symbol, addend

// Bytes from one place to the next where an entry or an instruction can begin: a stretch is cut there and nowhere else.
inline uint32_t stepOf(const Rule& rule) {
  switch (rule.kind) {
    case kPointers:
      return rule.stride;
    case kCodeX86:
    case kCodeI386:
    case kWasmCode:
    case kWasmList:
      return 1;
    case kCodeRiscV:
      return 2;
    case kRelocations:
      return kRelocation;
    default:
      return 4;
  }
}

void writeRules(const Rules& rules, std::vector<uint8_t>& out);
// False: damaged. `at` moves past what was read.
bool readRules(const uint8_t*& at, const uint8_t* end, size_t size, uint64_t baseSize,
               Rules& rules);

// `bytes`: the prediction of a segment that begins at target position `origin` (modulo 2^32).
void moveReferences(const Rules& rules, const Shifts& shifts, uint8_t* bytes, uint32_t origin, const Piece* pieces,
                    size_t count);

}  // namespace shoal::delta

#endif
