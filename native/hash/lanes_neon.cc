#include "hash/lanes.h"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace shoal_hash {
namespace {

struct Lane {
  using Vec = uint32x4_t;
  static constexpr size_t kCount = 4;

  static inline Vec Load(const uint32_t* at) { return vld1q_u32(at); }
  static inline Vec Set(uint32_t value) { return vdupq_n_u32(value); }
  static inline Vec Add(Vec a, Vec b) { return vaddq_u32(a, b); }
  static inline Vec Xor(Vec a, Vec b) { return veorq_u32(a, b); }
  static inline Vec Choose(Vec mask, Vec a, Vec b) { return vbslq_u32(mask, a, b); }
  static inline Vec Right16(Vec v) { return vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(v))); }
  static inline Vec Right12(Vec v) { return vsriq_n_u32(vshlq_n_u32(v, 20), v, 12); }
  static inline Vec Right8(Vec v) { return vsriq_n_u32(vshlq_n_u32(v, 24), v, 8); }
  static inline Vec Right7(Vec v) { return vsriq_n_u32(vshlq_n_u32(v, 25), v, 7); }

  // Four rows of four words become four columns.
  static inline void Transpose(Vec* r) {
    const uint32x4x2_t a = vtrnq_u32(r[0], r[1]), b = vtrnq_u32(r[2], r[3]);
    r[0] = vcombine_u32(vget_low_u32(a.val[0]), vget_low_u32(b.val[0]));
    r[1] = vcombine_u32(vget_low_u32(a.val[1]), vget_low_u32(b.val[1]));
    r[2] = vcombine_u32(vget_high_u32(a.val[0]), vget_high_u32(b.val[0]));
    r[3] = vcombine_u32(vget_high_u32(a.val[1]), vget_high_u32(b.val[1]));
  }

  static inline void Message(const uint8_t* const* at, size_t offset, Vec* m) {
    for (int row = 0; row < 4; row++) {
      for (int lane = 0; lane < 4; lane++) {
        m[row * 4 + lane] = vreinterpretq_u32_u8(vld1q_u8(at[lane] + offset + static_cast<size_t>(row) * 16));
      }
      Transpose(m + row * 4);
    }
  }

  static inline void Store(Vec* h, uint8_t* const* out) {
    Transpose(h);
    Transpose(h + 4);
    for (int lane = 0; lane < 4; lane++) {
      vst1q_u8(out[lane], vreinterpretq_u8_u32(h[lane]));
      vst1q_u8(out[lane] + 16, vreinterpretq_u8_u32(h[4 + lane]));
    }
  }
};

#include "hash/rounds.inc"
#include "hash/compress.inc"

}  // namespace

const Isa kNeon = {Lane::kCount, CompressLanes};

}  // namespace shoal_hash
#endif
