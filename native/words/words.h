// Bytes in memory, eight at a time.
#ifndef SHOAL_WORDS_H
#define SHOAL_WORDS_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace shoal {

inline uint64_t load64(const uint8_t* p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

// How many bytes are equal from `a` and `b` on, at most `limit`.
inline size_t equalForward(const uint8_t* a, const uint8_t* b, size_t limit) {
  size_t i = 0;
  for (; i + 8 <= limit; i += 8) {
    const uint64_t differ = load64(a + i) ^ load64(b + i);
    if (differ == 0) continue;
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return i + (static_cast<size_t>(__builtin_ctzll(differ)) >> 3);
#else
    break;
#endif
  }
  while (i < limit && a[i] == b[i]) i++;
  return i;
}

}  // namespace shoal

#endif
