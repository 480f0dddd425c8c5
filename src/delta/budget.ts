import { ShoalError } from '../core/errors.ts';

/** What a process needs beside the two files and the index: Node, the chunker, the store, the payloads being made. */
const BESIDE_BYTES = 96 * 1024 * 1024;
const LEAST_INDEX_BYTES = 1024 * 1024;

/** What diffing two files takes at least, both of them in memory. Bytes. */
export function leastDiffMemory(baseSize: number, targetSize: number): number {
  return baseSize + targetSize + BESIDE_BYTES + LEAST_INDEX_BYTES;
}

/**
 * How much the index of the base may take within `memoryBytes` for everything.
 *
 * @throws ShoalError `MEMORY_CAP` when the two files alone are too much; `ids` say how much is needed
 */
export function indexBudget(memoryBytes: number, baseSize: number, targetSize: number, what = 'these files'): number {
  const needed = leastDiffMemory(baseSize, targetSize);
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
