#include "map.h"

#include "model.h"
#include "range_coder.h"

namespace shoal::delta {
namespace {

constexpr unsigned kLimit = 127;

// One cover after another: gap before it, length, and where its diagonal went.
template <class Coder>
class MapCoder {
 public:
  explicit MapCoder(Coder& coder) : coder_(coder) {}

  // Fields of a cover as coded: numbers below 2^62.
  struct Fields {
    uint64_t gap = 0, length = 0, magnitude = 0;
    int negative = 0, fill = 0, back = 0;
    uint32_t byte = 0;
  };

  void run(Fields& f) {
    f.fill = bit(fill_[lastFill_], f.fill);
    lastFill_ = static_cast<unsigned>(f.fill);
    f.gap = number(gap_[lastClass_], f.gap);
    f.length = number(length_[f.gap == 0 ? 0 : 1], f.length);
    if (f.fill) {
      uint32_t node = 1;
      for (int i = 7; i >= 0; i--) node = node << 1 | static_cast<uint32_t>(bit(byte_[node], static_cast<int>(f.byte >> i & 1)));
      f.byte = node & 0xFF;
      return;
    }
    f.back = bit(back_[f.gap == 0 ? 0 : 1], f.back);
    if (!f.back) {
      f.negative = bit(sign_, f.negative);
      f.magnitude = number(move_[f.gap == 0 ? 0 : 1], f.magnitude);
    }
    lastClass_ = f.length < 32 ? 0 : f.length < 512 ? 1 : 2;
  }

 private:
  struct Number {
    BitModel size[64];
    BitModel top[64][8];  // the three bits below the leading one
    BitModel rest[64][64];
  };

  int bit(BitModel& m, int value) {
    value = coder_.bit(m.pCoder(), value);
    m.update<kLimit>(value);
    return value;
  }

  uint64_t number(Number& m, uint64_t v) {
    const uint64_t n = v + 1;
    unsigned bits = 0;
    if (!Coder::kDecodes) bits = 63 - static_cast<unsigned>(__builtin_clzll(n));
    unsigned i = 0;
    while (i < 62 && bit(m.size[i], i < bits ? 1 : 0)) i++;
    bits = i;
    uint64_t r = 1;
    for (unsigned k = bits; k-- > 0;) {
      const unsigned depth = bits - 1 - k;
      BitModel& model = depth < 3 ? m.top[bits][r] : m.rest[bits][k];
      r = r << 1 | static_cast<uint64_t>(bit(model, static_cast<int>(n >> k & 1)));
    }
    return r - 1;
  }

  Coder& coder_;
  BitModel fill_[2], back_[2], sign_, byte_[256];
  Number gap_[3], length_[2], move_[2];
  unsigned lastFill_ = 0, lastClass_ = 0;
};

}  // namespace

void encodeMapPage(const Cover* covers, size_t count, uint64_t begin, std::vector<uint8_t>& out) {
  RangeEncoder coder(out);
  MapCoder<RangeEncoder> map(coder);
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
}

bool decodeMapPage(const uint8_t* page, size_t size, uint64_t begin, uint64_t end, uint64_t baseSize, Cover* covers,
                   size_t count) {
  RangeDecoder coder(page, size);
  MapCoder<RangeDecoder> map(coder);
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
