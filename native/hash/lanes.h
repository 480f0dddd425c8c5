// What the instruction sets share: the constants of BLAKE3 and the one call that each of them provides.
#ifndef SHOAL_HASH_LANES_H
#define SHOAL_HASH_LANES_H

#include <stddef.h>
#include <stdint.h>

namespace shoal_hash {

constexpr size_t kBlock = 64;
constexpr size_t kLeaf = 1024;
constexpr size_t kLeafBlocks = kLeaf / kBlock;
constexpr size_t kValue = 32;
constexpr size_t kMostLanes = 16;

// Domain flags (specification, table 3).
constexpr uint32_t kLeafStart = 1, kLeafEnd = 2, kParent = 4, kRoot = 8;

alignas(32) constexpr uint32_t kIv[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                         0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

// Which word of the message each step of each round takes: the permutation of table 2, applied once more each round.
struct Schedule {
  uint8_t of[7][16];
  constexpr Schedule() : of() {
    constexpr uint8_t kMove[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
    for (uint8_t i = 0; i < 16; i++) of[0][i] = i;
    for (int round = 1; round < 7; round++) {
      for (int i = 0; i < 16; i++) of[round][i] = of[round - 1][kMove[i]];
    }
  }
};
constexpr Schedule kSchedule;

// As many inputs as an instruction set has lanes, hashed side by side from the initial value. Each input is `blocks` blocks
// from `at` on. Lane l of block b has `length[b][l]` bytes and `flags[b][l]`; a lane is done after block `ends[l]`
// (its value is taken there), and whole memory is readable up to `blocks` blocks.
struct Batch {
  const uint8_t* at[kMostLanes];
  uint8_t* out[kMostLanes];
  uint64_t counter[kMostLanes];
  uint32_t blocks;
  // Whether all lanes end with the last block: then `ends` is not looked at.
  bool even;
  uint32_t ends[kMostLanes];
  uint32_t length[kLeafBlocks][kMostLanes];
  uint32_t flags[kLeafBlocks][kMostLanes];
};

using Compress = void (*)(const Batch& batch);

struct Isa {
  size_t lanes;
  Compress compress;
};

extern const Isa kScalar;
#if defined(__x86_64__)
extern const Isa kSse41;
extern const Isa kAvx2;
extern const Isa kAvx512;
#elif defined(__aarch64__)
extern const Isa kNeon;
#endif

}  // namespace shoal_hash
#endif
