/* Reads a file from where a chunk begins, cuts it into chunks and hashes them, or reads and hashes chunks whose lengths are known,
 * a few hundred KiB at a time: each byte is scanned and hashed while it is still in the core's own cache, where reading has put it.
 * Blocking: for a thread of a pool. */
#ifndef SHOAL_WALK_H
#define SHOAL_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "chunk/chunk.h"
#include "hash/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_WALK_OK 0
#define SHOAL_WALK_EREAD (-1)     /* the file cannot be read: see `error` */
#define SHOAL_WALK_EPARAMS (-2)   /* parameters out of bounds, too many bytes, or `capacity` too small */
#define SHOAL_WALK_EMEMORY (-3)   /* no scratch memory */
#define SHOAL_WALK_EPLATFORM (-4) /* this build cannot read files at a position */

typedef struct {
  size_t filled; /* bytes of `buffer` that are in use afterwards */
  size_t chunks; /* chunks whose end was found; the bytes after the last one begin another, unless `ended` */
  int ended;     /* whether the file has ended: then the last chunk ends with it */
  int error;     /* errno, for SHOAL_WALK_EREAD */
} shoal_walk_result;

/* `buffer` has room for `size` bytes, of which the first `filled` are the beginning of a chunk, read before; it is filled up
 * from `position` of the file `fd` on. The ends of the chunks in `buffer` go to `cuts`, their hashes to `hashes`
 * (SHOAL_HASH_BYTES each); both have `capacity` entries: size / min + 1 always suffice. */
int shoal_walk(int fd, uint64_t position, uint8_t* buffer, size_t size, size_t filled, const shoal_chunk_params* params,
               uint32_t* cuts, uint8_t* hashes, size_t capacity, shoal_walk_result* result);

/* Reads the pieces of `count` `lengths` that lie one after another from `position` of the file `fd` on, into `into`, and writes their
 * hashes to `hashes` (SHOAL_HASH_BYTES each). `into` has `room` bytes: where all pieces do not fit, some are read over those
 * before, which is for who wants the hashes alone; the largest must fit. Where the file ends early, pieces are what there is
 * of them; `got` is what was read. `error` is errno, for SHOAL_WALK_EREAD.
 * With `medium`, what is hashed comes from the medium and not from the kernel's memory, where the system, the file system and the room
 * allow it (Linux: O_DIRECT; SHOAL_WALK_MEDIUM_ROOM bytes more than the largest piece, and than 384 KiB); `into` then holds anything. */
#define SHOAL_WALK_MEDIUM_ROOM (3 * 4096)
int shoal_walk_pieces(int fd, uint64_t position, uint8_t* into, size_t room, uint32_t* lengths, size_t count, int medium, uint8_t* hashes, uint64_t* got, int* error);

#ifdef __cplusplus
}
#endif
#endif
