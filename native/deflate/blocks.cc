#include "blocks.h"

#include <cstring>
#include <initializer_list>

namespace shoal::deflate {
namespace {

constexpr uint8_t kLengthExtra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint8_t kDistanceExtra[30] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr uint8_t kRepeatExtra[kLengthCodes] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7};
// The order in which the lengths of the code for code lengths are sent (RFC 1951, 3.2.7).
constexpr uint8_t kOrder[kLengthCodes] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
constexpr int kRepeat = 16, kZeros = 17, kManyZeros = 18;

uint16_t reversed(uint32_t code, int length) {
  uint32_t out = 0;
  for (int i = 0; i < length; i++) {
    out = out << 1 | (code & 1);
    code >>= 1;
  }
  return static_cast<uint16_t>(out);
}

// Codes from lengths (RFC 1951, 3.2.2).
void assign(Code& c) {
  uint32_t count[kLongestCode + 2] = {}, next[kLongestCode + 2] = {};
  for (int n = 0; n <= c.last; n++) count[c.length[n]]++;
  count[0] = 0;
  uint32_t code = 0;
  for (int bits = 1; bits <= kLongestCode; bits++) {
    code = (code + count[bits - 1]) << 1;
    next[bits] = code;
  }
  for (int n = 0; n <= c.last; n++)
    if (c.length[n] != 0) c.code[n] = reversed(next[c.length[n]]++, c.length[n]);
}

struct Tables {
  uint8_t lengthSymbol[256];    // of length - 3
  uint16_t lengthBase[29];
  uint8_t distanceSymbol[512];  // of distance - 1 below 256; above, 256 + (distance - 1 >> 7)
  uint16_t distanceBase[30];
  Code literals, distances;     // the fixed ones
  Tables() {
    int length = 0;
    for (int symbol = 0; symbol < 28; symbol++) {
      lengthBase[symbol] = static_cast<uint16_t>(length);
      for (int n = 0; n < 1 << kLengthExtra[symbol]; n++) lengthSymbol[length++] = static_cast<uint8_t>(symbol);
    }
    // The longest has a code of its own.
    lengthSymbol[255] = 28;
    lengthBase[28] = 255;
    int distance = 0;
    for (int symbol = 0; symbol < 30; symbol++) {
      distanceBase[symbol] = static_cast<uint16_t>(distance);
      for (int n = 0; n < 1 << kDistanceExtra[symbol]; n++, distance++) {
        if (distance < 256) distanceSymbol[distance] = static_cast<uint8_t>(symbol);
        else distanceSymbol[256 + (distance >> 7)] = static_cast<uint8_t>(symbol);
      }
    }
    for (int n = 0; n < 288; n++) {
      const uint8_t bits = n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8;
      literals.length[n] = bits;
    }
    literals.last = 287;
    assign(literals);
    for (int n = 0; n < 30; n++) distances.length[n] = 5;
    distances.last = 29;
    assign(distances);
  }
  int distanceOf(uint32_t d) const { return d < 256 ? distanceSymbol[d] : distanceSymbol[256 + (d >> 7)]; }
};

const Tables& tables() {
  static const Tables made;
  return made;
}

// Makes the lengths of one code: Huffman's, and then as zlib shortens those that are too long. Adds to `own` the bits that the
// symbols take with it, and to `fixed` those that they take with the fixed code, if there is one.
class Builder {
 public:
  Builder(Code& c, int symbols, int longest, const uint8_t* extra, int extraFrom, const Code* fixed)
      : c_(c), symbols_(symbols), longest_(longest), extra_(extra), extraFrom_(extraFrom), fixed_(fixed) {}

  void build(uint64_t& own, uint64_t& fixed) {
    size_ = 0;
    top_ = kHeap;
    c_.last = -1;
    for (int n = 0; n < symbols_; n++) {
      c_.length[n] = 0;
      if (c_.often[n] == 0) continue;
      heap_[++size_] = c_.last = n;
      depth_[n] = 0;
    }
    // A code has two symbols at least, or some decoders could not read it.
    while (size_ < 2) {
      const int n = c_.last < 2 ? ++c_.last : 0;
      heap_[++size_] = n;
      c_.often[n] = 1;
      depth_[n] = 0;
      own--;
      if (fixed_ != nullptr) fixed -= fixed_->length[n];
    }
    for (int n = size_ / 2; n >= 1; n--) sink(n);
    int node = symbols_;
    do {
      const int n = heap_[1];
      heap_[1] = heap_[size_--];
      sink(1);
      const int m = heap_[1];
      heap_[--top_] = n;
      heap_[--top_] = m;
      c_.often[node] = c_.often[n] + c_.often[m];
      depth_[node] = static_cast<uint8_t>((depth_[n] >= depth_[m] ? depth_[n] : depth_[m]) + 1);
      parent_[n] = parent_[m] = node;
      heap_[1] = node++;
      sink(1);
    } while (size_ >= 2);
    heap_[--top_] = heap_[1];
    measure(own, fixed);
    assign(c_);
  }

 private:
  static constexpr int kHeap = 2 * kLiteralCodes + 1;

  bool less(int n, int m) const { return c_.often[n] < c_.often[m] || (c_.often[n] == c_.often[m] && depth_[n] <= depth_[m]); }

  void sink(int k) {
    const int moved = heap_[k];
    for (int j = 2 * k; j <= size_; j *= 2) {
      if (j < size_ && less(heap_[j + 1], heap_[j])) j++;
      if (less(moved, heap_[j])) break;
      heap_[k] = heap_[j];
      k = j;
    }
    heap_[k] = moved;
  }

  void measure(uint64_t& own, uint64_t& fixed) {
    int count[kLongestCode + 1] = {}, overflow = 0, h = top_ + 1;
    c_.length[heap_[top_]] = 0;
    for (; h < kHeap; h++) {
      const int n = heap_[h];
      int bits = c_.length[parent_[n]] + 1;
      if (bits > longest_) {
        bits = longest_;
        overflow++;
      }
      c_.length[n] = static_cast<uint8_t>(bits);
      if (n > c_.last) continue;
      count[bits]++;
      const int more = n >= extraFrom_ ? extra_[n - extraFrom_] : 0;
      own += uint64_t{c_.often[n]} * static_cast<uint64_t>(bits + more);
      if (fixed_ != nullptr) fixed += uint64_t{c_.often[n]} * static_cast<uint64_t>(fixed_->length[n] + more);
    }
    if (overflow == 0) return;
    for (; overflow > 0; overflow -= 2) {
      int bits = longest_ - 1;
      while (count[bits] == 0) bits--;
      count[bits]--;
      count[bits + 1] += 2;
      count[longest_]--;
    }
    h = kHeap;
    for (int bits = longest_; bits != 0; bits--)
      for (int n = count[bits]; n != 0;) {
        const int m = heap_[--h];
        if (m > c_.last) continue;
        own += (static_cast<uint64_t>(bits) - c_.length[m]) * c_.often[m];
        c_.length[m] = static_cast<uint8_t>(bits);
        n--;
      }
  }

  Code& c_;
  const int symbols_, longest_;
  const uint8_t* extra_;
  const int extraFrom_;
  const Code* fixed_;
  int heap_[kHeap + 1], parent_[kHeap + 1], size_ = 0, top_ = 0;
  uint8_t depth_[kHeap + 1];
};

}  // namespace

void Block::begin(uint32_t* symbols, uint32_t most) {
  symbols_ = symbols;
  most_ = most;
  clear();
}

void Block::clear() {
  memset(literals_.often, 0, sizeof literals_.often);
  memset(distances_.often, 0, sizeof distances_.often);
  memset(lengths_.often, 0, sizeof lengths_.often);
  literals_.often[kEnd] = 1;
  count_ = 0;
}

bool Block::match(uint32_t distance, uint32_t length) {
  const Tables& t = tables();
  literals_.often[kEnd + 1 + t.lengthSymbol[length - 3]]++;
  distances_.often[t.distanceOf(distance - 1)]++;
  symbols_[count_++] = distance << 16 | (length - 3);
  return count_ == most_;
}

bool Block::stops(size_t size) const {
  constexpr uint32_t kEvery = 4096;
  if (count_ % kEvery != 0) return false;
  uint64_t bits = uint64_t{8} * count_;
  uint32_t matches = 0;
  for (int n = 0; n < kDistanceCodes; n++) {
    bits += uint64_t{distances_.often[n]} * (5u + kDistanceExtra[n]);
    matches += distances_.often[n];
  }
  return matches < count_ / 2 && bits / 8 < size / 2;
}

// Goes through the lengths of a code in runs: counts the symbols that say them, or sends them.
void Block::scan(const Code& c, bool send, BitWriter* out) {
  int before = -1, next = c.length[0], count = 0;
  int most = next == 0 ? 138 : 7, least = next == 0 ? 3 : 4;
  for (int n = 0; n <= c.last; n++) {
    const int now = next;
    next = n == c.last ? -1 : c.length[n + 1];
    if (++count < most && now == next) continue;
    const auto say = [&](int symbol, int value, int bits) {
      if (!send) {
        lengths_.often[symbol]++;
        return;
      }
      out->put(lengths_.code[symbol], lengths_.length[symbol]);
      if (bits > 0) out->put(static_cast<uint32_t>(value), bits);
    };
    if (count < least) {
      for (int i = 0; i < count; i++) say(now, 0, 0);
    } else if (now != 0) {
      if (now != before) {
        say(now, 0, 0);
        count--;
      }
      say(kRepeat, count - 3, 2);
    } else if (count <= 10) {
      say(kZeros, count - 3, 3);
    } else {
      say(kManyZeros, count - 11, 7);
    }
    count = 0;
    before = now;
    most = next == 0 ? 138 : now == next ? 6 : 7;
    least = next == 0 || now == next ? 3 : 4;
  }
}

void Block::finish(BitWriter& out, const uint8_t* bytes, size_t size, bool last) {
  const Tables& t = tables();
  uint64_t own = 0, fixed = 0;
  Builder(literals_, kLiteralCodes, kLongestCode, kLengthExtra, kEnd + 1, &t.literals).build(own, fixed);
  Builder(distances_, kDistanceCodes, kLongestCode, kDistanceExtra, 0, &t.distances).build(own, fixed);
  scan(literals_, false, nullptr);
  scan(distances_, false, nullptr);
  uint64_t none = 0;
  Builder(lengths_, kLengthCodes, 7, kRepeatExtra, 0, nullptr).build(own, none);
  int codes = kLengthCodes - 1;
  while (codes >= 3 && lengths_.length[kOrder[codes]] == 0) codes--;
  own += static_cast<uint64_t>(3 * (codes + 1) + 5 + 5 + 4);
  const uint64_t ownBytes = (own + 3 + 7) >> 3, fixedBytes = (fixed + 3 + 7) >> 3;
  const uint64_t least = fixedBytes <= ownBytes ? fixedBytes : ownBytes;
  const uint32_t end = last ? 1 : 0;
  if (size + 4 <= least && bytes != nullptr) {
    out.put(end, 3);
    out.align();
    for (const size_t value : {size, ~size}) {
      out.byte(static_cast<uint8_t>(value));
      out.byte(static_cast<uint8_t>(value >> 8));
    }
    for (size_t i = 0; i < size; i++) out.byte(bytes[i]);
  } else if (fixedBytes == least) {
    out.put(1 << 1 | end, 3);
    send(out, t.literals, t.distances);
  } else {
    out.put(2 << 1 | end, 3);
    out.put(static_cast<uint32_t>(literals_.last + 1 - 257), 5);
    out.put(static_cast<uint32_t>(distances_.last), 5);
    out.put(static_cast<uint32_t>(codes + 1 - 4), 4);
    for (int i = 0; i <= codes; i++) out.put(lengths_.length[kOrder[i]], 3);
    scan(literals_, true, &out);
    scan(distances_, true, &out);
    send(out, literals_, distances_);
  }
  clear();
  if (last) out.align();
}

void Block::send(BitWriter& out, const Code& literals, const Code& distances) const {
  const Tables& t = tables();
  for (uint32_t i = 0; i < count_; i++) {
    const uint32_t distance = symbols_[i] >> 16, value = symbols_[i] & 0xFFFF;
    if (distance == 0) {
      out.put(literals.code[value], literals.length[value]);
      continue;
    }
    const int symbol = t.lengthSymbol[value];
    out.put(literals.code[kEnd + 1 + symbol], literals.length[kEnd + 1 + symbol]);
    if (kLengthExtra[symbol] > 0) out.put(value - t.lengthBase[symbol], kLengthExtra[symbol]);
    const int far = t.distanceOf(distance - 1);
    out.put(distances.code[far], distances.length[far]);
    if (kDistanceExtra[far] > 0) out.put(distance - 1 - t.distanceBase[far], kDistanceExtra[far]);
  }
  out.put(literals.code[kEnd], literals.length[kEnd]);
}

}  // namespace shoal::deflate
