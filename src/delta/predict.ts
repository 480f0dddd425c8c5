import { ShoalError } from '../core/errors.ts';
import { native } from '../kernel/native.ts';
import type { NativeAddon } from '../kernel/native.ts';
import { PieceKind, TABLE } from './types.ts';
import type { Covers, Pieces } from './types.ts';

/** Reads up to `length` bytes at `position` into `buffer` from `offset` on; 0 bytes mean the end. A `FileHandle` is one. */
export interface BaseReader {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** Base bytes read ahead for one batch of covers, and gaps between them that are cheaper to read than to skip. */
const BATCH_BYTES = 2 * 1024 * 1024;
const JOIN_BYTES = 64 * 1024;
const LONG_BYTES = 128 * 1024;
/** Below this a loop copies faster than a call. */
const SHORT_BYTES = 48;

/** What predicting needs beside its result, kept from one segment to the next. */
export class Windows {
  readonly #free: Scratch[] = [];

  take(): Scratch {
    return this.#free.pop() ?? new Scratch();
  }

  give(scratch: Scratch): void {
    this.#free.push(scratch);
  }
}

/** Stretches of the base that a segment is predicted by, in columns: there may be a hundred thousand. */
class Scratch {
  readonly window = Buffer.allocUnsafeSlow(BATCH_BYTES);
  count = 0;
  base = new Float64Array(1024);
  at = new Uint32Array(1024);
  length = new Uint32Array(1024);

  push(base: number, at: number, length: number): void {
    if (this.count === this.base.length) {
      const base2 = new Float64Array(2 * this.count);
      base2.set(this.base);
      this.base = base2;
      const at2 = new Uint32Array(2 * this.count);
      at2.set(this.at);
      this.at = at2;
      const length2 = new Uint32Array(2 * this.count);
      length2.set(this.length);
      this.length = length2;
    }
    this.base[this.count] = base;
    this.at[this.count] = at;
    this.length[this.count++] = length;
  }
}

/**
 * Fills `into` with the prediction of target bytes [begin, begin + into.length) and says what predicts what. Reads the base
 * in few large pieces in ascending order, at most `BATCH_BYTES` (and one cover) at a time.
 *
 * @throws ShoalError `BASE_TOO_SHORT` when the base ends before a cover does
 */
export async function predict(covers: Covers, begin: number, into: Uint8Array, base: BaseReader, windows: Windows = new Windows()): Promise<Pieces> {
  return native === undefined ? predictPortably(covers, begin, into, base, windows) : predictNatively(native, covers, begin, into, base, windows);
}

/** A loop over thousands of covers is worth compiling to V8, which takes longer than to run it. */
async function predictNatively(addon: NativeAddon, covers: Covers, begin: number, into: Uint8Array, base: BaseReader, windows: Windows): Promise<Pieces> {
  const plan = await addon.deltaPlan(covers, begin, into);
  if (typeof plan === 'number') throw new ShoalError('DELTA_DAMAGED', 'covers of the delta are not in order', { retry: 'elsewhere' });
  const [pieces, reads, copies] = plan;
  const scratch = windows.take();
  try {
    let done = 0;
    for (let r = 0; r < reads.length; r += 3) {
      const pending: Promise<void>[] = [];
      for (; reads[r + 1] !== 0; r += 3) {
        const length = reads[r + 1] as number;
        const at = reads[r + 2] as number;
        pending.push(readExactly(base, at < 0 ? into.subarray(-1 - at, -1 - at + length) : scratch.window.subarray(at, at + length), reads[r] as number));
      }
      // Until the last has ended the window is not free.
      for (const result of await Promise.allSettled(pending)) if (result.status === 'rejected') throw result.reason;
      const end = reads[r + 2] as number;
      addon.deltaCopy(scratch.window, into, copies, done, end);
      done = end;
    }
  } finally {
    windows.give(scratch);
  }
  return pieces;
}

/** The same without the kernel. */
export async function predictPortably(covers: Covers, begin: number, into: Uint8Array, base: BaseReader, windows: Windows = new Windows()): Promise<Pieces> {
  const end = begin + into.length;
  const first = firstCover(covers, begin);
  let last = first;
  while (last < covers.length && (covers[last] as number) < end) last += 4;
  const pieces = new Uint32Array(((last - first) / 2 + 1) * 4);
  const scratch = windows.take();
  scratch.count = 0;
  let used = 0;
  let at = begin;
  const piece = (to: number, kind: number, position: number): void => {
    pieces[used] = to - at;
    pieces[used + 1] = kind;
    pieces[used + 2] = position % 2 ** 32;
    pieces[used + 3] = Math.floor(position / 2 ** 32);
    used += 4;
    at = to;
  };
  const literalTo = (to: number): void => {
    if (to <= at) return;
    into.fill(0, at - begin, to - begin);
    piece(to, PieceKind.LITERAL, 0);
  };
  try {
    for (let i = first; i < last; i += 4) {
      const target = covers[i] as number;
      const from = Math.max(begin, target);
      const to = Math.min(end, target + (covers[i + 1] as number));
      const fill = covers[i + 3] as number;
      literalTo(from);
      if (fill >= 0) {
        into.fill(fill, from - begin, to - begin);
        piece(to, PieceKind.FILL, 0);
        continue;
      }
      const position = (covers[i + 2] as number) + (from - target);
      piece(to, fill === TABLE ? PieceKind.TABLE : PieceKind.BASE, position);
      scratch.push(position, from - begin, to - from);
    }
    literalTo(end);
    await copyFrom(base, scratch, into);
  } finally {
    windows.give(scratch);
  }
  return pieces.subarray(0, used);
}

/** Index of the first cover that ends after `at`. */
function firstCover(covers: Covers, at: number): number {
  let low = 0;
  let high = covers.length / 4;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((covers[middle * 4] as number) + (covers[middle * 4 + 1] as number) <= at) low = middle + 1;
    else high = middle;
  }
  return low * 4;
}

/** Numbers of stretches by where they lie in the base: merges the runs that go up, of which there are few. */
function byBase({ base, count }: Scratch): Uint32Array {
  let order = new Uint32Array(count);
  let other = new Uint32Array(count);
  let ends: number[] = [];
  for (let i = 0; i < count; i++) {
    order[i] = i;
    if (i + 1 === count || (base[i + 1] as number) < (base[i] as number)) ends.push(i + 1);
  }
  while (ends.length > 1) {
    const merged: number[] = [];
    let begin = 0;
    for (let r = 0; r < ends.length; r += 2) {
      const middle = ends[r] as number;
      const end = ends[r + 1] ?? middle;
      let [a, b] = [begin, middle];
      for (let k = begin; k < end; k++) {
        const left = b >= end || (a < middle && (base[order[a] as number] as number) <= (base[order[b] as number] as number));
        other[k] = order[left ? a++ : b++] as number;
      }
      if (end === middle) other.set(order.subarray(begin, end), begin);
      merged.push(end);
      begin = end;
    }
    [order, other, ends] = [other, order, merged];
  }
  return order;
}

/**
 * All reads that fit into one window at the same time: what a read costs beside its bytes is waking up for it, and there may be
 * thousands of small ones.
 */
async function copyFrom(reader: BaseReader, scratch: Scratch, into: Uint8Array): Promise<void> {
  const { window, base, at, length } = scratch;
  const order = byBase(scratch);
  const place = (i: number): number => base[order[i] as number] as number;
  const size = (i: number): number => length[order[i] as number] as number;
  const shift = new Float64Array(order.length);
  for (let i = 0; i < order.length; ) {
    const reads: Promise<void>[] = [];
    const from = i;
    let used = 0;
    while (i < order.length) {
      const first = place(i);
      // Long covers go straight to their place.
      if (size(i) >= LONG_BYTES) {
        const to = at[order[i] as number] as number;
        reads.push(readExactly(reader, into.subarray(to, to + size(i)), first));
        shift[i++] = -1;
        continue;
      }
      let stop = first + size(i);
      let next = i + 1;
      for (; next < order.length; next++) {
        const here = place(next);
        const reach = Math.max(stop, here + size(next));
        if (size(next) >= LONG_BYTES || here > stop + JOIN_BYTES || reach - first > BATCH_BYTES) break;
        stop = reach;
      }
      if (used + (stop - first) > BATCH_BYTES) break;
      reads.push(readExactly(reader, window.subarray(used, used + stop - first), first));
      for (; i < next; i++) shift[i] = used + place(i) - first;
      used += stop - first;
    }
    // Until the last has ended the window is not free.
    for (const result of await Promise.allSettled(reads)) if (result.status === 'rejected') throw result.reason;
    for (let k = from; k < i; k++) {
      const source = shift[k] as number;
      if (source < 0) continue;
      const to = at[order[k] as number] as number;
      const bytes = size(k);
      if (bytes < SHORT_BYTES) for (let n = 0; n < bytes; n++) into[to + n] = window[source + n] as number;
      else window.copy(into, to, source, source + bytes);
    }
  }
}

async function readExactly(base: BaseReader, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await base.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) throw new ShoalError('BASE_TOO_SHORT', `the base ends at ${String(position + done)}, before the delta expects it`, { retry: 'never' });
    done += bytesRead;
  }
}

/** A base that is in memory. */
export function memoryBase(bytes: Uint8Array): BaseReader {
  return {
    read: (buffer, offset, length, position) => {
      const piece = bytes.subarray(position, position + length);
      buffer.set(piece, offset);
      return Promise.resolve({ bytesRead: piece.length });
    },
  };
}
