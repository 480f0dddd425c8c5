#include "map.h"

#include <memory>
#include <new>

#include "model.h"
#include "range_coder.h"

namespace shoal::delta {
namespace {

constexpr unsigned kLimit = 127;

// One cover after another: gap before it, length, and where its diagonal went. Every number is a size class and the
// bits below its leading one, each bit mixed from models that look at different neighbours.
template <class Coder>
class MapCoder {
 public:
  explicit MapCoder(Coder& coder) : coder_(coder), s_(new (std::nothrow) State) {
    if (!s_) return;
    for (auto& row : s_->mixer)
      for (auto& m : row)
        for (auto& w : m.weight) w = 65536 / kContexts / 3;
  }
  bool ready() const { return s_ != nullptr; }

  // Fields of a cover as coded: numbers below 2^62.
  struct Fields {
    uint64_t gap = 0, length = 0, magnitude = 0;
    uint32_t negative = 0, fill = 0, back = 0, byte = 0;
  };

  void run(Fields& f) {
    f.fill = static_cast<uint32_t>(flag(0, f.fill));
    const uint32_t g1 = small(last_.gap), g2 = small(before_.gap), l1 = small(last_.length), l2 = small(before_.length);
    const uint32_t m1 = small(last_.magnitude) << 1 | last_.negative;
    const uint32_t m2 = small(before_.magnitude) << 1 | before_.negative;
    set(1, 0, g1, l1, m1, g2);
    f.gap = number(f.gap);
    const uint32_t g0 = small(f.gap);
    if (f.fill) {
      set(2, 0, 0, 0, 0, 0);
      f.length = number(f.length);
      set(3, 0, 0, 0, 0, 0);
      f.byte = static_cast<uint32_t>(number(f.byte)) & 0xFF;
      return;
    }
    set(4, g0, l1, l2, m1, g1);
    f.length = number(f.length);
    const uint32_t l0 = small(f.length);
    set(5, g0, l0, m1, g1, last_.back);
    f.back = static_cast<uint32_t>(bit(1, static_cast<int>(f.back)));
    if (!f.back) {
      set(6, g0, l0, m1, last_.back, m2);
      f.negative = static_cast<uint32_t>(bit(1, static_cast<int>(f.negative)));
      set(7 + f.negative, g0, l0, m1, m2, last_.back);
      f.magnitude = number(f.magnitude);
    } else {
      f.negative = 0;
      f.magnitude = 0;
    }
    before_ = last_;
    last_ = f;
  }

 private:
  static constexpr int kContexts = 6;
  static constexpr uint32_t kBits = 16;
  struct State {
    BitModel model[kContexts][1u << kBits];
    Mixer mixer[16][64];
  };

  // Exact when small, its size class and next bits when large.
  static uint32_t small(uint64_t v) {
    if (v < 64) return static_cast<uint32_t>(v);
    const unsigned bits = 63 - static_cast<unsigned>(__builtin_clzll(v));
    return 64 + bits * 4 + static_cast<uint32_t>(v >> (bits - 2) & 3);
  }
  static uint32_t hash(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9E3779B1u + b * 0x85EBCA6Bu;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ (h >> 13);
  }
  void set(uint32_t field, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e) {
    field_ = field;
    h_[0] = hash(field, 0);
    h_[1] = hash(field + 16, a);
    h_[2] = hash(field + 32, a << 16 | b);
    h_[3] = hash(field + 48, a << 16 | c);
    h_[4] = hash(hash(field + 64, a << 16 | b), c << 16 | d);
    h_[5] = hash(hash(field + 80, a << 16 | d), e);
  }
  int flag(uint32_t field, uint32_t value) {
    set(field, last_.fill, 0, 0, 0, 0);
    return bit(1, static_cast<int>(value));
  }
  int bit(uint32_t node, int value) {
    alignas(16) int16_t in[kInputs] = {};
    BitModel* m[kContexts];
    for (int i = 0; i < kContexts; i++) {
      m[i] = &s_->model[i][hash(h_[i], node) >> (32 - kBits)];
      in[i] = static_cast<int16_t>(stretch(m[i]->p16()));
    }
    in[kInputs - 1] = 256;
    Mixer& mixer = s_->mixer[field_][node < 64 ? node : 63];
    const uint32_t p = squash(mixer.dot(in) >> 16);
    value = coder_.bit(p, value);
    const int32_t error = ((value << 16) - static_cast<int32_t>(p)) >> 1;
    mixer.train(in, error < -32768 ? -32768 : error > 32767 ? 32767 : error);
    for (auto* x : m) x->template update<kLimit>(value);
    return value;
  }
  uint64_t number(uint64_t v) {
    const uint64_t n = v + 1;
    unsigned bits = 0;
    if (!Coder::kDecodes) bits = 63 - static_cast<unsigned>(__builtin_clzll(n));
    unsigned i = 0;
    while (i < 62 && bit(1 + i, i < bits ? 1 : 0)) i++;
    bits = i;
    uint64_t r = 1;
    for (unsigned k = bits; k-- > 0;)
      r = r << 1 | static_cast<uint64_t>(bit(64 + static_cast<uint32_t>(hash(static_cast<uint32_t>(r), bits) << 6), static_cast<int>(n >> k & 1)));
    return r - 1;
  }

  Coder& coder_;
  std::unique_ptr<State> s_;
  uint32_t field_ = 0, h_[kContexts] = {};
  Fields last_, before_;
};

}  // namespace

bool encodeMapPage(const Cover* covers, size_t count, uint64_t begin, std::vector<uint8_t>& out) {
  RangeEncoder coder(out);
  MapCoder<RangeEncoder> map(coder);
  if (!map.ready()) return false;
  uint64_t at = begin;
  int64_t diagonal = 0, before = 0;
  for (size_t i = 0; i < count; i++) {
    const Cover& c = covers[i];
    MapCoder<RangeEncoder>::Fields f;
    f.gap = c.target - at;
    f.length = c.length;
    at = c.target + c.length;
    if (c.base & kFill) {
      f.fill = 1;
      f.byte = static_cast<uint32_t>(c.base & 0xFF);
      map.run(f);
      continue;
    }
    const int64_t here = static_cast<int64_t>(c.base) - static_cast<int64_t>(c.target);
    const int64_t move = here - diagonal;
    f.back = here == before;
    f.negative = move < 0;
    f.magnitude = static_cast<uint64_t>(move < 0 ? -move : move);
    map.run(f);
    before = diagonal;
    diagonal = here;
  }
  coder.finish();
  return true;
}

bool decodeMapPage(const uint8_t* page, size_t size, uint64_t begin, uint64_t end, uint64_t baseSize, Cover* covers,
                   size_t count) {
  RangeDecoder coder(page, size);
  MapCoder<RangeDecoder> map(coder);
  if (!map.ready()) return false;
  uint64_t at = begin;
  int64_t diagonal = 0, before = 0;
  for (size_t i = 0; i < count; i++) {
    MapCoder<RangeDecoder>::Fields f;
    map.run(f);
    // Sizes are below 2^53 and the fields below 2^63: no sum here overflows.
    if (f.gap > end - at || f.length == 0 || f.length > end - at - f.gap) return false;
    const uint64_t target = at + f.gap;
    at = target + f.length;
    if (f.fill) {
      covers[i] = {target, kFill | f.byte, f.length};
      continue;
    }
    if (f.magnitude > (uint64_t{1} << 54)) return false;
    const int64_t move = static_cast<int64_t>(f.magnitude);
    const int64_t here = f.back ? before : f.negative ? diagonal - move : diagonal + move;
    const int64_t from = static_cast<int64_t>(target) + here;
    if (from < 0 || static_cast<uint64_t>(from) > baseSize || f.length > baseSize - static_cast<uint64_t>(from))
      return false;
    covers[i] = {target, static_cast<uint64_t>(from), f.length};
    before = diagonal;
    diagonal = here;
  }
  return true;
}

}  // namespace shoal::delta
