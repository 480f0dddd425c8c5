#include "chunk/comb.h"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace shoal_chunk {
namespace {

struct Tables {
  alignas(16) uint8_t of[4][16];  // byte 0 by low nibble, byte 0 by high nibble, byte 1 by low, byte 1 by high
  constexpr Tables() : of() {
    for (int i = 0; i < 16; i++) {
      of[0][i] = static_cast<uint8_t>(kLow[i]);
      of[1][i] = static_cast<uint8_t>(kHigh[i]);
      of[2][i] = static_cast<uint8_t>(kLow[i] >> 8);
      of[3][i] = static_cast<uint8_t>(kHigh[i] >> 8);
    }
  }
};
constexpr Tables kTables;

struct Rows {
  using Least = uint16x8_t;

  uint16x8_t h[4];

  inline void Clear() { h[0] = h[1] = h[2] = h[3] = vdupq_n_u16(0); }

  static uint8x16_t Table(int which) { return vld1q_u8(kTables.of[which]); }

  static inline void Half(const uint8_t* at, uint16x8_t& a, uint16x8_t& b) {
    const uint8x16_t sample = vaddq_u8(vld1q_u8(at), vld1q_u8(at - kPartner));
    const uint8x16_t low = vandq_u8(sample, vdupq_n_u8(15));
    const uint8x16_t high = vshrq_n_u8(sample, 4);
    const uint8x16_t byte0 = veorq_u8(vqtbl1q_u8(Table(0), low), vqtbl1q_u8(Table(1), high));
    const uint8x16_t byte1 = veorq_u8(vqtbl1q_u8(Table(2), low), vqtbl1q_u8(Table(3), high));
    a = vaddq_u16(vaddq_u16(a, a), vreinterpretq_u16_u8(vzip1q_u8(byte0, byte1)));
    b = vaddq_u16(vaddq_u16(b, b), vreinterpretq_u16_u8(vzip2q_u8(byte0, byte1)));
  }
  inline void Step(const uint8_t* at) {
    Half(at, h[0], h[1]);
    Half(at + 16, h[2], h[3]);
  }

  static inline Least Start() { return vdupq_n_u16(0xffff); }
  inline void Fold(Least& least) const {
    least = vminq_u16(least, vminq_u16(vminq_u16(h[0], h[1]), vminq_u16(h[2], h[3])));
  }

  static inline bool Any(Least least) { return (vminvq_u16(least) & kFilter) == 0; }
  static inline uint32_t Bits(uint16x8_t x) {
    constexpr uint16_t kWeights[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u16(vandq_u16(vcltq_u16(x, vdupq_n_u16(16)), vld1q_u16(kWeights)));
  }
  inline uint32_t Candidates() const { return Bits(h[0]) | Bits(h[1]) << 8 | Bits(h[2]) << 16 | Bits(h[3]) << 24; }
};

#include "chunk/scan.inc"

}  // namespace

size_t FindCutNeon(const Scan& scan) { return FindCutRows(scan); }

}  // namespace shoal_chunk
#endif
