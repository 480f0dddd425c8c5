#include <string.h>

#include "hash/lanes.h"

namespace shoal_hash {
namespace {

// One lane in ordinary registers: for what is left over where a vector would be mostly empty, and where there is none.
struct Lane {
  using Vec = uint32_t;
  static constexpr size_t kCount = 1;

  static inline Vec Load(const uint32_t* at) { return *at; }
  static inline Vec Set(uint32_t value) { return value; }
  static inline Vec Add(Vec a, Vec b) { return a + b; }
  static inline Vec Xor(Vec a, Vec b) { return a ^ b; }
  static inline Vec Choose(Vec mask, Vec a, Vec b) { return (a & mask) | (b & ~mask); }
  static inline Vec Right16(Vec v) { return v >> 16 | v << 16; }
  static inline Vec Right12(Vec v) { return v >> 12 | v << 20; }
  static inline Vec Right8(Vec v) { return v >> 8 | v << 24; }
  static inline Vec Right7(Vec v) { return v >> 7 | v << 25; }

  // Words are little-endian, as are all processors this is built for.
  static inline void Message(const uint8_t* const* at, size_t offset, Vec* m) { memcpy(m, at[0] + offset, kBlock); }
  static inline void Store(Vec* h, uint8_t* const* out) { memcpy(out[0], h, kValue); }
};

#include "hash/rounds.inc"
#include "hash/compress.inc"

}  // namespace

const Isa kScalar = {Lane::kCount, CompressLanes};

}  // namespace shoal_hash
