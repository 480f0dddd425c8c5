/* The deflate kernel: decodes deflate, and codes bytes exactly as zlib or GNU gzip does, at a level and a memory level, so that a device can make the
 * compressed blocks of a file system again, byte by byte. The format is RFC 1951; what they choose within it is in
 * docs/containers.md. Pure computation: no I/O, no exceptions, no memory but the caller's. */
#ifndef SHOAL_DEFLATE_H
#define SHOAL_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_DEFLATE_MOST (8u << 20) /* bytes that one stream may hold */

enum shoal_deflate_status {
  SHOAL_DEFLATE_OK = 0,
  SHOAL_DEFLATE_BAD_ARGUMENT = 1,
  SHOAL_DEFLATE_DAMAGED = 2,
};

/* One stream: `size` bytes at `in` become deflate at `out`, of which there are `room` bytes; with `zlib` not 0 between the head
 * and the checksum of RFC 1950. `made` is the number of bytes written, or SHOAL_DEFLATE_LONGER when they do not fit; nothing is
 * written beyond `room`. */
typedef struct {
  const uint8_t* in;
  uint8_t* out;
  uint32_t size;
  uint32_t room;
  uint32_t made;
  uint8_t level;  /* 1 ... 9 */
  uint8_t memory; /* memLevel, 1 ... 9; 8 is usual */
  uint8_t zlib;
  uint8_t gnu;    /* not 0: as GNU gzip does; with memory 8, and without zlib's head */
} shoal_deflate_stream;

#define SHOAL_DEFLATE_LONGER UINT32_MAX

/* `work`: SHOAL_DEFLATE_WORK bytes, aligned to 8, whatever is in them; nobody else touches them meanwhile. */
#define SHOAL_DEFLATE_WORK (2u << 20)
int32_t shoal_deflate(shoal_deflate_stream* streams, size_t count, void* work, size_t work_size);

/* Decodes raw deflate of `size` bytes that holds `held` bytes: neither less nor more of either. */
int32_t shoal_inflate(const uint8_t* in, size_t size, uint8_t* out, size_t held);

/* Decodes the stream that `size` bytes begin with, whatever follows it; `room` bytes at `out` for what it holds, at most SHOAL_DEFLATE_MOST.
 * With `zlib` not 0 its head is skipped and its checksum has to be right (RFC 1950). `used` and `held` receive what it takes and holds. */
int32_t shoal_inflate_first(const uint8_t* in, size_t size, uint8_t* out, size_t room, int zlib, size_t* used, size_t* held);

#ifdef __cplusplus
}
#endif
#endif
