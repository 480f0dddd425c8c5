#include "chunk/comb.h"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace shoal_chunk {
namespace {

struct Lane {
  using Vec = uint8x16_t;
  static constexpr int kBytes = 16;

  static inline uint16x8_t Wide(Vec v) { return vreinterpretq_u16_u8(v); }
  static inline Vec Bytes(uint16x8_t v) { return vreinterpretq_u8_u16(v); }

  static inline Vec Load(const uint8_t* at) { return vld1q_u8(at); }
  static inline Vec Table(const uint8_t* table) { return vld1q_u8(table); }
  static inline Vec Zero() { return vdupq_n_u8(0); }
  static inline Vec Ones() { return vdupq_n_u8(0xff); }
  static inline Vec AddBytes(Vec a, Vec b) { return vaddq_u8(a, b); }
  static inline Vec Low(Vec v) { return vandq_u8(v, vdupq_n_u8(15)); }
  static inline Vec High(Vec v) { return vshrq_n_u8(v, 4); }
  static inline Vec Look(Vec table, Vec v) { return vqtbl1q_u8(table, v); }
  static inline Vec Xor(Vec a, Vec b) { return veorq_u8(a, b); }
  static inline Vec Add(Vec a, Vec b) { return Bytes(vaddq_u16(Wide(a), Wide(b))); }
  static inline Vec Least(Vec a, Vec b) { return Bytes(vminq_u16(Wide(a), Wide(b))); }
  static inline Vec ZipLow(Vec a, Vec b) { return vzip1q_u8(a, b); }
  static inline Vec ZipHigh(Vec a, Vec b) { return vzip2q_u8(a, b); }

  static inline bool Any(Vec least) { return (vminvq_u16(Wide(least)) & kFilter) == 0; }
  static inline uint32_t Bits(Vec v) {
    constexpr uint16_t kWeights[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u16(vandq_u16(vcltq_u16(Wide(v), vdupq_n_u16(16)), vld1q_u16(kWeights)));
  }
  static inline uint32_t Candidates(const Vec* h) { return Bits(h[0]) | Bits(h[1]) << 8 | Bits(h[2]) << 16 | Bits(h[3]) << 24; }
};

#include "chunk/scan.inc"

}  // namespace

size_t FindCutNeon(const Scan& scan) { return FindCutRows(scan); }

}  // namespace shoal_chunk
#endif
