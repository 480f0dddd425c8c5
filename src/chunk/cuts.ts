import { ShoalError } from '../core/errors.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { native } from '../kernel/native.ts';
import { checkChunking } from './params.ts';
import { portableCuts } from './portable.ts';

/** The most bytes in one scan, so that it stays a synchronous call of about a millisecond. Longer input: `Chunker`. */
export const SCAN_MAX_BYTES = 8 * 1024 * 1024;

/** What can scan: the twin, or one instruction set of the native kernel. All find the same cuts. */
export const SCANNERS = ['scalar', 'sse4.1', 'avx2', 'neon', 'portable'] as const;
export type Scanner = (typeof SCANNERS)[number];

/** The scanners that can run here, slowest first. */
export function availableScanners(): readonly Scanner[] {
  const isas = native?.chunkIsas() ?? 0;
  return ['portable', ...SCANNERS.filter((_, isa) => isa < 4 && (isas & (1 << isa)) !== 0)];
}

const best: Scanner = availableScanners().at(-1) ?? 'portable';

/** The scanner that runs unless another one is asked for. */
export const defaultScanner: Scanner = best;

/**
 * All chunk ends (exclusive offsets) in `data`, which begins where a chunk begins. The bytes after the last end are the
 * beginning of a chunk whose end is not in `data`: put them before the next bytes. With `final` the last end is the end
 * of `data`.
 *
 * @param data at most `SCAN_MAX_BYTES`
 * @throws ShoalError `CHUNK_SCAN_SIZE` when `data` is longer, and as `checkChunking` does
 */
export function findCuts(data: Uint8Array, params: ChunkingRecord, final: boolean, scanner: Scanner = best): Uint32Array {
  checkChunking(params);
  if (data.length > SCAN_MAX_BYTES) {
    throw new ShoalError('CHUNK_SCAN_SIZE', `${String(data.length)} bytes are too many for one scan; the most is ${String(SCAN_MAX_BYTES)}`);
  }
  const { min, avg, max } = params;
  const cuts = new Uint32Array(Math.floor(data.length / min) + 1);
  const isa = SCANNERS.indexOf(scanner);
  if (scanner === 'portable') return cuts.subarray(0, portableCuts(data, params, final, cuts));
  if (native === undefined) throw new ShoalError('TIER_UNAVAILABLE', `the scanner ${scanner} needs the native kernels, which are not loaded`);
  return cuts.subarray(0, native.chunkCuts(data, min, avg, max, final, cuts, isa));
}
