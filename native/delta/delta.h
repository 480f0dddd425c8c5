/* The delta kernel: matches a target against a base and codes what differs, segment by segment. Pure computation: no
 * I/O, no exceptions. Three parts make a delta: pages of the alignment map (what predicts what), segment payloads
 * (what the prediction got wrong), and the list of segments, which the caller writes in its manifest.
 *
 * A decoder reads map pages, fills a buffer with the prediction of one segment (base bytes, fill bytes, and later
 * what structure-aware predictors make of them: they work between the two calls), then corrects it in place. */
#ifndef SHOAL_DELTA_H
#define SHOAL_DELTA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_DELTA_MAX_SEGMENT (8u << 20)       /* target bytes one segment may make */
#define SHOAL_DELTA_MAX_UNIT (64u << 20)          /* target bytes whose map lies in one page */
#define SHOAL_DELTA_MAX_PAGE_COVERS (1u << 18)    /* covers one map page may hold */
#define SHOAL_DELTA_MAX_MAP_COVERS (1u << 18)     /* covers of a delta whose references are moved */
#define SHOAL_DELTA_MAX_PREREQUISITES 32u         /* earlier segments that one may need */
#define SHOAL_DELTA_MAX_SIZE ((uint64_t)1 << 37) /* bytes of a base or a target */

enum shoal_delta_status {
  SHOAL_DELTA_OK = 0,
  SHOAL_DELTA_BAD_ARGUMENT = 1,
  SHOAL_DELTA_DAMAGED = 2,
  SHOAL_DELTA_NO_MEMORY = 3,
  SHOAL_DELTA_CANCELLED = 4,
};

enum shoal_delta_codec {
  SHOAL_DELTA_COPY = 0,  /* the prediction is the target; no payload */
  SHOAL_DELTA_RAW = 1,   /* the payload is the target */
  SHOAL_DELTA_SITES = 2, /* the payload is modelled corrections and literals (docs/delta.md) */
  SHOAL_DELTA_MOVED = 4, /* the same, after references in the prediction were moved by rules at the payload's beginning */
};

/* Target bytes [target, target+length) resemble base bytes [base, base+length); if the top bit of `base` is set they
 * resemble a run of the byte in its lowest 8 bits instead; if the bit below is set, the stretch is pairs of 32-bit numbers
 * whose steps from pair to pair resemble those in the base. */
typedef struct {
  uint64_t target, base, length;
} shoal_delta_cover;

enum shoal_delta_piece_kind {
  SHOAL_DELTA_LITERAL = 0, /* no prediction */
  SHOAL_DELTA_BASE = 1,    /* base bytes */
  SHOAL_DELTA_FILL = 2,    /* a run of one byte value */
  SHOAL_DELTA_TABLE = 3,   /* base bytes that are pairs of 32-bit numbers going up together */
};

/* A stretch of a segment. `base` is where its first byte lies in the base; 0 unless kind is BASE or TABLE. */
typedef struct {
  uint32_t length, kind;
  uint64_t base;
} shoal_delta_piece;

/* Where the places of a base went, of all covers of a delta. */
typedef struct shoal_delta_shifts shoal_delta_shifts;

typedef struct {
  uint64_t target_begin, target_end; /* cut on span ends */
  uint64_t payload_offset;           /* in the result's payload bytes */
  uint32_t payload_size, codec, page;
} shoal_delta_segment;

typedef struct {
  uint64_t target_begin, target_end; /* whole segments */
  uint64_t offset;                   /* in the result's map bytes */
  uint32_t size, covers;
} shoal_delta_page;

/* Target bytes [at, at + held) took `size` bytes where they come from: places in executables around them count those. */
typedef struct {
  uint64_t at, held, size;
} shoal_delta_stream;

typedef struct {
  uint64_t memory_cap;      /* bytes the match index may take; 0: two per base byte */
  uint32_t segment_payload; /* estimated payload bytes at which a segment is closed, 262144 at most but of text; 0: 262144 */
  uint32_t threads;         /* 0 or 1: only the calling one; the result does not depend on it */
  volatile uint64_t* progress;     /* of about 3 * target_size; may be null; written atomically */
  const volatile uint32_t* cancel; /* non-zero: stop soon; may be null; read atomically */
  uint32_t plain;           /* non-zero: bytes alone, no tables, types, relocations or moved references */
  uint32_t look_back;       /* non-zero, without units: covers may show target bytes of earlier segments, as if they lay behind the base's end */
  /* When unit_count is not 0: every span is a segment, and pages end only where units do. Units are so many spans each, which
   * follow each other and are no longer than SHOAL_DELTA_MAX_UNIT together; the next unit may begin before the last one ends.
   * Segments and pages of the result count as if each span lay behind the one before. */
  const uint64_t* span_begins;
  const uint64_t* unit_spans;
  size_t unit_count;
  /* What of the target was compressed where it comes from. Ascending, without overlap, within the target. */
  const shoal_delta_stream* streams;
  size_t stream_count;
  /* Begins and ends of base bytes that the index leaves out, by turns: ascending, within the base. */
  const uint64_t* skips;
  size_t skip_count; /* numbers, an even one */
} shoal_delta_options;

typedef struct {
  const shoal_delta_segment* segments;
  const shoal_delta_page* pages;
  const uint8_t* payloads;
  const uint8_t* map;
  size_t segment_count, page_count, payload_size, map_size;
  void* owner;
} shoal_delta_result;

/* span_ends: strictly ascending (with units: ascending), the last one target_size, no span longer than SHOAL_DELTA_MAX_SEGMENT.
 * On success `result` must be released. */
int32_t shoal_delta_encode(const uint8_t* base, uint64_t base_size, const uint8_t* target, uint64_t target_size,
                           const uint64_t* span_ends, size_t span_count, const shoal_delta_options* options,
                           shoal_delta_result* result);
void shoal_delta_release(shoal_delta_result* result);

/* Every cover written lies in [target_begin, target_end) and in the base, in order, without overlap. */
int32_t shoal_delta_decode_page(const uint8_t* page, size_t size, uint64_t target_begin, uint64_t target_end,
                                uint64_t base_size, shoal_delta_cover* covers, size_t cover_count);

/* Of all covers of all pages, in order; what codec MOVED needs. NULL: no memory, or more than SHOAL_DELTA_MAX_MAP_COVERS. */
shoal_delta_shifts* shoal_delta_shifts_make(const shoal_delta_cover* covers, size_t count, uint64_t base_size);
void shoal_delta_shifts_release(shoal_delta_shifts* shifts);

/* `buffer` holds the prediction (zeros where there is none) and receives the target. The pieces add up to `size` and lie in
 * the base. `origin` is the lower 32 bits of the segment's first target byte. `shifts` may be null unless codec is MOVED.
 * Wrong bytes from a damaged payload are the caller's to find by their hash; nothing is read or written outside. */
int32_t shoal_delta_decode_segment(uint32_t codec, const uint8_t* payload, size_t payload_size, uint8_t* buffer,
                                   size_t size, uint32_t origin, const shoal_delta_piece* pieces, size_t piece_count,
                                   const shoal_delta_shifts* shifts);

/* What a payload's bytes are spent on, for people. `buffer` holds the prediction and becomes `target`, what the segment makes.
 * `ends`: where stretches of the segment end, ascending, the last one `size`. `bits`: 4 for each stretch, by kind of piece.
 * `rules` receives the bytes of the payload before its corrections. */
int32_t shoal_delta_spent(uint32_t codec, const uint8_t* payload, size_t payload_size, uint8_t* buffer, const uint8_t* target, size_t size,
                          uint32_t origin, const shoal_delta_piece* pieces, size_t piece_count, const shoal_delta_shifts* shifts,
                          const uint32_t* ends, size_t end_count, double* bits, uint64_t* rules);

#ifdef __cplusplus
}
#endif

#endif
