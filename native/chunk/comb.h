// The definition of a cut (docs/chunking.md), shared by the scalar and the SIMD scans.
#ifndef SHOAL_CHUNK_COMB_H
#define SHOAL_CHUNK_COMB_H

#include <stddef.h>
#include <stdint.h>

#include "chunk/chunk.h"

namespace shoal_chunk {

constexpr uint32_t kStride = 31;   // Distance between the samples of one hash: the comb's teeth.
constexpr uint32_t kTeeth = 32;    // Samples in a hash: a 32-bit word that shifts by one bit forgets after 32.
constexpr uint32_t kPartner = 11;  // A sample is the sum of two bytes this far apart.
constexpr uint32_t kReach = kStride * (kTeeth - 1) + kPartner;  // How far before its own position a hash looks.
constexpr uint32_t kFilter = 0xfff0;  // These bits of the hash are zero at a candidate; they see 16 teeth at most.

static_assert(kReach < SHOAL_CHUNK_LEAST_MIN, "every hash that is looked at lies within its chunk");

// SplitMix64 from seed 0x53686f616c, upper halves; checked against that by the tests.
constexpr uint32_t kLow[16] = {
    0x0af66a26u, 0x8baf1260u, 0xd5ff7bd2u, 0xfa839b0cu, 0xd9127806u, 0x3a4cbe9fu, 0x4e2f8e46u, 0xa126a105u,
    0x46168e03u, 0xb92c6848u, 0xda834c08u, 0xc44b5488u, 0xf774eebeu, 0xac148c75u, 0x7931e91eu, 0xeb6788cau,
};
constexpr uint32_t kHigh[16] = {
    0x445c2940u, 0xfb25040fu, 0x5549d2aeu, 0xeee52cf7u, 0xe2e087d6u, 0xa7b19fbdu, 0xd3386043u, 0x6a89716du,
    0x4fe17834u, 0x2cf8123fu, 0x1b778895u, 0x82445848u, 0x86831b7du, 0xa46846c6u, 0x1032fbd9u, 0x8f070488u,
};

inline uint32_t Gear(uint8_t sample) { return kLow[sample & 15] ^ kHigh[sample >> 4]; }

// The low 16 bits of the gear as tables that a register looks nibbles up in: byte 0 by low nibble, byte 0 by high nibble,
// byte 1 by low, byte 1 by high; each as often as a register of `kBytes` has room for.
template <int kBytes>
struct NibbleTables {
  alignas(kBytes) uint8_t of[4][kBytes];
  constexpr NibbleTables() : of() {
    for (int i = 0; i < kBytes; i++) {
      of[0][i] = static_cast<uint8_t>(kLow[i & 15]);
      of[1][i] = static_cast<uint8_t>(kHigh[i & 15]);
      of[2][i] = static_cast<uint8_t>(kLow[i & 15] >> 8);
      of[3][i] = static_cast<uint8_t>(kHigh[i & 15] >> 8);
    }
  }
};

// How strict the second half of the test is at which chunk length.
struct Rule {
  uint32_t min, turn, max, strict, loose;
  explicit Rule(const shoal_chunk_params& p)
      : min(p.min),
        turn(p.avg / 4 * 3),
        max(p.max),
        strict(static_cast<uint32_t>((3u << 25) / p.avg)),
        loose(static_cast<uint32_t>((uint64_t{7} << 27) / p.avg)) {}

  // Whether a chunk of `length` bytes may end where the hash is `hash`.
  bool Cuts(uint32_t hash, uint32_t length) const {
    return (hash & kFilter) == 0 && (hash >> 16) < (length < turn ? strict : loose);
  }
};

// The scan of one chunk: where it starts, where it has to end, and where the readable bytes end.
struct Scan {
  const uint8_t* data;
  size_t start;  // offset of the chunk's first byte
  size_t end;    // one past the last position that may be tested: min(size, start + max)
  size_t size;   // bytes that may be read
  const Rule& rule;
};

// The first cut (exclusive end) of the chunk in [start + min, end], or 0 when there is none.
using FindCut = size_t (*)(const Scan&);

// The hash at `at`, from nothing.
uint32_t HashAt(const uint8_t* at);

// Tests positions one by one. Keeps the running hashes, so that adjoining stretches cost one step per byte.
class Stepper {
 public:
  // The first cut whose last byte is in [from, to), or 0. Positions are offsets in scan.data.
  size_t Run(const Scan& scan, size_t from, size_t to);

 private:
  uint32_t hashes_[kStride];
  size_t next_ = 0;  // the position that the hashes are ready for; 0 when for none
  uint32_t tooth_ = 0;
};

size_t FindCutScalar(const Scan& scan);
#if defined(__x86_64__)
size_t FindCutSse41(const Scan& scan);
size_t FindCutAvx2(const Scan& scan);
#elif defined(__aarch64__)
size_t FindCutNeon(const Scan& scan);
#endif

}  // namespace shoal_chunk
#endif
