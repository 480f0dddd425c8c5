// Corrects a predicted stretch. Where rebuilt code differs from its prediction, whole 32-bit fields moved by amounts
// that were seen before: of a branch to the same target, of the same value, after the same two bytes. So the coder goes
// from one *site* to the next, a position whose context often comes before a change, and asks there one question: did
// the field change by what the best of four small caches says? Everything between sites costs one bit per 64 bytes, and
// the changes there a number each. Contexts are bytes of the target before the site and bytes of the prediction at it:
// the same on both sides.
#ifndef SHOAL_DELTA_SITES_H
#define SHOAL_DELTA_SITES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "change.h"
#include "delta/common/bytes.h"
#include "model.h"
#include "sizes.h"

namespace shoal::delta {

constexpr uint32_t kCaches = 4;
constexpr uint32_t kTagMask = 0x7FFFC;  // bits of a key that a cache entry keeps; the two below count confirmations
constexpr unsigned kBucket = 12;        // branch targets and pointers are remembered by 4 KiB
constexpr uint32_t kPairs = 65536;      // contexts of two bytes; above them those of zeros and of ones
constexpr uint32_t kContexts = kPairs + 128;
constexpr uint8_t kOpen = 128;          // of 255: how often a change must follow a context to make a site; one bit
constexpr size_t kColdReach = 64;
constexpr size_t kCleanBlock = 64;

struct Moved {
  uint32_t by;   // what was added to the field (with the diagonal added for branches)
  uint32_t tag;  // kTagMask: of the key; lowest two bits: confirmations, 0: empty
};

struct SiteState {
  uint8_t gate[kContexts];  // of pairs; those of zeros and ones stay open, behind them are those of their contexts
  uint16_t rate[256][kCaches];
  uint8_t best[256];
  Moved cache[kCaches][1 << kCacheBits];
  Bit agrees[1 << 14], zero[1 << 12], second[512], rest[2];
  GammaState blocks, counts[3];

  void reset() {
    memset(gate, 0, sizeof gate);
    gate[0] = gate[0xFFFF] = kOpen;
    for (auto& row : rate)
      for (auto& r : row) r = 32768;
    memset(best, 2, sizeof best);
    memset(cache, 0, sizeof cache);
    fill(agrees, 1 << 14, kEven);
    fill(zero, 1 << 12, kEven);
    fill(second, 512, kEven);
    fill(rest, 2, kEven);
    blocks.reset();
    for (GammaState& c : counts) c.reset();
  }
};

template <class Coder>
class Sites {
 public:
  // `bytes`: the segment, the target up to where the coder is, the prediction from there. The encoder passes the target.
  // `aside`: three coders for what is counted until an exception.
  Sites(Coder& coder, Coder* aside, SiteState& state, ChangeState& changes, uint8_t* bytes, const uint8_t* target)
      : coder_(coder), s_(state), changes_(changes), p_(bytes), t_(target), cold_(aside[0], state.counts[0]),
        trust_{{aside[1], state.counts[1]}, {aside[2], state.counts[2]}} {}
  // After the last stretch.
  void finish() {
    cold_.finish();
    for (auto& t : trust_) t.finish();
  }

  // `toBase`: base position minus position in the segment. `shift`: target position minus base position.
  void run(size_t begin, size_t end, uint32_t toBase, uint32_t shift) {
    toBase_ = toBase;
    diagonal_[0] = shift;
    Held coder = coder_;
    size_t i = begin, cleanFrom = begin;
    bool first = true, skipped = false;
    uint32_t pair = before(i);
    while (i < end) {
      coder.at(i);
      if (!skipped && (first || i - cleanFrom >= kCleanBlock)) {
        const size_t blocks = apart(coder, [&] { return cleanBlocks(i, end, first); });
        if (blocks != 0) {
          i += kCleanBlock * blocks;
          pair = before(i);
        }
        first = false;
        skipped = true;
        continue;
      }
      const size_t stop = std::min(end, i + kColdReach), j = nextGate(i, stop, end, pair);
      const bool isCold = j > i && coldChange(i, j, pair);
      if (!isCold && i == stop) continue;
      const uint32_t width = end - i >= 4 ? site<true>(coder, i, end, pair, isCold) : site<false>(coder, i, end, pair, isCold);
      if (width != 0) {
        i += width;
        cleanFrom = i;
        skipped = false;
      } else {
        i++;
      }
    }
    if constexpr (Coder::kDecodes) coder_ = coder;
  }

 private:
  // A decoder works on a copy of the coder that lives in registers; what is long is done apart, on the coder itself.
  using Held = std::conditional_t<Coder::kDecodes, Coder, Coder&>;
  template <class Work>
  auto apart(Held& held, const Work& work) {
    if constexpr (Coder::kDecodes) {
      coder_ = held;
      const auto result = work();
      held = coder_;
      return result;
    } else {
      return work();
    }
  }

  uint32_t before(size_t i) const {
    if (i >= 2) return load16(p_ + i - 2);
    return i >= 1 ? static_cast<uint32_t>(p_[i - 1]) << 8 : 0u;
  }
  // Two bytes of zeros or of ones say little: which bytes of the field are zeros and how it lies in the base say more.
  uint32_t contextAt(uint32_t pair, size_t i, size_t end) const {
    if (pair != 0 && pair != 0xFFFF) return pair;
    uint32_t used = 0;
    if (i + 4 <= end) {
      const uint32_t v = load32(p_ + i), top = (((v & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | v) & 0x80808080u;
      used = (top * 0x00204081u) >> 28;
    }
    return kPairs + ((pair & 1) | used << 1 | ((static_cast<uint32_t>(i) + toBase_) & 3) << 5);
  }

  // The first position from i on whose gate is open; `stop` if there is none before. `pair`: the two bytes before i, then
  // before what is returned.
  size_t nextGate(size_t i, size_t stop, size_t end, uint32_t& pair) const {
    const uint8_t* gate = s_.gate;
    // Not where the field begins like what comes before it: there is no end to zeros.
    auto open = [&](size_t at, uint32_t two) {
      if (two != 0 && two != 0xFFFF) return true;
      return p_[at] != (two & 0xFF) && s_.gate[contextAt(two, at, end)] >= kOpen;
    };
    // Loads do not overlap what was stored last: the two bytes before come in a register.
    for (; i + 6 <= stop && i + 8 <= end; i += 6) {
      const uint64_t v = load64(p_ + i) << 16 | pair;
      if (v != 0) {
        uint64_t maybe = 0;
        for (uint32_t k = 0; k < 6; k++) maybe |= static_cast<uint64_t>(gate[v >> 8 * k & 0xFFFF] & kOpen) << 8 * k;
        // Three equal bytes of zeros or of ones.
        constexpr uint64_t low = 0x7F7F7F7F7F7F7F7Full;
        const uint64_t zeros = ~(((v & low) + low) | v | low), n = ~v, ones = ~(((n & low) + low) | n | low);
        maybe &= ~((zeros & zeros >> 8 & zeros >> 16) | (ones & ones >> 8 & ones >> 16));
        for (; maybe != 0; maybe &= maybe - 1) {
          const uint32_t k = static_cast<uint32_t>(__builtin_ctzll(maybe)) >> 3;
          const uint32_t two = static_cast<uint32_t>(v >> 8 * k) & 0xFFFF;
          if (open(i + k, two)) {
            pair = two;
            return i + k;
          }
        }
      }
      pair = static_cast<uint32_t>(v >> 48);
    }
    for (; i < stop; i++) {
      if (gate[pair] >= kOpen && open(i, pair)) break;
      pair = pair >> 8 | static_cast<uint32_t>(p_[i]) << 8;
    }
    return i;
  }

  // Is there a change in [i, j), where no gate is open? `i` becomes its place, or j.
  bool coldChange(size_t& i, size_t j, uint32_t& pair) {
    const uint32_t length = static_cast<uint32_t>(j - i);
    uint32_t offset;
    if constexpr (Coder::kDecodes) {
      offset = cold_.take(length);
    } else {
      for (offset = 0; offset < length && p_[i + offset] == t_[i + offset];) offset++;
      cold_.add(offset);
      if (offset != length) cold_.exception();
    }
    i += offset;
    if (offset == length) return false;
    pair = before(i);
    return true;
  }

  // Whole blocks without a change: all there are, or a number.
  size_t cleanBlocks(size_t i, size_t end, bool first) {
    const uint32_t most = static_cast<uint32_t>((end - i) / kCleanBlock);
    if (most == 0) return 0;
    uint32_t n = 0;
    if (!Coder::kDecodes)
      while (n < most && memcmp(p_ + i + n * kCleanBlock, t_ + i + n * kCleanBlock, kCleanBlock) == 0) n++;
    if (plain(coder_, s_.rest[first], n == most)) return most;
    return std::min(codeGamma(coder_, s_.blocks, n), most);  // more only in a damaged payload
  }

  // 0: nothing changed here. Else how many bytes were settled. `pair` moves on with what follows.
  template <bool Whole>
  [[gnu::always_inline]] inline uint32_t site(Held& coder, size_t i, size_t end, uint32_t& pair, bool isCold) {
    const Field f(p_ + i, Coder::kDecodes ? nullptr : t_ + i, Whole ? 4 : end - i);
    const uint32_t context = contextAt(pair, i, end);
    const uint32_t mixed = (context + 1) * 0x9E3779B1u, slot = mixed >> 24, best = s_.best[slot];
    const uint32_t key[kCaches] = {((static_cast<uint32_t>(i) + toBase_ + f.value) >> kBucket) * 0x9E3779B1u,
                                   (((f.value & 0xFFFF) << 8 | pair >> 8) + 1) * 0x85EBCA6Bu,
                                   (f.value >> kBucket) * 0xC2B2AE35u, mixed};
    const uint32_t chosen = best < 2 ? (best == 0 ? key[0] : key[1]) : (best == 2 ? key[2] : key[3]);
    Moved& kept = s_.cache[best][chosen >> (32 - kCacheBits)];
    const uint32_t sure = confirmations(kept, chosen);
    const uint32_t guess = sure != 0 ? kept.by - diagonal_[best] : 0;
    uint8_t& gate = s_.gate[context];
    bool known = false;
    uint32_t by = 0;
    if (!isCold || guess != 0) {
      if (sure == 3 && !isCold) {
        auto& trust = trust_[guess == 0];
        if constexpr (Coder::kDecodes) {
          known = trust.expected();
        } else {
          known = applies(f, guess);
          known ? trust.add(1) : trust.exception();
        }
      } else {
        const uint32_t z = (guess == 0 ? 1u : 0u) | sure << 1 | (isCold ? 8u : 0u);
        known = plain(coder, s_.agrees[(mixed ^ z * 0x85EBCA6Bu) >> 18], applies(f, guess)) != 0;
      }
      if (known)
        by = guess;
      else if (guess != 0 && !isCold)
        known = plain(coder, s_.zero[mixed >> 20 ^ sure], applies(f, 0)) != 0;
    }
    if (known) remember(kept, chosen, sure, by + diagonal_[best]);
    if (known && by == 0) {
      gate = static_cast<uint8_t>(gate - std::max(gate >> 5, std::min<int>(gate, 1)));
      pair = pair >> 8 | (f.value & 0xFF) << 8;
      return 0;
    }
    if (!known) by = apart(coder, [&] { return changed(f, key, slot, guess); });
    gate = static_cast<uint8_t>(gate + (258 - gate) / 4);
    f.write(p_ + i, by);
    // Only a damaged payload says "changed by nothing".
    const uint32_t width = (by & f.mask) == 0 ? 1 : f.room;
    pair = Whole && width == 4 ? (f.value + by) >> 16 : before(i + width);
    return width;
  }

  // What the first cache did not foresee: all of them learn.
  [[gnu::noinline]] uint32_t changed(const Field& f, const uint32_t* key, uint32_t slot, uint32_t guess) {
    uint16_t* rate = s_.rate[slot];
    uint32_t sure[kCaches], value[kCaches], second = 0, by = 0;
    for (uint32_t c = 0; c < kCaches; c++) {
      const Moved& kept = s_.cache[c][key[c] >> (32 - kCacheBits)];
      sure[c] = confirmations(kept, key[c]);
      value[c] = kept.by - diagonal_[c];
      if (sure[c] != 0 && value[c] != guess && value[c] != 0)
        second = std::max(second, (rate[c] + 4 + (sure[c] << 12)) << 2 | c);
    }
    const uint32_t c2 = second & 3;
    if (second != 0 && plain(coder_, s_.second[(c2 * 4 + sure[c2]) * 32 + (second >> 15 & 31)], applies(f, value[c2])))
      by = value[c2];
    else
      by = codeChange(coder_, changes_, slot, f);
    uint32_t top = 0;
    for (uint32_t c = 0; c < kCaches; c++) {
      const int32_t goal = sure[c] != 0 && value[c] == by ? 65535 : 0;
      rate[c] = static_cast<uint16_t>(rate[c] + ((goal - static_cast<int32_t>(rate[c])) >> 5));
      top = std::max(top, static_cast<uint32_t>(rate[c]) << 2 | c);
      remember(s_.cache[c][key[c] >> (32 - kCacheBits)], key[c], sure[c], by + diagonal_[c]);
    }
    s_.best[slot] = static_cast<uint8_t>(top & 3);
    return by;
  }

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

  Coder& coder_;
  SiteState& s_;
  ChangeState& changes_;
  uint8_t* p_;
  const uint8_t* t_;
  uint32_t diagonal_[kCaches] = {};  // only branches have one
  uint32_t toBase_ = 0;
  // Positions without a gate until one changes; confirmed answers until one is wrong, of changes and of none.
  Countdown<Coder> cold_, trust_[2];
};

}  // namespace shoal::delta

#endif
