// The fast way to code a byte nothing predicts: half a byte at a time, orders 1 and 2 blended by how much the second is trusted.
// All sixteen places of a model move at once.
#ifndef SHOAL_DELTA_NIBBLES_H
#define SHOAL_DELTA_NIBBLES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "sizes.h"

#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
#include <emmintrin.h>
#endif

namespace shoal::delta {

constexpr uint32_t kNibbleSeen = 31;

// Where each value begins in 65536. The first begins at 0: its place counts updates.
struct alignas(32) Nibbles {
  uint16_t start[16];
};
inline uint32_t nibbleShift(uint32_t seen) { return seen < 1 ? 1 : seen < 3 ? 2 : seen < kNibbleSeen ? 3 : 4; }
// Of symbols whose likelihood hardly changes.
inline uint32_t steadyShift(uint32_t seen) { return 32 - static_cast<uint32_t>(__builtin_clz(seen + 1)); }
inline uint32_t widthOf(const uint16_t* start, uint32_t nibble) {
  return (nibble == 15 ? 65536u : start[nibble + 1]) - (nibble == 0 ? 0u : start[nibble]);
}

#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)

inline __m128i laneNumbers(int from) {
  return _mm_add_epi16(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7), _mm_set1_epi16(static_cast<short>(from)));
}
inline __m128i lanes(const uint16_t* p, int half) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p) + half); }
inline void keep(uint16_t* p, int half, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(p) + half, v); }

template <bool Steady = false>
inline void learn(Nibbles& m, uint32_t nibble) {
  const uint32_t seen = m.start[0];
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(Steady ? steadyShift(seen) : nibbleShift(seen))), at = _mm_set1_epi16(static_cast<short>(nibble));
  for (int half = 0; half < 2; half++) {
    const __m128i to = _mm_cmpgt_epi16(laneNumbers(half * 8), at);
    const __m128i x = _mm_xor_si128(lanes(m.start, half), to);
    __m128i moved = _mm_xor_si128(_mm_sub_epi16(x, _mm_srl_epi16(x, shift)), to);
    if (half == 0) moved = _mm_insert_epi16(moved, static_cast<int>(std::min(seen + 1, kNibbleSeen)), 0);
    keep(m.start, half, moved);
  }
}

// a·(65535 − w) + b·w, of 65536.
inline void blend(const uint16_t* a, const uint16_t* b, uint32_t w, uint16_t* out) {
  const __m128i wb = _mm_set1_epi16(static_cast<short>(w)), wa = _mm_set1_epi16(static_cast<short>(65535 - w));
  for (int half = 0; half < 2; half++)
    keep(out, half, _mm_add_epi16(_mm_mulhi_epu16(lanes(a, half), wa), _mm_mulhi_epu16(lanes(b, half), wb)));
}

// Gives every value at least 16 of 65536.
inline void spread(const uint16_t* in, uint16_t* out) {
  for (int half = 0; half < 2; half++) {
    const __m128i x = lanes(in, half);
    __m128i y = _mm_add_epi16(_mm_sub_epi16(x, _mm_srli_epi16(x, 8)), _mm_slli_epi16(laneNumbers(half * 8), 4));
    if (half == 0) y = _mm_insert_epi16(y, 0, 0);
    keep(out, half, y);
  }
}

// The last value that begins at or before `at`.
inline uint32_t nibbleAt(const uint16_t* start, uint32_t at) {
  const __m128i v = _mm_set1_epi16(static_cast<short>(at)), zero = _mm_setzero_si128();
  const __m128i low = _mm_cmpeq_epi16(_mm_subs_epu16(lanes(start, 0), v), zero);
  const __m128i high = _mm_cmpeq_epi16(_mm_subs_epu16(lanes(start, 1), v), zero);
  return static_cast<uint32_t>(__builtin_ctz(~static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high))))) - 1;
}

#else

template <bool Steady = false>
inline void learn(Nibbles& m, uint32_t nibble) {
  const uint32_t seen = m.start[0], shift = Steady ? steadyShift(seen) : nibbleShift(seen);
  for (uint32_t i = 1; i < 16; i++) {
    const uint32_t to = i > nibble ? 0xFFFF : 0, x = m.start[i] ^ to;
    m.start[i] = static_cast<uint16_t>((x - (x >> shift)) ^ to);
  }
  m.start[0] = static_cast<uint16_t>(std::min(seen + 1, kNibbleSeen));
}
inline void blend(const uint16_t* a, const uint16_t* b, uint32_t w, uint16_t* out) {
  for (uint32_t i = 1; i < 16; i++) out[i] = static_cast<uint16_t>((a[i] * (65535 - w) >> 16) + (b[i] * w >> 16));
}
inline void spread(const uint16_t* in, uint16_t* out) {
  out[0] = 0;
  for (uint32_t i = 1; i < 16; i++) out[i] = static_cast<uint16_t>(in[i] - (in[i] >> 8) + 16 * i);
}
inline uint32_t nibbleAt(const uint16_t* start, uint32_t at) {
  uint32_t n = 0;
  for (uint32_t i = 1; i < 16; i++) n += start[i] <= at;
  return n;
}

#endif

inline void fillEven(Nibbles* models, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < 16; k++) models[i].start[k] = static_cast<uint16_t>(k << 12);
}

// A symbol of 16 values with a model of its own.
template <bool Steady = false, class Coder>
inline uint32_t nibble(Coder& coder, Nibbles& m, uint32_t value) {
  alignas(32) uint16_t all[16];
  spread(m.start, all);
  if constexpr (Coder::kDecodes) {
    value = nibbleAt(all, coder.peek());
    coder.take(all[value], widthOf(all, value));
  } else {
    coder.symbol(all[value], widthOf(all, value));
  }
  learn<Steady>(m, value);
  return value;
}

class NibbleBytes {
 public:
  void reset() {
    fillEven(order1_[0], kOrder1 * 17);
    fillEven(hashed_, size_t{1} << kNibbleBits);
    for (auto& t : trust_)
        for (uint32_t seen = 0; seen <= kNibbleSeen; seen++) t[seen] = seen == 0 ? 0 : 40000;
  }

  // recent: the four bytes before, the nearest on top.
  template <class Coder>
  uint32_t byte(Coder& coder, uint32_t recent, uint32_t want) {
    const uint32_t h = ((recent >> 16) + 0x10000u) * 0x9E3779B1u;
    Nibbles* order1 = order1_[(recent >> 24) & (kOrder1 - 1)];
    const uint32_t high = half(coder, order1[0], place(h, 0), 0, want >> 4);
    const uint32_t node = 1 + high;
    return high << 4 | half(coder, order1[node], place(h, node), 1, want & 15);
  }

  // What `byte` would code now, without learning from it.
  template <class Coder>
  void peekCost(Coder& coder, uint32_t recent, uint32_t want) const {
    const uint32_t h = ((recent >> 16) + 0x10000u) * 0x9E3779B1u;
    const Nibbles* order1 = order1_[(recent >> 24) & (kOrder1 - 1)];
    alignas(32) uint16_t ab[16], all[16];
    for (uint32_t low = 0; low < 2; low++) {
      const uint32_t node = low == 0 ? 0 : 1 + (want >> 4), value = low == 0 ? want >> 4 : want & 15;
      const Nibbles& b = hashed_[placeOf(h, node)];
      blend(order1[node].start, b.start, trust_[low][b.start[0]], ab);
      spread(ab, all);
      coder.symbol(all[value], widthOf(all, value));
    }
  }

 private:
  static uint32_t placeOf(uint32_t h, uint32_t node) {
    uint32_t x = h + node * 0x9E3779B1u;
    x ^= x >> 15;
    return (x * 0x2C1B3C6Du) >> (32 - kNibbleBits);
  }
  Nibbles& place(uint32_t h, uint32_t node) { return hashed_[placeOf(h, node)]; }

  template <class Coder>
  uint32_t half(Coder& coder, Nibbles& a, Nibbles& b, uint32_t low, uint32_t nibble) {
    uint16_t& trustB = trust_[low][b.start[0]];
    alignas(32) uint16_t ab[16], all[16];
    blend(a.start, b.start, trustB, ab);
    spread(ab, all);
    if constexpr (Coder::kDecodes) {
      nibble = nibbleAt(all, coder.peek());
      coder.take(all[nibble], widthOf(all, nibble));
    } else {
      coder.symbol(all[nibble], widthOf(all, nibble));
    }
    judge(trustB, widthOf(b.start, nibble), widthOf(a.start, nibble));
    learn(a, nibble);
    learn(b, nibble);
    return nibble;
  }
  static void judge(uint16_t& trust, uint32_t width, uint32_t other) {
    if (width == other) return;
    trust = static_cast<uint16_t>(trust + (((width > other ? 65535 : 0) - static_cast<int32_t>(trust)) >> 6));
  }

  Nibbles order1_[kOrder1][17];
  Nibbles hashed_[1 << kNibbleBits];
  uint16_t trust_[2][kNibbleSeen + 1];
};

}  // namespace shoal::delta

#endif
