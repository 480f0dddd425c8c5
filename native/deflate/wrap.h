// RFC 1950: what lies around deflate where it is zlib's.
#ifndef SHOAL_DEFLATE_WRAP_H
#define SHOAL_DEFLATE_WRAP_H

#include <stddef.h>
#include <stdint.h>

namespace shoal::deflate {

constexpr uint32_t kHead = 2, kChecksum = 4;

// 8.2.
uint32_t adler32(const uint8_t* data, size_t size);

}  // namespace shoal::deflate
#endif
