// Binary range coder (Martin 1979; carry handling as in LZMA) with 16-bit probabilities that a bit is one.
#ifndef SHOAL_DELTA_RANGE_CODER_H
#define SHOAL_DELTA_RANGE_CODER_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::delta {

class RangeEncoder {
 public:
  static constexpr bool kDecodes = false;
  explicit RangeEncoder(std::vector<uint8_t>& out) : out_(out) {}

  // p: probability of a one, 1..65535 of 65536.
  int bit(uint32_t p, int value) {
    const uint32_t bound = (range_ >> 16) * p;
    if (value) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    while (range_ < (1u << 24)) {
      shiftLow();
      range_ <<= 8;
    }
    return value;
  }

  void finish() {
    for (int i = 0; i < 5; i++) shiftLow();
    // The decoder reads zeros past the end.
    while (!out_.empty() && out_.back() == 0) out_.pop_back();
  }

 private:
  void shiftLow() {
    if (low_ < 0xFF000000u || low_ >= (uint64_t{1} << 32)) {
      const uint8_t carry = static_cast<uint8_t>(low_ >> 32);
      if (started_) out_.push_back(static_cast<uint8_t>(cache_ + carry));
      started_ = true;
      for (; pending_ > 0; pending_--) out_.push_back(static_cast<uint8_t>(0xFF + carry));
      cache_ = static_cast<uint8_t>(low_ >> 24);
    } else {
      pending_++;
    }
    low_ = (low_ & 0x00FFFFFFu) << 8;
  }

  std::vector<uint8_t>& out_;
  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  uint64_t pending_ = 0;
  uint8_t cache_ = 0;
  bool started_ = false;
};

// Reads zeros past the end of its input: a damaged payload decodes to wrong bytes, never out of bounds.
class RangeDecoder {
 public:
  static constexpr bool kDecodes = true;
  RangeDecoder(const uint8_t* in, size_t size) : in_(in), end_(in + size) {
    for (int i = 0; i < 4; i++) code_ = code_ << 8 | next();
  }

  int bit(uint32_t p, int /*value*/) {
    const uint32_t bound = (range_ >> 16) * p;
    int value;
    if (code_ < bound) {
      range_ = bound;
      value = 1;
    } else {
      code_ -= bound;
      range_ -= bound;
      value = 0;
    }
    while (range_ < (1u << 24)) {
      code_ = code_ << 8 | next();
      range_ <<= 8;
    }
    return value;
  }

 private:
  uint32_t next() { return in_ < end_ ? *in_++ : 0; }

  const uint8_t* in_;
  const uint8_t* end_;
  uint32_t range_ = 0xFFFFFFFFu;
  uint32_t code_ = 0;
};

}  // namespace shoal::delta

#endif
