import { familyOf, fitsDevice, readOnly, xzCoding, xzOf, zstdCoding, zstdOf } from './coding.ts';
import { compressStreams, decodeStream } from './codec.ts';
import type { Streams } from './streams.ts';
import { loadXz, xzAt } from './xz.ts';
import { hasZstd, loadZstd, zstdAt } from './zstd.ts';

/** Streams that are not deflate: how they are found, and how it is found out what made them. */

/** Has to have been called before `otherAt`. */
export async function loadOthers(): Promise<void> {
  await Promise.all([loadZstd(), loadXz()]);
}

/** A stream that was found. */
export interface FoundStream {
  readonly size: number;
  /** Changes when the next is looked for. */
  readonly content: Uint8Array;
  /** All that it says of how it was made, with a level or effort of 0. */
  readonly coding: number;
}

const ZSTD_FIRST = 0x28;
const XZ_FIRST = 0xfd;

/** Whether a zstd frame or xz stream may begin with this byte. */
export function mayBeginOther(first: number): boolean {
  return first === ZSTD_FIRST || first === XZ_FIRST;
}

export function otherAt(whole: Buffer, at: number): FoundStream | undefined {
  if (whole[at] === ZSTD_FIRST) {
    const frame = zstdAt(whole, at);
    return frame === undefined ? undefined : { size: frame.size, content: frame.content, coding: zstdCoding({ level: 0, version: 0, checksum: frame.checksum }) };
  }
  const stream = xzAt(whole, at);
  return stream === undefined ? undefined : { size: stream.size, content: stream.content, coding: xzCoding({ effort: 0, ...stream.coding }) };
}

/** Levels and efforts, likeliest first: mksquashfs's default, zstd's, and those that people ask for. */
const ZSTD_LEVELS = [15, 3, 19, 22, 9, 1, 18, 12, 10, 6, 5, 4, 2, 7, 8, 11, 13, 14, 16, 17, 20, 21];
const XZ_EFFORTS = [7, 9, 6, 8, 5, 4, 3, 2, 1];

/** All ways that may have made what says so much of itself. */
function* waysOf(hint: number, held: number): Generator<number> {
  const zstd = zstdOf(hint);
  const xz = xzOf(hint);
  if (zstd !== undefined) {
    for (const level of ZSTD_LEVELS) {
      for (const version of [0, 1] as const) {
        const way = zstdCoding({ ...zstd, level, version });
        if (hasZstd(version) && fitsDevice(way, held)) yield way;
      }
    }
  } else if (xz !== undefined) for (const effort of XZ_EFFORTS) yield xzCoding({ ...xz, effort });
}

/** Content for which all ways are tried that there are; afterwards only those that have been right. */
const SEARCHED_BYTES = 2 * 1024 * 1024;
/** Different codings in one delta: fewer than the manifest's table has room for. */
const MOST_WAYS = 100;

export interface ProvenOther {
  readonly n: number;
  readonly coding: number;
  /** Changes afterwards. */
  readonly content: Uint8Array;
}

/** What made each of the streams `numbers`, found out by making it again; nothing of those for which no way gives their very bytes. */
export async function* proveOthers(whole: Uint8Array, streams: Streams, numbers: readonly number[], signal?: AbortSignal): AsyncGenerator<ProvenOther> {
  // Newest first: one program made them all, mostly.
  let right: number[] = [];
  const ways = new Set<number>();
  const searched = new Map<string | undefined, number>();
  for (const n of numbers) {
    signal?.throwIfAborted();
    const [at, size, held, hint] = [streams.at[n] as number, streams.size[n] as number, streams.held[n] as number, streams.coding[n] as number];
    const content = Buffer.allocUnsafeSlow(held);
    const bytes = whole.subarray(at, at + size);
    if (!(await decodeStream(bytes, hint, content))) continue;
    const out = Buffer.allocUnsafeSlow(size);
    const makes = async (way: number): Promise<boolean> => (await compressStreams(content, Uint32Array.of(held), Uint32Array.of(way), out, Uint32Array.of(size)))[0] === true && out.equals(bytes);
    const known = right.filter((way) => says(way) === says(hint));
    let coding: number | undefined;
    for (const way of known) if (coding === undefined && await makes(way)) coding = way;
    const family = familyOf(hint);
    const done = searched.get(family) ?? 0;
    if (coding === undefined && done < SEARCHED_BYTES && ways.size < MOST_WAYS) {
      // Sooner or later all ways are tried: what is right at once costs nothing.
      for (const way of waysOf(hint, held)) if (coding === undefined && !known.includes(way) && await makes(way)) coding = way;
      if (coding === undefined || known.length > 0) searched.set(family, done + held);
    }
    if (coding === undefined) continue;
    ways.add(coding);
    right = [coding, ...right.filter((way) => way !== coding)];
    yield { n, coding, content };
  }
}

/** All that a stream with such a coding says of how it was made. */
function says(coding: number): number {
  const zstd = zstdOf(coding);
  const xz = xzOf(coding);
  return zstd !== undefined ? zstdCoding({ ...zstd, level: 0, version: 0 }) : xz !== undefined ? xzCoding({ ...xz, effort: 0 }) : readOnly(coding);
}
