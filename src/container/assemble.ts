import { ShoalError } from '../core/errors.ts';
import { compressStreams } from './codec.ts';
import type { Part } from './layout.ts';
import type { Streams } from './streams.ts';

/** Content that is compressed in one call, and calls at a time. */
const CALL_BYTES = 2 * 1024 * 1024;
const LANES = 2;

/**
 * Makes target bytes from a part's expanded bytes: those that fall into `into`, which begins at target byte `begin`.
 *
 * @throws ShoalError `DELTA_WRONG` when a stream does not come out with the length that it should have; `BAD_DELTA`
 */
export async function assemble(streams: Streams, { items }: Part, expanded: Uint8Array, into: Uint8Array, begin: number): Promise<void> {
  const calls: (() => Promise<void>)[] = [];
  let run: number[] = [];
  let from = 0;
  let at = 0;
  const close = (): void => {
    const [numbers, first, last] = [run, from, at];
    if (numbers.length > 0) calls.push(() => compress(streams, numbers, expanded.subarray(first, last), into, begin));
    run = [];
  };
  for (const { stream, at: place, length } of items) {
    if (stream < 0) {
      close();
      into.set(expanded.subarray(at, at + length), place - begin);
    } else {
      // Those that cross the segment's ends go through memory of their own: one stream rather than many.
      const crosses = place < begin || place + (streams.size[stream] as number) > begin + into.length;
      if (run.length === 0 || crosses || at + length - from > CALL_BYTES) {
        close();
        from = at;
      }
      run.push(stream);
      if (crosses) {
        at += length;
        close();
        continue;
      }
    }
    at += length;
  }
  close();
  // Each has 2 MiB of memory to work in, and there may be a hundred short ones.
  const lane = async (): Promise<void> => {
    for (let call = calls.shift(); call !== undefined; call = calls.shift()) await call();
  };
  for (const result of await Promise.allSettled(Array.from({ length: LANES }, lane))) if (result.status === 'rejected') throw result.reason;
}

/** Streams whose content lies one after another in `data`, and they themselves in the target. */
async function compress(streams: Streams, numbers: readonly number[], data: Uint8Array, into: Uint8Array, begin: number): Promise<void> {
  const sizes = Uint32Array.from(numbers, (n) => streams.size[n] as number);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const at = (streams.at[numbers[0] as number] as number) - begin;
  // A stream may cross the ends of the segment.
  const inside = at >= 0 && at + total <= into.length;
  const out = inside ? into.subarray(at, at + total) : Buffer.allocUnsafeSlow(total);
  const fits = await compressStreams(data, Uint32Array.from(numbers, (n) => streams.held[n] as number), Uint32Array.from(numbers, (n) => streams.coding[n] as number), out, sizes);
  const wrong = fits.indexOf(false);
  if (wrong >= 0) throw new ShoalError('DELTA_WRONG', `stream ${String(numbers[wrong])} of the target does not come out as it should`, { ids: { stream: numbers[wrong] ?? 0 }, retry: 'elsewhere' });
  if (!inside) into.set(out.subarray(Math.max(0, -at), Math.min(total, into.length - at)), Math.max(0, at));
}
