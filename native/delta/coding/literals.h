// Codes a stretch that nothing predicts: what followed the last five bytes earlier in the segment, else byte by byte, in
// one of two ways. Stretches that look random pass beside the coder.
#ifndef SHOAL_DELTA_LITERALS_H
#define SHOAL_DELTA_LITERALS_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "mixed.h"
#include "model.h"
#include "nibbles.h"
#include "sites.h"
#include "sizes.h"

namespace shoal::delta {

constexpr size_t kLiteralBlock = 1024;
constexpr size_t kLeastRandom = 192;
constexpr uint32_t kLeastRepeat = 5;

enum LiteralWay : uint8_t { kMixedWay = 0, kNibbleWay = 1 };

struct LiteralState {
  Bit random, repeats[64];
  uint32_t seen[1 << kSeenBits];
  LiteralWay way;
  MixedBytes mixed;
  NibbleBytes nibbles;

  void reset(LiteralWay w) {
    way = w;
    random.state = kEven;
    fill(repeats, 64, 0xC0000000u);
    memset(seen, 0, sizeof seen);
    if (way == kMixedWay)
      mixed.reset();
    else
      nibbles.reset();
  }
};

// Bytes that pass beside the coder: the encoder collects them, the decoder takes them; past their end come zeros.
struct Aside {
  std::vector<uint8_t>* out = nullptr;
  const uint8_t* in = nullptr;
  const uint8_t* end = nullptr;
};

template <class Coder>
class Literals {
 public:
  Literals(Coder& coder, LiteralState& state, uint8_t* bytes, const uint8_t* target, Aside& aside)
      : coder_(coder), s_(state), p_(bytes), t_(target), aside_(aside) {}

  void run(size_t begin, size_t end) {
    while (begin < end) {
      const size_t size = std::min(end - begin, kLiteralBlock);
      int random = 0;
      if (size >= kLeastRandom) {
        if (!Coder::kDecodes) random = looksRandom(t_ + begin, size);
        random = plain(coder_, s_.random, random);
      }
      if (random)
        pass(begin, size);
      else
        modelled(begin, begin + size);
      begin += size;
    }
  }

 private:
  static bool looksRandom(const uint8_t* p, size_t size) {
    uint16_t count[256] = {};
    for (size_t i = 0; i < size; i++) count[p[i]]++;
    // Sum of squares: size + size*(size-1)/256 when uniform.
    uint64_t squares = 0;
    for (const uint64_t c : count) squares += c * c;
    return (squares - size) * 256 < uint64_t{size} * size * 7 / 4;
  }

  void pass(size_t begin, size_t size) {
    if (!Coder::kDecodes) {
      coder_.beside(begin, size);
      aside_.out->insert(aside_.out->end(), t_ + begin, t_ + begin + size);
      memcpy(p_ + begin, t_ + begin, size);
      return;
    }
    const size_t have = std::min(size, static_cast<size_t>(aside_.end - aside_.in));
    if (have > 0) memcpy(p_ + begin, aside_.in, have);
    memset(p_ + begin + have, 0, size - have);
    aside_.in += have;
  }

  void modelled(size_t begin, size_t end) {
    uint32_t from = last_ == begin ? from_ : 0;  // where the repeat goes on; 0: none
    for (size_t i = begin; i < end; i++) {
      coder_.at(i);
      const uint32_t recent = i >= 4 ? load32(p_ + i - 4) : 0;  // the newest byte on top
      const uint32_t fifth = i >= 5 ? p_[i - 5] : 0;
      uint32_t& seen = s_.seen[((recent + fifth * 0x9E3779B1u) * 0x85EBCA6Bu) >> (32 - kSeenBits)];
      if (from == 0) {
        const uint32_t n = seen == 0 ? 0 : common(seen, i);
        if (n >= kLeastRepeat) {
          from = seen;
          repeated_ = n - kLeastRepeat + 1;
        }
      }
      seen = static_cast<uint32_t>(i);
      const uint32_t want = Coder::kDecodes ? 0 : t_[i];
      if (from != 0) {
        const uint8_t guess = p_[from];
        if (plain(coder_, s_.repeats[std::min(repeated_, 63u)], guess == want)) {
          p_[i] = guess;
          from++;
          repeated_++;
          continue;
        }
        from = 0;
      }
      p_[i] = static_cast<uint8_t>(s_.way == kMixedWay ? s_.mixed.byte(coder_, recent, want)
                                                      : s_.nibbles.byte(coder_, recent, want));
    }
    from_ = from;
    last_ = end;
  }

  // How many bytes before `a` and before `b` are equal: at most 16.
  uint32_t common(size_t a, size_t b) const {
    uint32_t n = 0;
    while (n < 16 && n < a && p_[a - 1 - n] == p_[b - 1 - n]) n++;
    return n;
  }

  Coder& coder_;
  LiteralState& s_;
  uint8_t* p_;
  const uint8_t* t_;
  Aside& aside_;
  size_t last_ = 0;
  uint32_t from_ = 0, repeated_ = 0;
};

}  // namespace shoal::delta

#endif
