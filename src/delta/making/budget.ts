import { ShoalError } from '../../core/errors.ts';

/** What a process needs beside the two files and the index: Node (70 MiB), two segments being coded, what is proven. Measured. */
const BESIDE_BYTES = 144 * 1024 * 1024;
const LEAST_INDEX_BYTES = 1024 * 1024;
/** Of the two files, what should be in memory at a time, and what comes in before some of it goes. */
const WINDOW_BYTES = 96 * 1024 * 1024;
const SLACK_BYTES = 32 * 1024 * 1024;
/** Of each byte of the two files: what matching and coding them takes beside the index. Measured. */
const SHARE_BESIDE = 1 / 12;

/** How to diff within a cap. */
export interface MemoryPlan {
  readonly indexBytes: number;
  /** The files do not fit: they lie in scratch memory, and the process is kept below this. */
  readonly below?: number;
}

/**
 * How the index of the base, and the two files, fit into `memoryBytes` for everything. `besides`: bytes that the caller needs for
 * other things meanwhile. `scratch`: whether files can lie outside of memory.
 *
 * @throws ShoalError `MEMORY_CAP` when it is too little; `ids` say how much is needed
 */
export function memoryPlan(memoryBytes: number, baseSize: number, targetSize: number, scratch: boolean, what = 'these files', besides = 0): MemoryPlan {
  const whole = baseSize + targetSize + besides + BESIDE_BYTES;
  if (memoryBytes >= whole + LEAST_INDEX_BYTES) return { indexBytes: memoryBytes - whole };
  const outside = Math.ceil((baseSize + targetSize) * SHARE_BESIDE) + besides + BESIDE_BYTES + WINDOW_BYTES + SLACK_BYTES;
  if (scratch && memoryBytes >= outside + LEAST_INDEX_BYTES) return { indexBytes: memoryBytes - outside, below: memoryBytes - SLACK_BYTES };
  const needed = (scratch ? Math.min(outside, whole) : whole) + LEAST_INDEX_BYTES;
  throw new ShoalError('MEMORY_CAP', `diffing ${what} (${mebibytes(baseSize)} and ${mebibytes(targetSize)}) takes ${mebibytes(needed)} of memory at least; ${mebibytes(memoryBytes)} are allowed`, {
    ids: { needed, allowed: memoryBytes },
  });
}

function mebibytes(bytes: number): string {
  return `${String(Math.ceil(bytes / 2 ** 20))} MiB`;
}
