#include "wrap.h"

namespace shoal::deflate {

uint32_t adler32(const uint8_t* data, size_t size) {
  uint32_t a = 1, b = 0;
  while (size > 0) {
    // So many bytes go by before either can exceed 32 bits.
    const size_t some = size < 5552 ? size : 5552;
    for (size_t i = 0; i < some; i++) {
      a += data[i];
      b += a;
    }
    a %= 65521;
    b %= 65521;
    data += some;
    size -= some;
  }
  return b << 16 | a;
}

}  // namespace shoal::deflate
