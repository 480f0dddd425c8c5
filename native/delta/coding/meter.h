// What a payload's bytes are spent on: a coder that codes nothing and adds up what coding would take.
#ifndef SHOAL_DELTA_METER_H
#define SHOAL_DELTA_METER_H

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "delta/delta.h"
#include "range_coder.h"

namespace shoal::delta {

// Bits for each stretch of a segment, by kind of piece.
struct Meter {
  const uint32_t* ends;  // where stretches end, ascending, the last one the segment's end
  double* bits;          // stretch · 4 + kind of piece
  size_t stretch = 0;
  uint32_t kind = 0;

  void add(double b) { bits[stretch * 4 + kind] += b; }
};

class MeterCoder {
 public:
  static constexpr bool kDecodes = false;
  explicit MeterCoder(Meter& meter) : meter_(meter) {}

  int bit(uint32_t p, int value) {
    meter_.add(16 - std::log2(value ? p : 65536 - p));
    return value;
  }
  uint32_t raw(uint32_t count, uint32_t value) {
    meter_.add(count);
    return value;
  }
  void symbol(uint32_t, uint32_t width) { meter_.add(16 - std::log2(width)); }
  // Positions only rise.
  void at(size_t i) {
    while (meter_.ends[meter_.stretch] <= i) meter_.stretch++;
  }
  void beside(size_t from, size_t size) {
    for (size_t k = 0; k < size; k++) {
      at(from + k);
      meter_.add(8);
    }
  }
  void piece(uint32_t kind) { meter_.kind = kind; }

 private:
  Meter& meter_;
};

// The same where only decoding tells what was coded.
class MeterDecoder {
 public:
  static constexpr bool kDecodes = true;
  MeterDecoder(const uint8_t* in, size_t size, Meter& meter) : decoder_(in, size), meter_(meter) {}

  int bit(uint32_t p, int) {
    const int value = decoder_.bit(p, 0);
    meter_.add(16 - std::log2(value ? p : 65536 - p));
    return value;
  }
  uint32_t raw(uint32_t count, uint32_t) {
    meter_.add(count);
    return decoder_.raw(count, 0);
  }
  uint32_t peek() const { return decoder_.peek(); }
  void take(uint32_t start, uint32_t width) {
    meter_.add(16 - std::log2(width));
    decoder_.take(start, width);
  }
  // Positions only rise.
  void at(size_t i) {
    while (meter_.ends[meter_.stretch] <= i) meter_.stretch++;
  }

 private:
  RangeDecoder decoder_;
  Meter& meter_;
};

}  // namespace shoal::delta

#endif
