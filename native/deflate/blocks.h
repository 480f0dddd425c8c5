// How a run of symbols becomes a block of RFC 1951: stored, with the fixed codes, or with codes of its own.
#ifndef SHOAL_DEFLATE_BLOCKS_H
#define SHOAL_DEFLATE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

namespace shoal::deflate {

constexpr int kLiteralCodes = 286, kDistanceCodes = 30, kLengthCodes = 19, kEnd = 256, kLongestCode = 15;

// Bits, lowest first. What does not fit is counted as overflow and dropped.
class BitWriter {
 public:
  void begin(uint8_t* out, size_t room) {
    at_ = out;
    end_ = out + room;
    bits_ = 0;
    count_ = 0;
    overflow_ = false;
  }
  void put(uint32_t value, int bits) {
    bits_ |= static_cast<uint64_t>(value) << count_;
    count_ += bits;
    if (count_ >= 32) flush();
  }
  void align() {
    while (count_ > 0) {
      byte(static_cast<uint8_t>(bits_));
      bits_ >>= 8;
      count_ -= 8;
    }
    bits_ = 0;
    count_ = 0;
  }
  void byte(uint8_t value) {
    if (at_ == end_)
      overflow_ = true;
    else
      *at_++ = value;
  }
  bool overflow() const { return overflow_; }
  size_t written(const uint8_t* out) const { return static_cast<size_t>(at_ - out); }

 private:
  void flush() {
    for (int i = 0; i < 4; i++) {
      byte(static_cast<uint8_t>(bits_));
      bits_ >>= 8;
    }
    count_ -= 32;
  }
  uint8_t *at_ = nullptr, *end_ = nullptr;
  uint64_t bits_ = 0;
  int count_ = 0;
  bool overflow_ = false;
};

// One of the three prefix codes of a block: how often each symbol came, then how long its code is, then the code.
struct Code {
  uint32_t often[2 * kLiteralCodes + 1];
  uint16_t code[kLiteralCodes + 2];
  uint8_t length[2 * kLiteralCodes + 1];
  int last;  // the largest symbol that has a code
};

// The symbols of the block that is being gathered.
class Block {
 public:
  // `most` symbols end a block; `symbols` has room for them.
  void begin(uint32_t* symbols, uint32_t most);
  // Both return whether the block is full.
  bool literal(uint8_t byte) {
    literals_.often[byte]++;
    symbols_[count_++] = byte;
    return count_ == most_;
  }
  bool match(uint32_t distance, uint32_t length);
  // Whether GNU gzip ends the block here, after `size` bytes: now and then, where few matches were found and yet it became short.
  bool stops(size_t size) const;
  // Writes the block and begins a new one. `bytes` is what it stands for, or null where it may not be stored.
  void finish(BitWriter& out, const uint8_t* bytes, size_t size, bool last);

 private:
  void clear();
  size_t codeLengths(int& codes);
  void scan(const Code& code, bool send, BitWriter* out);
  void send(BitWriter& out, const Code& literals, const Code& distances) const;

  Code literals_, distances_, lengths_;
  uint32_t* symbols_ = nullptr;
  uint32_t count_ = 0, most_ = 0;
};

}  // namespace shoal::deflate
#endif
