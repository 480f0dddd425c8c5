// Corrects a predicted stretch. Where rebuilt code differs from its prediction, whole 32-bit fields moved by amounts
// that were seen before: of a branch to the same target, of the same value, after the same two bytes. So the coder goes
// from one *site* to the next, a position whose two preceding bytes often come before a change, and asks there one
// question: did the field change by what the best of four small caches says? Everything between sites costs one bit per
// 64 bytes. The contexts are bytes of the target before the site: the same on both sides.
#ifndef SHOAL_DELTA_SITES_H
#define SHOAL_DELTA_SITES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model.h"

namespace shoal::delta {

inline uint32_t load32(const uint8_t* p) {
  return p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}
inline uint32_t log2Floor(uint32_t v) { return 31 - static_cast<uint32_t>(__builtin_clz(v)); }

constexpr uint32_t kCaches = 4;
constexpr unsigned kCacheBits = 13;
constexpr uint32_t kTagMask = 0x7FFFC;  // bits of a key that a cache entry keeps; the two below count confirmations
constexpr unsigned kBucket = 12;        // branch targets and pointers are remembered by 4 KiB
constexpr uint32_t kHot = 800;          // of 4095: how often a change must follow two bytes to make a site
constexpr size_t kColdReach = 64;
constexpr size_t kCleanBlock = 64;

struct Moved {
  uint32_t by;   // what was added to the field (with the diagonal added for branches)
  uint32_t tag;  // kTagMask: of the key; lowest two bits: confirmations, 0: empty
};

struct SiteState {
  uint16_t gate[65536];
  uint16_t rate[256][kCaches];
  uint8_t best[256];
  Moved cache[kCaches][1 << kCacheBits];
  Bit agrees[1 << 14], zero[1 << 12], second[512], cold[16], coldAt[7][64];
  Bit size[256][32], sign[32], small[16][128], high[32][8], middle[32][32], low[32][16];
  Bit runs[8][32], runBits[32][32];

  void reset() {
    memset(gate, 0, sizeof gate);
    for (auto& row : rate)
      for (auto& r : row) r = 32768;
    memset(best, 2, sizeof best);
    memset(cache, 0, sizeof cache);
    fill(agrees, 1 << 14, kEven);
    fill(zero, 1 << 12, kEven);
    fill(second, 512, kEven);
    fill(cold, 16, 0x08000000u);
    fill(coldAt[0], 7 * 64, kEven);
    fill(size[0], 256 * 32, kEven);
    fill(sign, 32, kEven);
    fill(small[0], 16 * 128, kEven);
    fill(high[0], 32 * 8, kEven);
    fill(middle[0], 32 * 32, kEven);
    fill(low[0], 32 * 16, kEven);
    fill(runs[0], 8 * 32, kEven);
    fill(runBits[0], 32 * 32, kEven);
  }
};

template <class Coder>
class Sites {
 public:
  // `bytes`: the segment, the target up to where the coder is, the prediction from there. The encoder passes the target.
  Sites(Coder& coder, SiteState& state, uint8_t* bytes, const uint8_t* target)
      : coder_(coder), s_(state), p_(bytes), t_(target) {}

  // `toBase`: base position minus position in the segment. `shift`: target position minus base position.
  void run(size_t begin, size_t end, uint32_t toBase, uint32_t shift) {
    toBase_ = toBase;
    shift_ = shift;
    size_t i = begin, cleanFrom = begin;
    bool first = true, skipped = false;
    while (i < end) {
      if (!skipped && (first || i - cleanFrom >= kCleanBlock)) {
        i += kCleanBlock * cleanBlocks(i, end);
        first = false;
        skipped = true;
        continue;
      }
      const size_t stop = std::min(end, i + kColdReach);
      size_t j = i;
      uint32_t context = before(i);
      while (j < stop && s_.gate[context] < kHot) {
        context = context >> 8 | static_cast<uint32_t>(p_[j]) << 8;
        j++;
      }
      bool isCold = false;
      if (j > i) {
        const uint32_t length = static_cast<uint32_t>(j - i);
        uint32_t offset = 0;
        if (!Coder::kDecodes)
          while (offset < length && p_[i + offset] == t_[i + offset]) offset++;
        const uint32_t row = (log2Floor(length) + 1) * 2 + (i - cleanFrom < 32 ? 1 : 0);
        if (plain(coder_, s_.cold[row], offset < length)) {
          i += coldOffset(length, offset);
          isCold = true;
        } else {
          i = j;
          if (j == stop) continue;
        }
      }
      const uint32_t width = site(i, end, isCold);
      if (width != 0) {
        i += width;
        cleanFrom = i;
        skipped = false;
      } else {
        i++;
      }
    }
  }

 private:
  uint32_t before(size_t i) const {
    return (i >= 2 ? p_[i - 2] : 0u) | (i >= 1 ? static_cast<uint32_t>(p_[i - 1]) << 8 : 0u);
  }

  // Whole blocks without a change: a number in Elias' gamma code with learned bits.
  size_t cleanBlocks(size_t i, size_t end) {
    const uint32_t most = static_cast<uint32_t>((end - i) / kCleanBlock);
    if (most == 0) return 0;
    uint32_t n = 1;
    if (!Coder::kDecodes) {
      size_t k = i;
      while (k + kCleanBlock <= end && memcmp(p_ + k, t_ + k, kCleanBlock) == 0) k += kCleanBlock;
      n = static_cast<uint32_t>((k - i) / kCleanBlock) + 1;
    }
    uint32_t bits = 0;
    const uint32_t want = log2Floor(n);
    while (bits < 31 && plain(coder_, s_.runs[lastRun_][bits], bits < want)) bits++;
    lastRun_ = bits > 7 ? 7 : bits;
    uint32_t r = 1;
    for (uint32_t k = bits; k-- > 0;)
      r = r << 1 | static_cast<uint32_t>(plain(coder_, s_.runBits[bits][k], n >> k & 1));
    return std::min(r - 1, most);  // more only in a damaged payload
  }

  uint32_t coldOffset(uint32_t length, uint32_t offset) {
    const uint32_t bits = length > 1 ? log2Floor(length - 1) + 1 : 0;
    uint32_t node = 1;
    for (uint32_t b = bits; b-- > 0;)
      node = node << 1 | static_cast<uint32_t>(plain(coder_, s_.coldAt[bits][node], offset >> b & 1));
    return std::min(node - (1u << bits), length - 1);
  }

  struct Field {
    uint32_t value, want, mask, room;
  };

  // 0: nothing changed here. Else how many bytes were settled.
  uint32_t site(size_t i, size_t end, bool isCold) {
    Field f;
    f.room = static_cast<uint32_t>(std::min<size_t>(4, end - i));
    f.mask = f.room == 4 ? ~0u : (1u << 8 * f.room) - 1;
    f.value = read(p_ + i, f.room);
    f.want = Coder::kDecodes ? 0 : read(t_ + i, f.room);
    const uint32_t context = before(i), mixed = (context + 1) * 0x9E3779B1u, slot = mixed >> 24;
    uint32_t key[kCaches] = {};
    const uint32_t best = s_.best[slot];
    setKey(key, best, i, f.value, context, mixed);
    Moved& kept = s_.cache[best][key[best] >> (32 - kCacheBits)];
    const uint32_t sure = confirmations(kept, key[best]);
    const uint32_t guess = sure != 0 ? kept.by - diagonal(best) : 0;
    bool known = false;
    uint32_t by = 0;
    if (!isCold || guess != 0) {
      const uint32_t z = (guess == 0 ? 1u : 0u) | sure << 1 | (isCold ? 8u : 0u);
      if (plain(coder_, s_.agrees[(mixed ^ z * 0x85EBCA6Bu) >> 18], applies(f, guess))) {
        known = true;
        by = guess;
      } else if (guess != 0 && !isCold) {
        known = plain(coder_, s_.zero[mixed >> 20 ^ sure], applies(f, 0)) != 0;
      }
    }
    uint16_t& gate = s_.gate[context];
    if (known && by == 0) {
      remember(kept, key[best], sure, diagonal(best));
      gate = static_cast<uint16_t>(gate - (gate >> 5));
      return 0;
    }
    for (uint32_t c = 0; c < kCaches; c++)
      if (c != best) setKey(key, c, i, f.value, context, mixed);
    by = changed(f, key, slot, guess, known, by);
    gate = static_cast<uint16_t>(gate + (4095 - gate) / 4);
    const uint32_t out = f.value + by;
    for (uint32_t k = 0; k < f.room; k++) p_[i + k] = static_cast<uint8_t>(out >> 8 * k);
    // Only a damaged payload says "changed by nothing".
    return (by & f.mask) == 0 ? 1 : f.room;
  }

  uint32_t changed(const Field& f, const uint32_t* key, uint32_t slot, uint32_t guess, bool known, uint32_t by) {
    uint16_t* rate = s_.rate[slot];
    uint32_t sure[kCaches], value[kCaches], second = 0;
    for (uint32_t c = 0; c < kCaches; c++) {
      const Moved& kept = s_.cache[c][key[c] >> (32 - kCacheBits)];
      sure[c] = confirmations(kept, key[c]);
      value[c] = kept.by - diagonal(c);
      if (sure[c] != 0 && value[c] != guess && value[c] != 0)
        second = std::max(second, (rate[c] + 4 + (sure[c] << 12)) << 2 | c);
    }
    if (!known && second != 0) {
      const uint32_t c = second & 3;
      if (plain(coder_, s_.second[(c * 4 + sure[c]) * 32 + (second >> 15 & 31)], applies(f, value[c]))) {
        known = true;
        by = value[c];
      }
    }
    if (!known) by = explicitly(f, slot);
    uint32_t top = 0;
    for (uint32_t c = 0; c < kCaches; c++) {
      const int32_t goal = sure[c] != 0 && value[c] == by ? 65535 : 0;
      rate[c] = static_cast<uint16_t>(rate[c] + ((goal - static_cast<int32_t>(rate[c])) >> 5));
      top = std::max(top, static_cast<uint32_t>(rate[c]) << 2 | c);
      remember(s_.cache[c][key[c] >> (32 - kCacheBits)], key[c], sure[c], by + diagonal(c));
    }
    s_.best[slot] = static_cast<uint8_t>(top & 3);
    return by;
  }

  // A change nobody foresaw: size class, sign, then its bits, the lowest four last (code moves by multiples of 16).
  uint32_t explicitly(const Field& f, uint32_t slot) {
    uint32_t magnitude = 1, negative = 0;
    if (!Coder::kDecodes) {
      const uint32_t d = (f.want - f.value) & f.mask;
      negative = d > f.mask >> 1 ? 1 : 0;
      magnitude = negative ? (0u - d) & f.mask : d;
    }
    const uint32_t want = log2Floor(magnitude);
    uint32_t node = 1;
    for (uint32_t b = 5; b-- > 0;)
      node = node << 1 | static_cast<uint32_t>(plain(coder_, s_.size[slot][node], want >> b & 1));
    const uint32_t bits = node & 31;
    negative = static_cast<uint32_t>(plain(coder_, s_.sign[bits], static_cast<int>(negative)));
    uint32_t r = 1;
    auto next = [&](Bit& m, uint32_t k) { return static_cast<uint32_t>(plain(coder_, m, magnitude >> k & 1)); };
    if (bits <= 7) {
      for (uint32_t k = bits; k-- > 0;) r = r << 1 | next(s_.small[bits + 8 * negative][r], k);
    } else {
      uint32_t k = bits;
      for (int n = 0; n < 3; n++) {
        k--;
        r = r << 1 | next(s_.high[bits][r], k);
      }
      while (k > 4) {
        k--;
        r = r << 1 | next(s_.middle[bits][k], k);
      }
      uint32_t tail = 1, low = 0;
      for (uint32_t b = 0; b < 4; b++) {
        const uint32_t bit = next(s_.low[bits][tail], b);
        tail = tail << 1 | bit;
        low |= bit << b;
      }
      r = r << 4 | low;
    }
    return negative ? 0u - r : r;
  }

  void setKey(uint32_t* key, uint32_t c, size_t i, uint32_t value, uint32_t context, uint32_t mixed) const {
    switch (c) {
      case 0: key[0] = ((static_cast<uint32_t>(i) + toBase_ + value) >> kBucket) * 0x9E3779B1u; return;
      case 1: key[1] = (((value & 0xFFFF) << 8 | context >> 8) + 1) * 0x85EBCA6Bu; return;
      case 2: key[2] = (value >> kBucket) * 0xC2B2AE35u; return;
      default: key[3] = mixed;
    }
  }
  uint32_t diagonal(uint32_t cache) const { return cache == 0 ? shift_ : 0; }
  static uint32_t confirmations(const Moved& kept, uint32_t key) {
    return ((kept.tag ^ key) & kTagMask) == 0 ? kept.tag & 3 : 0;
  }
  static void remember(Moved& kept, uint32_t key, uint32_t sure, uint32_t by) {
    const bool same = sure != 0 && kept.by == by;
    if (!same && sure < 3) kept.by = by;
    kept.tag = (key & kTagMask) | (same ? std::min(sure + 1, 3u) : 1u);
  }
  static int applies(const Field& f, uint32_t by) {
    if (Coder::kDecodes) return 0;
    return by == 0 ? (f.value & 0xFF) == (f.want & 0xFF) : ((f.value + by) & f.mask) == f.want;
  }
  static uint32_t read(const uint8_t* p, uint32_t room) {
    if (room == 4) return load32(p);
    uint32_t v = 0;
    for (uint32_t k = 0; k < room; k++) v |= static_cast<uint32_t>(p[k]) << 8 * k;
    return v;
  }

  Coder& coder_;
  SiteState& s_;
  uint8_t* p_;
  const uint8_t* t_;
  uint32_t toBase_ = 0, shift_ = 0, lastRun_ = 0;
};

}  // namespace shoal::delta

#endif
