// Range coder (Martin 1979) with 16-bit probabilities in 48 bits of state, so that it moves bytes rarely and two at a
// time, and JavaScript's numbers can follow.
#ifndef SHOAL_DELTA_RANGE_CODER_H
#define SHOAL_DELTA_RANGE_CODER_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::delta {

constexpr uint64_t kRangeTop = (uint64_t{1} << 48) - 1;
constexpr uint64_t kRangeLeast = uint64_t{1} << 32;

class RangeEncoder {
 public:
  static constexpr bool kDecodes = false;
  explicit RangeEncoder(std::vector<uint8_t>& out) : out_(out) {}

  // p: probability of a one, 1..65535 of 65536.
  int bit(uint32_t p, int value) {
    const uint64_t bound = (range_ >> 16) * p;
    if (value) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    if (range_ < kRangeLeast) shift();
    return value;
  }

  // `count` bits (at most 16) that are as likely zeros as ones.
  uint32_t raw(uint32_t count, uint32_t value) {
    range_ >>= count;
    low_ += range_ * value;
    if (range_ < kRangeLeast) shift();
    return value;
  }

  // A symbol that takes [start, start+width) of 65536.
  void symbol(uint32_t start, uint32_t width) {
    const uint64_t unit = range_ >> 16;
    low_ += unit * start;
    range_ = unit * width;
    if (range_ < kRangeLeast) shift();
  }

  // Where in the segment what follows belongs: for coders that measure.
  void at(size_t) {}
  void beside(size_t, size_t) {}
  void piece(uint32_t) {}

  // Of the numbers that decode to what was coded, the one with the most zeros at its end: decoders read zeros there.
  void finish() {
    if (range_ == kRangeTop) return;  // nothing was coded
    for (int bits = 47; bits >= 0; bits--) {
      const uint64_t end = (low_ + range_ - 1) >> bits << bits;
      if (end < low_) continue;
      low_ = end;
      break;
    }
    for (int i = 0; i < 3; i++) shift();
    while (!out_.empty() && out_.back() == 0) out_.pop_back();
  }

 private:
  void shift() {
    if (low_ > kRangeTop) {
      size_t i = out_.size();
      while (i > 0 && ++out_[--i] == 0) continue;
      low_ &= kRangeTop;
    }
    out_.push_back(static_cast<uint8_t>(low_ >> 40));
    out_.push_back(static_cast<uint8_t>(low_ >> 32));
    low_ = (low_ & (kRangeLeast - 1)) << 16;
    range_ <<= 16;
  }

  std::vector<uint8_t>& out_;
  uint64_t low_ = 0;
  uint64_t range_ = kRangeTop;
};

// Reads zeros past the end of its input: a damaged payload decodes to wrong bytes, never out of bounds.
class RangeDecoder {
 public:
  static constexpr bool kDecodes = true;
  RangeDecoder(const uint8_t* in, size_t size) : in_(in), end_(in + size) {
    for (int i = 0; i < 3; i++) code_ = code_ << 16 | next();
  }

  int bit(uint32_t p, int /*value*/) {
    const uint64_t bound = (range_ >> 16) * p;
    const bool one = code_ < bound;
    range_ = one ? bound : range_ - bound;
    code_ -= one ? 0 : bound;
    if (range_ < kRangeLeast) shift();
    return one;
  }

  uint32_t raw(uint32_t count, uint32_t /*value*/) {
    range_ >>= count;
    const uint64_t at = std::min(code_ / range_, (uint64_t{1} << count) - 1);
    code_ -= at * range_;
    if (range_ < kRangeLeast) shift();
    return static_cast<uint32_t>(at);
  }

  void at(size_t) {}
  void beside(size_t, size_t) {}
  void piece(uint32_t) {}

  // Where in 65536 the next symbol lies; `take` then says which one it was.
  uint32_t peek() const {
    const uint64_t at = code_ / (range_ >> 16);
    return at > 65535 ? 65535 : static_cast<uint32_t>(at);
  }
  void take(uint32_t start, uint32_t width) {
    const uint64_t unit = range_ >> 16;
    code_ -= unit * start;
    range_ = unit * width;
    if (range_ < kRangeLeast) shift();
  }

 private:
  // Only damaged bytes make a code above the range: it is kept within 48 bits.
  void shift() {
    code_ = (code_ << 16 | next()) & kRangeTop;
    range_ <<= 16;
  }
  uint32_t next() {
    uint32_t v = 0;
    if (end_ - in_ >= 2) {
      v = static_cast<uint32_t>(in_[0]) << 8 | in_[1];
      in_ += 2;
    } else if (in_ < end_) {
      v = static_cast<uint32_t>(*in_++) << 8;
    }
    return v;
  }

  const uint8_t* in_;
  const uint8_t* end_;
  uint64_t range_ = kRangeTop;
  uint64_t code_ = 0;
};

}  // namespace shoal::delta

#endif
