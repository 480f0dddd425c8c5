/* BLAKE3-256 (github.com/BLAKE3-team/BLAKE3-specs) of many pieces at once: leaves of neighbouring pieces share the lanes of
 * one vector, so that short pieces cost no more than long ones. Pure functions over caller-owned memory; the only allocation
 * is scratch of 1/16 of the largest group of pieces, freed before they return. */
#ifndef SHOAL_HASH_H
#define SHOAL_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_HASH_BYTES 32
/* Most bytes in one piece. */
#define SHOAL_HASH_MOST 67108864u

/* Instruction sets. The same hashes come out of all of them. */
typedef enum {
  SHOAL_HASH_SCALAR = 0,
  SHOAL_HASH_SSE41 = 1,
  SHOAL_HASH_AVX2 = 2,
  SHOAL_HASH_NEON = 3,
  SHOAL_HASH_AVX512 = 4
} shoal_hash_isa;

/* Whether this build and this processor can run `isa`. */
int shoal_hash_has(shoal_hash_isa isa);

/* The fastest instruction set that can run here. */
shoal_hash_isa shoal_hash_best(void);

#define SHOAL_HASH_OK 0
#define SHOAL_HASH_ESIZE (-1)   /* a piece of more than SHOAL_HASH_MOST bytes */
#define SHOAL_HASH_EMEMORY (-2) /* no scratch memory */
#define SHOAL_HASH_EISA (-3)    /* `isa` cannot run here */

/* Writes the hashes of `count` pieces of `lengths` bytes, which lie one after another in `data`, to `out`:
 * SHOAL_HASH_BYTES each. `data` has the sum of `lengths`. */
int shoal_hash_pieces(shoal_hash_isa isa, const uint8_t* data, const uint32_t* lengths, size_t count, uint8_t* out);

#ifdef __cplusplus
}
#endif
#endif
