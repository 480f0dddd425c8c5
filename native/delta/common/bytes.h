// Comparing bytes.
#ifndef SHOAL_DELTA_BYTES_H
#define SHOAL_DELTA_BYTES_H

#include <cstddef>
#include <cstdint>

#include "words/words.h"

namespace shoal::delta {

inline size_t equalBackward(const uint8_t* a, const uint8_t* b, size_t limit) {
  size_t i = 0;
  while (i < limit && a[-static_cast<ptrdiff_t>(i) - 1] == b[-static_cast<ptrdiff_t>(i) - 1]) i++;
  return i;
}
// Equal bytes among `limit` (a multiple of 8 is fastest).
inline size_t countEqual(const uint8_t* a, const uint8_t* b, size_t limit) {
  size_t n = 0, i = 0;
  for (; i + 8 <= limit; i += 8) {
    uint64_t x = load64(a + i) ^ load64(b + i);
    x |= x >> 4;
    x |= x >> 2;
    x |= x >> 1;
    n += 8 - static_cast<size_t>(((x & 0x0101010101010101ull) * 0x0101010101010101ull) >> 56);
  }
  for (; i < limit; i++) n += a[i] == b[i];
  return n;
}

}  // namespace shoal::delta

#endif
