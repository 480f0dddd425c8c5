/* Content-defined chunk boundaries, as docs/chunking.md fixes them (algorithm "shoal-comb-1"). Pure functions over
 * caller-owned memory: no I/O, no allocation, no state. src/chunk/portable.ts is the same in TypeScript. */
#ifndef SHOAL_CHUNK_H
#define SHOAL_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds on parameters; src/chunk/params.ts has the same. */
#define SHOAL_CHUNK_LEAST_MIN 4096u
#define SHOAL_CHUNK_LEAST_AVG 16384u
#define SHOAL_CHUNK_MOST_MAX 1048576u

typedef struct {
  uint32_t min; /* bytes; at least SHOAL_CHUNK_LEAST_MIN */
  uint32_t avg; /* at least SHOAL_CHUNK_LEAST_AVG and min */
  uint32_t max; /* at most SHOAL_CHUNK_MOST_MAX, at least 2 * avg */
} shoal_chunk_params;

/* Instruction sets. The same bytes come out of all of them. */
typedef enum {
  SHOAL_CHUNK_SCALAR = 0,
  SHOAL_CHUNK_SSE41 = 1,
  SHOAL_CHUNK_AVX2 = 2,
  SHOAL_CHUNK_NEON = 3
} shoal_chunk_isa;

/* Whether this build and this processor can run `isa`. */
int shoal_chunk_has(shoal_chunk_isa isa);

/* The fastest instruction set that can run here. */
shoal_chunk_isa shoal_chunk_best(void);

#define SHOAL_CHUNK_EPARAMS (-1)   /* parameters out of bounds */
#define SHOAL_CHUNK_ESIZE (-2)     /* more than 2^31 - 1 bytes */
#define SHOAL_CHUNK_ECAPACITY (-3) /* `cuts` is too small; size / min + 1 entries always suffice */
#define SHOAL_CHUNK_EISA (-4)      /* `isa` cannot run here */

/* Writes the ends (offsets, exclusive) of the chunks in `data`, which begins where a chunk begins, to `cuts` and returns
 * how many there are. Unless `final`, the bytes after the last end are the beginning of a chunk whose end is not in
 * `data`; otherwise the last end is `size`. */
int64_t shoal_chunk_cuts(shoal_chunk_isa isa, const uint8_t* data, size_t size, const shoal_chunk_params* params,
                         int final, uint32_t* cuts, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
