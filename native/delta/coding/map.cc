#include "map.h"

#include <algorithm>
#include <memory>
#include <new>

#include "model.h"
#include "range_coder.h"
#include "sizes.h"

namespace shoal::delta {
namespace {

constexpr uint32_t kLimit = 60;
// Pages of more are coded a quicker way.
#ifdef SHOAL_SMALL_MODELS
constexpr size_t kQuickCovers = 256;
#else
constexpr size_t kQuickCovers = 8192;
#endif

struct Fields {
  uint64_t gap = 0, length = 0, magnitude = 0, byte = 0;
  uint32_t negative = 0, fill = 0, back = 0, table = 0;
};

// One cover after another: gap before it, length, and where its diagonal went. A number is a size class and the bits
// below its leading one; the class and the first three of these are mixed from what the covers before say.
template <class Coder>
class MapCoder {
 public:
  MapCoder(Coder& coder, bool quick) : coder_(coder), quick_(quick), s_(new (std::nothrow) State) {
    if (!s_) return;
    delta::fill(s_->own[0], 16 * 1024, kEven);
    delta::fill(s_->hashed[0], 3 << kTableBits, kEven);
    delta::fill(s_->rest[0][0], 16 * 64 * 64, kEven);
    for (auto& row : s_->mix)
      for (auto& m : row)
        for (auto& w : m.weight) w = 16384;
  }
  bool ready() const { return s_ != nullptr; }

  void run(Fields& f) {
    const uint32_t g1 = near(last_.gap), l1 = near(last_.length), l2 = near(before_.length);
    const uint32_t m1 = near(last_.magnitude) << 1 | last_.negative;
    const uint32_t m2 = near(before_.magnitude) << 1 | before_.negative;
    set(0, last_.fill, 0, 0, 0);
    f.fill = bit(1, f.fill);
    set(1, l1, g1 << 10 | m1, l1 << 11 | m1, g1 << 10 | near(before_.gap));
    f.gap = number(f.gap);
    if (f.fill) {
      set(2, 0, 0, 0, 0);
      f.length = number(f.length);
      set(3, 0, 0, 0, 0);
      f.byte = number(f.byte);
      return;
    }
    const uint32_t g0 = near(f.gap);
    set(4, g0 << 10 | l1, l1 << 10 | l2, g0 << 11 | m1, l1 << 10 | l2);
    f.length = number(f.length);
    const uint32_t l0 = near(f.length);
    set(5, g0 << 10 | last_.back, m1 << 10 | l0, g0 << 11 | m1, l0 << 11 | g1 << 1 | last_.back);
    f.back = bit(1, f.back);
    if (f.back) {
      f.negative = 0;
      f.magnitude = 0;
    } else {
      set(6, m1, m2 << 1 | last_.back, m1 << 11 | m2, g0 << 11 | l0 << 1 | last_.back);
      f.negative = bit(1, f.negative);
      set(7 + f.negative, m1 << 1 | last_.back, g0 << 10 | l0, m1 << 11 | m2, g0 << 11 | l0 << 1 | last_.back);
      f.magnitude = number(f.magnitude);
    }
    set(9, last_.table, 0, 0, 0);
    f.table = bit(1, f.table);
    before_ = last_;
    last_ = f;
  }

 private:
  struct State {
    Bit own[16][1024];
    Bit hashed[3][1 << kTableBits];
    Bit rest[16][64][64];
    Mix<4, 16> mix[16][64];
  };

  // Exact when small, its size class and next two bits when large. Below 1024.
  uint32_t near(uint64_t v) const {
    if (quick_) {
      // Fewer contexts, which are learned sooner: exact when small, its size class and one bit when large.
      if (v < 12) return static_cast<uint32_t>(v);
      const uint32_t bits = 63 - static_cast<uint32_t>(__builtin_clzll(v));
      return 12 + 2 * bits + static_cast<uint32_t>(v >> (bits - 1) & 1);
    }
    if (v < 64) return static_cast<uint32_t>(v);
    const uint32_t bits = 63 - static_cast<uint32_t>(__builtin_clzll(v));
    return 64 + bits * 4 + static_cast<uint32_t>(v >> (bits - 2) & 3);
  }
  void set(uint32_t field, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    field_ = field;
    a_ = (a * 16 + field + 1) * 0x9E3779B1u;
    b_ = (b * 16 + field + 1) * 0x85EBCA6Bu;
    c_ = ((c * 16 + field + 1) * 0xC2B2AE35u ^ d) * 0x27D4EB2Fu;
  }
  static uint32_t slot(uint32_t h, uint32_t node) {
    h = (h ^ h >> 15) + node * 0x9E3779B1u;
    h ^= h >> 15;
    return (h * 0x2C1B3C6Du) >> (32 - kTableBits);
  }
  uint32_t bit(uint32_t node, uint32_t value) {
    Bit &x = s_->own[field_][node], &y = s_->hashed[0][slot(a_, node)], &z = s_->hashed[1][slot(b_, node)];
    Bit& w = s_->hashed[2][slot(c_, node)];
    const int32_t in[4] = {stretch(x.p()), stretch(y.p()), stretch(z.p()), stretch(w.p())};
    Mix<4, 16>& mix = s_->mix[field_][node < 64 ? node : 0];
    const uint32_t p = squash(mix.dot(in));
    const int got = coder_.bit(p, static_cast<int>(value));
    mix.train(in, (got << 16) - static_cast<int32_t>(p));
    learn<kLimit>(x, got);
    learn<kLimit>(y, got);
    learn<kLimit>(z, got);
    learn<kLimit>(w, got);
    return static_cast<uint32_t>(got);
  }
  // Half of each of two models.
  uint32_t pair(Bit* x, Bit* y, uint32_t node, uint32_t value) {
    const uint32_t p = (x[node].p() + y[node].p()) >> 1;
    const int got = coder_.bit(p + (p == 0 ? 1 : 0), static_cast<int>(value));
    learn<kLimit>(x[node], got);
    learn<kLimit>(y[node], got);
    return static_cast<uint32_t>(got);
  }
  // Up to three bits share a line of either table.
  Bit* line(uint32_t table, uint32_t h, uint32_t node) { return &s_->hashed[table][slot(h, node) & ~7u]; }
  uint32_t three(uint32_t node, uint32_t value, uint32_t count) {
    Bit *x = line(0, a_, node), *y = line(1, b_, node);
    uint32_t sub = 1;
    for (uint32_t k = count; k-- > 0;) sub = sub << 1 | pair(x, y, sub, value >> k & 1);
    return sub - (1u << count);
  }
  uint64_t quickNumber(uint64_t v) {
    const uint64_t n = v + 1;
    const uint32_t want = 63 - static_cast<uint32_t>(__builtin_clzll(n));
    const uint32_t high = three(1, want >> 3, 3), bits = high << 3 | three(8 + high, want & 7, 3);
    const uint32_t top = std::min(bits, 3u);
    uint64_t r = uint64_t{1} << top | three(64 + bits, static_cast<uint32_t>(n >> (bits - top)) & ((1u << top) - 1), top);
    for (uint32_t k = bits - top; k > 0;) {
      const uint32_t some = std::min(k, 16u);
      k -= some;
      r = r << some | coder_.raw(some, static_cast<uint32_t>(n >> k) & ((1u << some) - 1));
    }
    return r - 1;
  }
  // v < 2^62
  uint64_t number(uint64_t v) {
    if (quick_) return quickNumber(v);
    const uint64_t n = v + 1;
    const uint32_t want = 63 - static_cast<uint32_t>(__builtin_clzll(n));
    uint32_t node = 1;
    for (uint32_t k = 6; k-- > 0;) node = node << 1 | bit(node, want >> k & 1);
    const uint32_t bits = node & 63;
    uint64_t r = 1;
    uint32_t k = bits;
    for (uint32_t top = 1; top < 8 && k > 0; top = top << 1 | static_cast<uint32_t>(r & 1)) {
      k--;
      r = r << 1 | bit(64 + bits * 8 + top, static_cast<uint32_t>(n >> k & 1));
    }
    while (k > 0) {
      k--;
      r = r << 1 | static_cast<uint64_t>(plain(coder_, s_->rest[field_][bits][k], static_cast<int>(n >> k & 1)));
    }
    return r - 1;
  }

  Coder& coder_;
  const bool quick_;
  std::unique_ptr<State> s_;
  uint32_t field_ = 0, a_ = 0, b_ = 0, c_ = 0;
  Fields last_, before_;
};

}  // namespace

bool encodeMapPage(const Cover* covers, size_t count, uint64_t begin, std::vector<uint8_t>& out) {
  RangeEncoder coder(out);
  MapCoder<RangeEncoder> map(coder, count > kQuickCovers);
  if (!map.ready()) return false;
  uint64_t at = begin;
  int64_t diagonal = 0, before = 0;
  for (size_t i = 0; i < count; i++) {
    const Cover& c = covers[i];
    Fields f;
    f.gap = c.target - at;
    f.length = c.length;
    at = c.target + c.length;
    if (c.base & kFill) {
      f.fill = 1;
      f.byte = c.base & 0xFF;
      map.run(f);
      continue;
    }
    f.table = (c.base & kTable) != 0;
    const int64_t here = static_cast<int64_t>(c.base & ~kTable) - static_cast<int64_t>(c.target);
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
  MapCoder<RangeDecoder> map(coder, count > kQuickCovers);
  if (!map.ready()) return false;
  uint64_t at = begin;
  int64_t diagonal = 0, before = 0;
  for (size_t i = 0; i < count; i++) {
    Fields f;
    map.run(f);
    // Sizes are at most 2^37 and no field reaches 2^52: no sum here overflows, nor do JavaScript's numbers.
    if (f.gap > end - at || f.length == 0 || f.length > end - at - f.gap) return false;
    const uint64_t target = at + f.gap;
    at = target + f.length;
    if (f.fill) {
      if (f.byte > 255) return false;
      covers[i] = {target, kFill | f.byte, f.length};
      continue;
    }
    if (f.magnitude > uint64_t{2} * SHOAL_DELTA_MAX_SIZE) return false;
    const int64_t move = static_cast<int64_t>(f.magnitude);
    const int64_t here = f.back ? before : f.negative ? diagonal - move : diagonal + move;
    const int64_t from = static_cast<int64_t>(target) + here;
    if (from < 0 || static_cast<uint64_t>(from) > baseSize || f.length > baseSize - static_cast<uint64_t>(from))
      return false;
    covers[i] = {target, static_cast<uint64_t>(from) | (f.table ? kTable : 0), f.length};
    before = diagonal;
    diagonal = here;
  }
  return true;
}

}  // namespace shoal::delta
