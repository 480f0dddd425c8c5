// References moved to where the alignment map says that what they refer to went: of machine code, of tables of pointers and
// symbols, of unwinding records. Which stretches hold such is said by rules at the beginning of a payload (docs/delta.md,
// "References"). Internal C++ interface.
#ifndef SHOAL_DELTA_REFERENCES_H
#define SHOAL_DELTA_REFERENCES_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta.h"
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
};

// Values go up by `by` (modulo 2^32) of the last of `from` (ascending) that is not above them; those below the first go
// by the parent (a number of an earlier map without a parent, plus 1; 0: none, and nothing changes).
struct ValueMap {
  uint32_t parent = 0;
  std::vector<uint32_t> from, by;
};

// Of a stretch of a segment.
struct Rule {
  uint8_t kind = 0;
  uint32_t begin = 0, size = 0;
  uint32_t space = 0;              // which values are references
  uint8_t home = 0;                // code, records: which range of the space they lie in themselves
  uint8_t stride = 0, field = 0, width = 0;  // pointers: 4 or 8 bytes at `field` of every `stride`, from `begin` on
  uint32_t ids = 0, strings = 0;             // types: which maps their numbers and names go by
};

struct Rules {
  std::vector<Space> spaces;
  std::vector<ValueMap> maps;
  std::vector<Rule> rules;
};

constexpr size_t kMostSpaces = 16, kMostRanges = 16, kMostRules = 4096, kMostMaps = 2 * kMostRules;
constexpr size_t kMostValues = 1 << 16;  // of all maps of a segment

// A record of .BTF with this second word takes so many words; 0: there is no such record.
uint32_t typeWords(uint32_t info);
// Its fields that are offsets of strings ('s') and numbers of types ('i').
const char* typeFields(uint32_t kind, bool& refers, bool& members);

template <class Visit>
void forTypeFields(const uint8_t* p, const Visit& visit) {
  const uint32_t info = static_cast<uint32_t>(p[4]) | static_cast<uint32_t>(p[5]) << 8 | static_cast<uint32_t>(p[7]) << 24;
  bool refers, members;
  const char* fields = typeFields(info >> 24 & 31, refers, members);
  visit('s', p);
  if (refers) visit('i', p + 8);
  p += 12;
  for (uint32_t n = members ? info & 0xFFFF : 1; n > 0; n--)
    for (const char* f = fields; *f != 0; f++, p += 4) visit(*f, p);
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
