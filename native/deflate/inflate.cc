#include <cstring>

#include "deflate.h"
#include "wrap.h"

namespace shoal::deflate {
namespace {

constexpr int kFastBits = 10, kMostBits = 15;
constexpr uint16_t kLengthBase[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthExtra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kDistanceExtra[30] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr uint8_t kOrder[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

// Bits of the input, lowest first. Past its end come zeros, and `overrun` says so.
class BitReader {
 public:
  BitReader(const uint8_t* in, size_t size) : at_(in), end_(in + size) {}
  // At least 56 bits are there afterwards.
  void fill() {
    if (end_ - at_ >= 8) {
      uint64_t next;
      memcpy(&next, at_, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
      next = __builtin_bswap64(next);
#endif
      bits_ |= next << count_;
      at_ += (63 - count_) >> 3;
      count_ |= 56;
      return;
    }
    while (count_ <= 56) {
      if (at_ < end_) bits_ |= static_cast<uint64_t>(*at_++) << count_;
      else missing_ += 8;
      count_ += 8;
    }
  }
  uint32_t peek(int n) const { return static_cast<uint32_t>(bits_ & ((uint64_t{1} << n) - 1)); }
  void skip(int n) {
    bits_ >>= n;
    count_ -= n;
  }
  uint32_t take(int n) {
    const uint32_t value = peek(n);
    skip(n);
    return value;
  }
  // More bits were taken than there were.
  bool overrun() const { return missing_ > count_; }
  // Goes on at the next whole byte, which it gives; or null.
  const uint8_t* bytes(size_t size) {
    skip(count_ & 7);
    if (overrun()) return nullptr;
    at_ -= (count_ - missing_) >> 3;
    bits_ = 0;
    count_ = missing_ = 0;
    if (static_cast<size_t>(end_ - at_) < size) return nullptr;
    const uint8_t* from = at_;
    at_ += size;
    return from;
  }
  // Where the next whole byte lies; null: beyond the end.
  const uint8_t* place() { return bytes(0); }

 private:
  const uint8_t *at_, *end_;
  uint64_t bits_ = 0;
  int count_ = 0, missing_ = 0;
};

class Codes {
 public:
  // False when there are more codes than fit, or fewer (then a program that decodes with zlib would not read the stream): one code of one bit
  // may stand alone among `lonely` codes, and there may be none at all.
  bool make(const uint8_t* lengths, int symbols, bool lonely = true) {
    memset(count_, 0, sizeof count_);
    memset(fast_, 0, sizeof fast_);
    for (int n = 0; n < symbols; n++) count_[lengths[n]]++;
    count_[0] = 0;
    int32_t left = 1;
    uint16_t offset[kMostBits + 1], code[kMostBits + 1], next = 0;
    offset[1] = 0;
    for (int bits = 1; bits <= kMostBits; bits++) {
      left = (left << 1) - count_[bits];
      if (left < 0) return false;
      code[bits] = next = static_cast<uint16_t>((next + (bits > 1 ? count_[bits - 1] : 0)) << 1);
      if (bits < kMostBits) offset[bits + 1] = static_cast<uint16_t>(offset[bits] + count_[bits]);
    }
    const int codes = offset[kMostBits] + count_[kMostBits];
    if (left > 0 && codes > 0 && !(lonely && codes == 1 && count_[1] == 1)) return false;
    for (int n = 0; n < symbols; n++) {
      const int bits = lengths[n];
      if (bits == 0) continue;
      symbol_[offset[bits]++] = static_cast<uint16_t>(n);
      uint32_t reversed = 0;
      for (int i = 0, c = code[bits]++; i < bits; i++, c >>= 1) reversed = reversed << 1 | (c & 1);
      if (bits <= kFastBits)
        for (uint32_t at = reversed; at < 1u << kFastBits; at += 1u << bits) fast_[at] = static_cast<uint16_t>(n << 4 | bits);
    }
    return true;
  }
  // The next symbol, or -1. 15 bits are there.
  int read(BitReader& in) const {
    const uint16_t found = fast_[in.peek(kFastBits)];
    if (found != 0) {
      in.skip(found & 15);
      return found >> 4;
    }
    int32_t code = 0, first = 0, index = 0;
    const uint32_t bits = in.peek(kMostBits);
    for (int length = 1; length <= kMostBits; length++) {
      code |= bits >> (length - 1) & 1;
      const int32_t count = count_[length];
      if (code - count < first) {
        in.skip(length);
        return symbol_[index + (code - first)];
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return -1;
  }

 private:
  uint16_t fast_[1u << kFastBits];
  uint16_t count_[kMostBits + 1], symbol_[288];
};

struct Decoder {
  BitReader in;
  uint8_t *const begin, *at, *const end;
  Codes literals, distances;

  bool stored() {
    const uint8_t* head = in.bytes(4);
    if (head == nullptr) return false;
    const uint32_t size = head[0] | static_cast<uint32_t>(head[1]) << 8;
    if ((size ^ 0xFFFF) != (head[2] | static_cast<uint32_t>(head[3]) << 8) || size > static_cast<size_t>(end - at)) return false;
    const uint8_t* from = in.bytes(size);
    if (from == nullptr) return false;
    if (size > 0) memcpy(at, from, size);
    at += size;
    return true;
  }

  bool fixed() {
    uint8_t lengths[288];
    for (int n = 0; n < 288; n++) lengths[n] = n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8;
    if (!literals.make(lengths, 288)) return false;
    // The last two are never used.
    memset(lengths, 5, 32);
    return distances.make(lengths, 32);
  }

  bool dynamic() {
    in.fill();
    const int literalCount = static_cast<int>(in.take(5)) + 257, distanceCount = static_cast<int>(in.take(5)) + 1;
    const int count = static_cast<int>(in.take(4)) + 4;
    if (literalCount > 286 || distanceCount > 30) return false;
    uint8_t lengths[286 + 30] = {};
    for (int n = 0; n < count; n++) {
      in.fill();
      lengths[kOrder[n]] = static_cast<uint8_t>(in.take(3));
    }
    if (!literals.make(lengths, 19, false)) return false;
    memset(lengths, 0, sizeof lengths);
    for (int n = 0; n < literalCount + distanceCount;) {
      in.fill();
      const int symbol = literals.read(in);
      if (symbol < 0 || in.overrun()) return false;
      if (symbol < 16) {
        lengths[n++] = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 16 && n == 0) return false;
      const uint8_t value = symbol == 16 ? lengths[n - 1] : 0;
      int repeat = symbol == 16 ? 3 + static_cast<int>(in.take(2)) : symbol == 17 ? 3 + static_cast<int>(in.take(3)) : 11 + static_cast<int>(in.take(7));
      if (repeat > literalCount + distanceCount - n) return false;
      while (repeat-- > 0) lengths[n++] = value;
    }
    return lengths[256] != 0 && literals.make(lengths, literalCount) && distances.make(lengths + literalCount, distanceCount);
  }

  bool symbols() {
    for (;;) {
      in.fill();
      int symbol = literals.read(in);
      if (symbol < 256) {
        if (symbol < 0 || at == end) return false;
        *at++ = static_cast<uint8_t>(symbol);
        // 15 of 56 bits are gone: two more of as many are there.
        symbol = literals.read(in);
        if (symbol < 256) {
          if (symbol < 0 || at == end || in.overrun()) return false;
          *at++ = static_cast<uint8_t>(symbol);
          continue;
        }
        in.fill();
      }
      if (in.overrun()) return false;
      if (symbol == 256) return true;
      symbol -= 257;
      if (symbol >= 29) return false;
      // A length takes 15 + 5 bits, a distance 15 + 13.
      const size_t length = kLengthBase[symbol] + in.take(kLengthExtra[symbol]);
      const int far = distances.read(in);
      if (far < 0 || far >= 30) return false;
      const size_t distance = kDistanceBase[far] + in.take(kDistanceExtra[far]);
      if (in.overrun() || distance > static_cast<size_t>(at - begin) || length > static_cast<size_t>(end - at)) return false;
      copy(length, distance);
    }
  }

  void copy(size_t length, size_t distance) {
    const uint8_t* from = at - distance;
    if (distance >= 8 && static_cast<size_t>(end - at) >= length + 8) {
      for (size_t n = 0; n < length; n += 8) memcpy(at + n, from + n, 8);
    } else if (distance == 1) {
      memset(at, *from, length);
    } else {
      for (size_t n = 0; n < length; n++) at[n] = from[n];
    }
    at += length;
  }

  // One stream, whatever follows.
  bool run() {
    for (bool last = false; !last;) {
      in.fill();
      last = in.take(1) != 0;
      const uint32_t kind = in.take(2);
      if (in.overrun()) return false;
      if (kind == 0) {
        if (!stored()) return false;
        continue;
      }
      if (kind == 3 || !(kind == 1 ? fixed() : dynamic()) || !symbols()) return false;
    }
    return true;
  }
};

}  // namespace
}  // namespace shoal::deflate

int32_t shoal_inflate(const uint8_t* in, size_t size, uint8_t* out, size_t held) {
  if ((in == nullptr && size > 0) || (out == nullptr && held > 0) || held > SHOAL_DEFLATE_MOST) return SHOAL_DEFLATE_BAD_ARGUMENT;
  shoal::deflate::Decoder decoder{shoal::deflate::BitReader(in, size), out, out, out + held, {}, {}};
  // Nothing is left but bits of the last byte.
  return decoder.run() && decoder.at == decoder.end && decoder.in.place() == in + size ? SHOAL_DEFLATE_OK : SHOAL_DEFLATE_DAMAGED;
}

int32_t shoal_inflate_first(const uint8_t* in, size_t size, uint8_t* out, size_t room, int zlib, size_t* used, size_t* held) {
  using namespace shoal::deflate;
  if ((in == nullptr && size > 0) || (out == nullptr && room > 0) || room > SHOAL_DEFLATE_MOST || used == nullptr || held == nullptr)
    return SHOAL_DEFLATE_BAD_ARGUMENT;
  const size_t head = zlib ? kHead : 0;
  if (size < head) return SHOAL_DEFLATE_DAMAGED;
  Decoder decoder{BitReader(in + head, size - head), out, out, out + room, {}, {}};
  if (!decoder.run()) return SHOAL_DEFLATE_DAMAGED;
  const uint8_t* end = decoder.in.place();
  if (end == nullptr) return SHOAL_DEFLATE_DAMAGED;
  *held = static_cast<size_t>(decoder.at - out);
  *used = static_cast<size_t>(end - in);
  if (!zlib) return SHOAL_DEFLATE_OK;
  if (size - *used < kChecksum) return SHOAL_DEFLATE_DAMAGED;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < kChecksum; i++) sum = sum << 8 | end[i];
  *used += kChecksum;
  return sum == adler32(out, *held) ? SHOAL_DEFLATE_OK : SHOAL_DEFLATE_DAMAGED;
}
