import { ShoalError } from '../core/errors.ts';

/** What a process needs beside the two files and the index: Node (70 MiB), two segments being coded, what is proven. Measured. */
const BESIDE_BYTES = 144 * 1024 * 1024;
const LEAST_INDEX_BYTES = 1024 * 1024;

/**
 * How much the index of the base may take within `memoryBytes` for everything. `besides`: bytes that the caller needs for
 * other things meanwhile.
 *
 * @throws ShoalError `MEMORY_CAP` when the two files alone are too much; `ids` say how much is needed
 */
export function indexBudget(memoryBytes: number, baseSize: number, targetSize: number, what = 'these files', besides = 0): number {
  const needed = baseSize + targetSize + besides + BESIDE_BYTES + LEAST_INDEX_BYTES;
  if (memoryBytes < needed) {
    throw new ShoalError('MEMORY_CAP', `diffing ${what} takes ${mebibytes(needed)} of memory at least, because both are held there (${mebibytes(baseSize)} and ${mebibytes(targetSize)}); ${mebibytes(memoryBytes)} are allowed`, {
      ids: { needed, allowed: memoryBytes },
    });
  }
  return memoryBytes - needed + LEAST_INDEX_BYTES;
}

function mebibytes(bytes: number): string {
  return `${String(Math.ceil(bytes / 2 ** 20))} MiB`;
}
