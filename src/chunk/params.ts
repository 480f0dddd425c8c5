import { ShoalError } from '../core/errors.ts';
import { CHUNK_MAX_BYTES, CHUNK_MIN_BYTES } from '../core/limits.ts';
import type { ChunkingRecord } from '../core/manifest.ts';

/** The only algorithm so far; docs/chunking.md defines it. */
export const CHUNK_ALGORITHM = 'shoal-comb-1';

/** What `publish` uses. With these ratios (1/2 : 1 : 4) the mean on random data is within 2 % of `avg`. */
export const DEFAULT_CHUNKING: ChunkingRecord = {
  algorithm: CHUNK_ALGORITHM,
  min: 32 * 1024,
  avg: 64 * 1024,
  max: 256 * 1024,
};

/** Below this the looser rule would pass every candidate (docs/chunking.md, "Parameters"). */
const CHUNK_LEAST_AVG = 16 * 1024;

/**
 * Checks parameters, which may come from a manifest, and returns them.
 *
 * @throws ShoalError `CHUNK_ALGORITHM` for an algorithm this program does not know
 * @throws ShoalError `CHUNK_PARAMS` for sizes out of bounds
 */
export function checkChunking(params: ChunkingRecord): ChunkingRecord {
  const { algorithm, min, avg, max } = params;
  if (algorithm !== CHUNK_ALGORITHM) {
    throw new ShoalError('CHUNK_ALGORITHM', `the chunking algorithm "${algorithm.slice(0, 80)}" is not known; this program knows ${CHUNK_ALGORITHM}`, {
      hint: 'Update Shoal, or fetch without a local base.',
    });
  }
  const whole = [min, avg, max].every(Number.isSafeInteger);
  if (!whole || min < CHUNK_MIN_BYTES || avg < Math.max(min, CHUNK_LEAST_AVG) || max > CHUNK_MAX_BYTES || max < 2 * avg) {
    throw new ShoalError(
      'CHUNK_PARAMS',
      `chunk sizes min ${String(min)}, avg ${String(avg)}, max ${String(max)} are not usable: ${String(CHUNK_MIN_BYTES)} ≤ min ≤ avg, ${String(CHUNK_LEAST_AVG)} ≤ avg, 2 × avg ≤ max ≤ ${String(CHUNK_MAX_BYTES)}`,
    );
  }
  return params;
}
