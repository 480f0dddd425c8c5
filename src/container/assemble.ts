import { ShoalError } from '../core/errors.ts';
import { deflateStreams } from './deflate.ts';
import type { Part } from './layout.ts';
import type { Streams } from './streams.ts';

/** Content that is compressed in one call: two run beside each other. */
const CALL_BYTES = 2 * 1024 * 1024;

/**
 * Makes target bytes from a part's expanded bytes: those that fall into `into`, which begins at target byte `begin`.
 *
 * @throws ShoalError `DELTA_WRONG` when a stream does not come out with the length that it should have; `NO_MEMORY`
 */
export async function assemble(streams: Streams, { items }: Part, expanded: Uint8Array, into: Uint8Array, begin: number): Promise<void> {
  const calls: Promise<void>[] = [];
  let run: number[] = [];
  let from = 0;
  let at = 0;
  const close = (): void => {
    if (run.length > 0) calls.push(compress(streams, run, expanded.subarray(from, at), into, begin));
    run = [];
  };
  for (const { stream, at: place, length } of items) {
    if (stream < 0) {
      close();
      into.set(expanded.subarray(at, at + length), place - begin);
    } else {
      if (run.length === 0 || at + length - from > CALL_BYTES) {
        close();
        from = at;
      }
      run.push(stream);
    }
    at += length;
  }
  close();
  for (const result of await Promise.allSettled(calls)) if (result.status === 'rejected') throw result.reason;
}

/** Streams whose content lies one after another in `data`. */
async function compress(streams: Streams, numbers: readonly number[], data: Uint8Array, into: Uint8Array, begin: number): Promise<void> {
  const sizes = Uint32Array.from(numbers, (n) => streams.size[n] as number);
  const out = Buffer.allocUnsafeSlow(sizes.reduce((sum, size) => sum + size, 0));
  const fits = await deflateStreams(data, Uint32Array.from(numbers, (n) => streams.held[n] as number), Uint8Array.from(numbers, (n) => streams.coding[n] as number), out, sizes);
  let from = 0;
  for (const [i, n] of numbers.entries()) {
    if (fits[i] !== true) throw new ShoalError('DELTA_WRONG', `stream ${String(n)} of the target does not come out as it should`, { ids: { stream: n }, retry: 'elsewhere' });
    const size = sizes[i] as number;
    const at = (streams.at[n] as number) - begin;
    const [first, last] = [Math.max(0, -at), Math.min(size, into.length - at)];
    into.set(out.subarray(from + first, from + last), at + first);
    from += size;
  }
}
