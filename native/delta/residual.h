// Codes a segment's target bytes given a prediction of them. Shared by encoder and decoder: one model, one order.
#ifndef SHOAL_DELTA_RESIDUAL_H
#define SHOAL_DELTA_RESIDUAL_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "delta.h"
#include "model.h"
#include "range_coder.h"

namespace shoal::delta {

using Piece = shoal_delta_piece;

constexpr unsigned kFlagLimit = 100;
constexpr unsigned kValueLimit = 30;
constexpr unsigned kCleanBlock = 64;
constexpr size_t kLiteralBlock = 1024;
constexpr size_t kLeastRandom = 192;

template <class Coder>
class Residual {
 public:
  explicit Residual(Coder& coder) : coder_(coder), s_(new (std::nothrow) State) {
    if (s_) s_->reset();
  }
  // False: no memory for the models.
  bool ready() const { return s_ != nullptr; }

  // `prediction` holds the prediction of the whole segment (zeros in unpredicted pieces). The encoder passes the
  // target; the decoder passes null and finds the target written over `prediction`.
  void run(uint8_t* prediction, const uint8_t* target, size_t size, const Piece* pieces, size_t count) {
    p_ = prediction;
    t_ = target;
    size_ = size;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
      const size_t end = at + pieces[i].length;
      if (pieces[i].predicted)
        predicted(at, end);
      else
        literal(at, end);
      at = end;
    }
  }

 private:
  static constexpr uint32_t kTableBits = 16;
  static constexpr uint32_t kTable = 1u << kTableBits;

  struct State {
    BitModel cold[2][65536];
    BitModel flag[7][kTable];
    BitModel value[7][kTable * 4];
    BitModel literal[6][kTable * 4];
    BitModel random;
    BitModel run[1][32];
    BitModel runBits[32][32];
    Mixer flagMixer[64];
    Mixer valueMixer[256 * 4];
    Mixer literalMixer[256];
    void reset() {
      BitModel* m = &cold[0][0];
      for (size_t i = 0; i < 2 * 65536; i++) m[i].state = 0x00400000u;
      m = &flag[0][0];
      for (size_t i = 0; i < 7 * kTable; i++) m[i].state = 0x20000000u;
      for (auto& x : flagMixer)
        for (auto& w : x.weight) w = 65536 / 7 / 2;
      for (auto& x : valueMixer)
        for (auto& w : x.weight) w = 65536 / 7 / 2;
      for (auto& x : literalMixer)
        for (auto& w : x.weight) w = 65536 / 6 / 2;
    }
  };

  int plain(BitModel& m, int bit) {
    bit = coder_.bit(m.pCoder(), bit);
    m.update<kFlagLimit>(bit);
    return bit;
  }

  uint32_t number(unsigned which, uint32_t v) {
    // Exp-Golomb with adaptive bits; v < 2^31 - 1
    uint32_t n = v + 1;
    unsigned bits = 0;
    if (!Coder::kDecodes) bits = 31 - static_cast<unsigned>(__builtin_clz(n));
    unsigned i = 0;
    while (i < 31 && plain(s_->run[which][i], i < bits)) i++;
    bits = i;
    uint32_t r = 1;
    for (unsigned k = bits; k-- > 0;) {
      const int b = (n >> k) & 1;
      BitModel& m = s_->runBits[bits][k];
      r = r << 1 | static_cast<uint32_t>(plain(m, b));
    }
    return r - 1;
  }

  template <unsigned Limit>
  int mixed(Mixer& mixer, BitModel* const* models, int n, int shift, int bit) {
    alignas(16) int16_t in[kInputs];
    for (int i = 0; i < n; i++) in[i] = static_cast<int16_t>(stretch(models[i]->p16()));
    for (int i = n; i < kInputs; i++) in[i] = 0;
    in[kInputs - 1] = 256;
    const uint32_t p = squash(mixer.dot(in) >> 16);
    bit = coder_.bit(p, bit);
    const int32_t error = ((bit << 16) - static_cast<int32_t>(p)) >> shift;
    mixer.train(in, std::max(-32768, std::min(32767, error)));
    for (int i = 0; i < n; i++) models[i]->template update<Limit>(bit);
    return bit;
  }

  static uint32_t hash(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9E3779B1u + b * 0x85EBCA6Bu;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ (h >> 13);
  }

  uint8_t at(size_t i) const { return i < size_ ? p_[i] : 0; }

  void predicted(size_t begin, size_t end) {
    size_t i = begin;
    State& s = *s_;
    uint64_t base = base_;    // last 8 predicted bytes, newest lowest
    uint64_t diff = diff_;    // last 8 differences
    uint64_t hist = hist_;    // mismatch flags, newest lowest
    uint32_t cluster = 0;     // mismatching bytes directly before
    uint32_t carry = 0;
    while (i < end) {
      // Whole blocks without a difference: after a clean stretch, and at the beginning.
      if (hist == 0 && !skipped_) {
        uint32_t blocks = 0;
        const uint32_t most = static_cast<uint32_t>((end - i) / kCleanBlock);
        if (most > 0) {
          if (!Coder::kDecodes) {
            size_t k = i;
            while (k + kCleanBlock <= end && memcmp(p_ + k, t_ + k, kCleanBlock) == 0) k += kCleanBlock;
            blocks = static_cast<uint32_t>((k - i) / kCleanBlock);
          }
          blocks = number(0, blocks);
          if (blocks > most) blocks = most;  // only a damaged payload
          if (blocks > 0) {
            i += size_t{blocks} * kCleanBlock;
            base = 0;
            for (size_t k = i - 8; k < i; k++) base = base << 8 | p_[k];
            diff = 0;
            skipped_ = true;
            continue;
          }
        }
        skipped_ = true;
      }
      const uint8_t b0 = p_[i];
      const int want = Coder::kDecodes ? 0 : t_[i] != b0;
      int z;
      const uint32_t recent = (hist & 0xFFFF) != 0;
      const uint32_t before = static_cast<uint32_t>(base & 0xFFFF);
      BitModel& cold = s.cold[recent][before];
      if (!recent && cold.state < (1024u << 16)) {
        z = plain(cold, want);
      } else {
        const uint32_t h16 = static_cast<uint32_t>(hist & 0xFFFF);
        const uint32_t k = cluster > 3 ? 3 : cluster;
        BitModel* m[7];
        m[0] = &cold;
        m[1] = &s.flag[1][hash(static_cast<uint32_t>(base & 0xFFFFFF), k) >> (32 - kTableBits)];
        m[2] = &s.flag[2][h16];
        m[3] = &s.flag[3][hash(static_cast<uint32_t>((hist >> 3 & 1) | (hist >> 6 & 2) | (hist >> 9 & 4) | (hist >> 12 & 8) | (hist >> 19 & 16) | (hist >> 26 & 32)) , b0) >> (32 - kTableBits)];
        m[4] = &s.flag[4][hash(k << 16 | static_cast<uint32_t>(diff & 0xFF) << 8 | b0, carry + 7) >> (32 - kTableBits)];
        m[5] = &s.flag[5][hash(static_cast<uint32_t>(base), k + 77) >> (32 - kTableBits)];
        m[6] = &s.flag[6][hash(uint32_t(b0) | uint32_t(at(i + 1)) << 8 | uint32_t(at(i + 2)) << 16, k | (h16 & 0xF0) << 4) >> (32 - kTableBits)];
        z = mixed<kFlagLimit>(s.flagMixer[h16 & 63], m, 7, 2, want);
      }
      uint32_t d = 0;
      if (z) {
        const uint32_t want8 = Coder::kDecodes ? 0 : static_cast<uint8_t>(t_[i] - b0);
        d = value(want8, b0, i, base, diff, cluster, carry);
        const uint8_t out = static_cast<uint8_t>(b0 + d);
        // Did a little-endian addition carry (or borrow) out of this byte?
        carry = d < 128 ? (out < b0 ? 1 : 0) : (out > b0 ? 2 : 0);
        if (Coder::kDecodes) p_[i] = out;
        if (cluster == 0) {
          last2_ = last1_;
          last1_ = 0;
          start_ = static_cast<uint32_t>(base & 0xFFFF);
        }
        if (cluster < 4) last1_ |= d << (8 * cluster);
        cluster++;
        skipped_ = false;
      } else {
        cluster = 0;
        carry = 0;
      }
      base = base << 8 | b0;
      diff = diff << 8 | d;
      hist = hist << 1 | static_cast<uint64_t>(z);
      i++;
    }
    base_ = base;
    diff_ = diff;
    hist_ = hist;
  }

  uint32_t value(uint32_t want, uint32_t b0, size_t i, uint64_t base, uint64_t diff, uint32_t cluster, uint32_t carry) {
    State& s = *s_;
    const uint32_t k = cluster > 3 ? 3 : cluster;
    const uint32_t d1 = static_cast<uint32_t>(diff & 0xFF);
    const uint32_t expect1 = cluster < 4 ? (last1_ >> (8 * cluster)) & 0xFF : 0;
    const uint32_t e1 = cluster == 0 ? last1_ & 0xFF : expect1;
    const uint32_t e2 = cluster < 4 ? (last2_ >> (8 * cluster)) & 0xFF : 0;
    const uint32_t start = cluster == 0 ? static_cast<uint32_t>(base & 0xFFFF) : start_;
    uint32_t h[7];
    h[0] = hash(k | d1 << 8, carry);
    h[1] = hash(static_cast<uint32_t>(diff & 0xFFFFFF), k + 11);
    h[2] = hash(b0 | d1 << 8, k + 22);
    h[3] = hash(e2 | (cluster == 0 ? e1 << 8 : d1 << 8), k + 33);
    h[4] = hash(b0 | uint32_t(at(i + 1)) << 8 | uint32_t(at(i + 2)) << 16, k + 44);
    h[5] = hash(start | d1 << 16, k + 55);
    h[6] = hash(static_cast<uint32_t>(diff >> 24 & 0xFF) | static_cast<uint32_t>(diff >> 56 & 0xFF) << 8, k + 66);
    uint32_t node = 1;
    for (int half = 0; half < 2; half++) {
      BitModel* line[7];
      for (int j = 0; j < 7; j++) {
        uint32_t x = h[j] + (half ? (node * 0x9E3779B1u) : 0);
        x ^= x >> 16;
        line[j] = &s.value[j][((x * 0x85EBCA6Bu) >> (32 - kTableBits + 2)) << 4];
      }
      uint32_t sub = 1;
      for (int bit = 0; bit < 4; bit++) {
        BitModel* m[7];
        for (int j = 0; j < 7; j++) m[j] = line[j] + sub;
        const int w = (want >> (7 - (half * 4 + bit))) & 1;
        const int b = mixed<kValueLimit>(s.valueMixer[k * 256 + node], m, 7, 1, w);
        sub = sub << 1 | static_cast<uint32_t>(b);
        node = node << 1 | static_cast<uint32_t>(b);
      }
    }
    return node & 0xFF;
  }

  // Compressed or random bytes cost the model time and bits: blocks of them are passed through.
  static bool looksRandom(const uint8_t* p, size_t size) {
    uint16_t count[256] = {};
    for (size_t i = 0; i < size; i++) count[p[i]]++;
    // Sum of squares: size + size*(size-1)/256 when uniform.
    uint64_t squares = 0;
    for (const uint64_t c : count) squares += c * c;
    return (squares - size) * 256 < uint64_t{size} * size * 5 / 4;
  }

  void literal(size_t begin, size_t end) {
    while (begin < end) {
      const size_t size = std::min(end - begin, kLiteralBlock);
      int random = 0;
      if (size >= kLeastRandom) {
        if (!Coder::kDecodes) random = looksRandom(t_ + begin, size);
        random = plain(s_->random, random);
      }
      if (random)
        passed(begin, begin + size);
      else
        modelled(begin, begin + size);
      begin += size;
    }
  }

  void passed(size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      uint32_t v = Coder::kDecodes ? 0 : t_[i];
      uint32_t out = 0;
      for (int bit = 7; bit >= 0; bit--) out = out << 1 | static_cast<uint32_t>(coder_.bit(32768, (v >> bit) & 1));
      if (Coder::kDecodes) p_[i] = static_cast<uint8_t>(out);
      base_ = base_ << 8 | out;
    }
    diff_ = 0;
    hist_ = ~uint64_t{0};
    skipped_ = false;
  }

  void modelled(size_t begin, size_t end) {
    State& s = *s_;
    for (size_t i = begin; i < end; i++) {
      const uint32_t c4 = static_cast<uint32_t>(base_);
      // order 1, 2, 3, 4, 6 and the bytes one record back
      uint32_t h[6];
      h[0] = hash(c4 & 0xFF, 1);
      h[1] = hash(c4 & 0xFFFF, 2);
      h[2] = hash(c4 & 0xFFFFFF, 3);
      h[3] = hash(c4, 4);
      h[4] = hash(c4, static_cast<uint32_t>(base_ >> 32 & 0xFFFF) + 5);
      h[5] = hash(static_cast<uint32_t>(base_ >> 24 & 0xFF) | static_cast<uint32_t>(base_ >> 56 & 0xFF) << 8, 6);
      const uint32_t want = Coder::kDecodes ? 0 : t_[i];
      uint32_t node = 1;
      for (int half = 0; half < 2; half++) {
        BitModel* line[6];
        for (int j = 0; j < 6; j++) {
          uint32_t x = h[j] + (half ? (node * 0x9E3779B1u) : 0);
          x ^= x >> 16;
          line[j] = &s.literal[j][((x * 0x85EBCA6Bu) >> (32 - kTableBits + 2)) << 4];
        }
        uint32_t sub = 1;
        for (int bit = 0; bit < 4; bit++) {
          BitModel* m[6];
          for (int j = 0; j < 6; j++) m[j] = line[j] + sub;
          const int w = (want >> (7 - (half * 4 + bit))) & 1;
          const int b = mixed<kValueLimit>(s.literalMixer[node], m, 6, 1, w);
          sub = sub << 1 | static_cast<uint32_t>(b);
          node = node << 1 | static_cast<uint32_t>(b);
        }
      }
      const uint8_t out = static_cast<uint8_t>(node);
      if (Coder::kDecodes) p_[i] = out;
      base_ = base_ << 8 | out;
      diff_ = 0;
      hist_ = hist_ << 1 | 1;
      skipped_ = false;
    }
  }

  Coder& coder_;
  std::unique_ptr<State> s_;
  uint8_t* p_ = nullptr;
  const uint8_t* t_ = nullptr;
  size_t size_ = 0;
  uint64_t base_ = 0, diff_ = 0, hist_ = 0;
  uint32_t last1_ = 0, last2_ = 0, start_ = 0;
  bool skipped_ = false;
};

}  // namespace shoal::delta

#endif
