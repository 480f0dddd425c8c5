/* Memory that is a file without a name: what is not being used lies in the file, not in the process. For inputs that are
 * larger than the memory a process may take. Linux only. No exceptions; the only kernel that does I/O, because it is memory. */
#ifndef SHOAL_SCRATCH_H
#define SHOAL_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `size` bytes (more than 0), zeros at first, in a file that is made at `path` and at once has no name any more. All its
 * blocks are reserved, so that no write fails later. NULL: not possible, errno says why. */
uint8_t* shoal_scratch_make(const char* path, size_t size);
void shoal_scratch_release(uint8_t* bytes, size_t size);

/* From now on pages of all scratch memory leave the process when it has more than `bytes` in memory, which is looked at every
 * two milliseconds and more often near the limit; 0: no longer. What they hold is not lost. False: this system does not say how much a process has. */
int shoal_scratch_keep_below(uint64_t bytes);

/* For whoever reads scratch memory, so that the bound holds however seldom the thread above comes to run: looks now, and says how
 * many bytes may be touched until the next call; a touch of a page that is missing counts as SHOAL_SCRATCH_TOUCH. Any thread. */
size_t shoal_scratch_check(void);

/* What one page that is missing may bring. */
#define SHOAL_SCRATCH_TOUCH ((size_t)65536)

#ifdef __cplusplus
}
#endif

#endif
