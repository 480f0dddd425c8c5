// Numbers outside the range coder: seven bits a byte, the lowest first (docs/delta.md, "Rules"). Internal C++ interface.
#ifndef SHOAL_DELTA_NUMBERS_H
#define SHOAL_DELTA_NUMBERS_H

#include <cstdint>
#include <vector>

namespace shoal::delta {

inline void putNumber(uint64_t v, std::vector<uint8_t>& out) {
  for (; v >= 128; v >>= 7) out.push_back(static_cast<uint8_t>(v | 128));
  out.push_back(static_cast<uint8_t>(v));
}

// False: it does not end, takes more than `digits` bytes (at most 8) or is above `most`. `at` moves past what was read.
inline bool getNumber(const uint8_t*& at, const uint8_t* end, uint64_t most, uint64_t& v, unsigned digits = 8) {
  v = 0;
  for (unsigned shift = 0; shift < 7 * digits; shift += 7) {
    if (at == end) return false;
    const uint64_t b = *at++;
    v |= (b & 127) << shift;
    if (b < 128) return v <= most;
  }
  return false;
}

}  // namespace shoal::delta

#endif
