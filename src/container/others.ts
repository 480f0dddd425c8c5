import { fitsDevice, readOnly, xzCoding, xzOf, zstdCoding, zstdOf } from './coding.ts';
import { compressStreams, decodeStream } from './codec.ts';
import { loadXz, xzAt } from './xz.ts';
import { hasZstd, loadAnyZstd, zstdAt } from './zstd.ts';

/** Streams that are not deflate: how they are found, and how it is found out what made them. */

/** Of RFC 8878, 3.1.1, and of the .xz format, 2.1.1.1. */
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const XZ_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);

/** Has to have been called before `otherAt` looks into `whole`: libraries are loaded for what there may be in it. */
export async function loadOthers(whole: Buffer): Promise<void> {
  await Promise.all([whole.includes(XZ_MAGIC) ? loadXz() : undefined, whole.includes(ZSTD_MAGIC) ? loadAnyZstd() : undefined]);
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

/** A stream, and what may have made it. */
export interface WaySearch {
  readonly bytes: Uint8Array;
  /** All that it says of how it was made. */
  readonly hint: number;
  readonly held: number;
  /** Tried first, in order. */
  readonly known: readonly number[];
  /** Whether all others that there are are tried as well. */
  readonly all: boolean;
}

export interface WayFound {
  /** Undefined where nothing gives the stream's very bytes. */
  readonly coding: number | undefined;
  readonly content: Uint8Array;
}

/** Looks for what made a stream by making it again. Takes as long as all that is tried. */
export async function findWay({ bytes, hint, held, known, all }: WaySearch): Promise<WayFound> {
  const content = new Uint8Array(held);
  if (!(await decodeStream(bytes, hint, content))) return { coding: undefined, content };
  const out = Buffer.allocUnsafeSlow(bytes.length);
  const makes = async (way: number): Promise<boolean> => (await compressStreams(content, Uint32Array.of(held), Uint32Array.of(way), out, Uint32Array.of(bytes.length)))[0] === true && out.equals(bytes);
  for (const way of known) if (await makes(way)) return { coding: way, content };
  if (all) for (const way of waysOf(hint, held)) if (!known.includes(way) && await makes(way)) return { coding: way, content };
  return { coding: undefined, content };
}

/** All that a stream with such a coding says of how it was made. */
export function says(coding: number): number {
  const zstd = zstdOf(coding);
  const xz = xzOf(coding);
  return zstd !== undefined ? zstdCoding({ ...zstd, level: 0, version: 0 }) : xz !== undefined ? xzCoding({ ...xz, effort: 0 }) : readOnly(coding);
}
