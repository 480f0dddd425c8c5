import { ShoalError } from '../core/errors.ts';
import { PieceKind, TABLE } from './types.ts';
import type { Covers } from './kernel.ts';
import type { Piece } from './types.ts';

/** Reads up to `length` bytes at `position` into `buffer` from `offset` on; 0 bytes mean the end. A `FileHandle` is one. */
export interface BaseReader {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** Base bytes read ahead for one batch of covers, and gaps between them that are cheaper to read than to skip. */
const BATCH_BYTES = 4 * 1024 * 1024;
const JOIN_BYTES = 64 * 1024;
const LONG_BYTES = 256 * 1024;

/** Buffers that reads of the base share, so that their number does not follow the garbage collector. */
export class Windows {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES);
  }

  give(window: Buffer): void {
    this.#free.push(window);
  }
}

interface Copy {
  readonly base: number;
  readonly at: number;
  readonly length: number;
}

/**
 * Fills `into` with the prediction of target bytes [begin, begin + into.length) and says what predicts what. Reads the base
 * in few large pieces, at most `BATCH_BYTES` (and one cover) at a time.
 *
 * @throws ShoalError `BASE_TOO_SHORT` when the base ends before a cover does
 */
export async function predict(covers: Covers, begin: number, into: Uint8Array, base: BaseReader, windows: Windows = new Windows()): Promise<Piece[]> {
  const end = begin + into.length;
  const pieces: Piece[] = [];
  let copies: Copy[] = [];
  let batch = 0;
  let at = begin;
  const literalTo = (to: number): void => {
    if (to <= at) return;
    into.fill(0, at - begin, to - begin);
    pieces.push({ length: to - at, kind: PieceKind.LITERAL, base: 0 });
  };
  for (let i = firstCover(covers, begin); i < covers.length; i += 4) {
    const target = covers[i] as number;
    if (target >= end) break;
    const from = Math.max(begin, target);
    const to = Math.min(end, target + (covers[i + 1] as number));
    const fill = covers[i + 3] as number;
    literalTo(from);
    at = to;
    if (fill >= 0) {
      into.fill(fill, from - begin, to - begin);
      pieces.push({ length: to - from, kind: PieceKind.FILL, base: 0 });
      continue;
    }
    const position = (covers[i + 2] as number) + (from - target);
    pieces.push({ length: to - from, kind: fill === TABLE ? PieceKind.TABLE : PieceKind.BASE, base: position % 2 ** 32 });
    if (batch > 0 && batch + (to - from) > BATCH_BYTES) {
      await copyFrom(base, copies, into, windows);
      copies = [];
      batch = 0;
    }
    copies.push({ base: position, at: from - begin, length: to - from });
    batch += to - from;
  }
  literalTo(end);
  await copyFrom(base, copies, into, windows);
  return pieces;
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

/**
 * All reads that fit into one window at the same time: what a read costs beside its bytes is waking up for it, and there may be
 * thousands of small ones.
 */
async function copyFrom(base: BaseReader, copies: readonly Copy[], into: Uint8Array, windows: Windows): Promise<void> {
  const sorted = [...copies].sort((a, b) => a.base - b.base);
  const window = windows.take();
  try {
    for (let i = 0; i < sorted.length; ) {
      const reads: Promise<void>[] = [];
      const small: { readonly copy: Copy; readonly from: number }[] = [];
      let used = 0;
      while (i < sorted.length) {
        const first = sorted[i] as Copy;
        // Long covers go straight to their place.
        if (first.length >= LONG_BYTES) {
          reads.push(readExactly(base, into.subarray(first.at, first.at + first.length), first.base));
          i++;
          continue;
        }
        let stop = first.base + first.length;
        let next = i + 1;
        for (; next < sorted.length; next++) {
          const copy = sorted[next] as Copy;
          const reach = Math.max(stop, copy.base + copy.length);
          if (copy.length >= LONG_BYTES || copy.base > stop + JOIN_BYTES || reach - first.base > BATCH_BYTES) break;
          stop = reach;
        }
        if (used + (stop - first.base) > BATCH_BYTES) break;
        reads.push(readExactly(base, window.subarray(used, used + stop - first.base), first.base));
        for (; i < next; i++) {
          const copy = sorted[i] as Copy;
          small.push({ copy, from: used + copy.base - first.base });
        }
        used += stop - first.base;
      }
      // Until the last has ended the window is not free.
      for (const result of await Promise.allSettled(reads)) if (result.status === 'rejected') throw result.reason;
      for (const { copy, from } of small) window.copy(into, copy.at, from, from + copy.length);
    }
  } finally {
    windows.give(window);
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
