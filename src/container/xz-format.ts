import { crc32 } from 'node:zlib';
import type { XzCoding } from './coding.ts';

/**
 * The .xz format (version 1.2.1), as far as streams of one block go: what lies around the LZMA2 data, and what LZMA2 says of
 * itself. Nothing is decompressed.
 */

export interface XzFormat {
  /** Bytes of the whole stream. */
  readonly size: number;
  /** What it says it holds. */
  readonly held: number;
  readonly coding: Omit<XzCoding, 'effort'>;
  /** Where the LZMA2 data, padding and check of its block begin and end, from the stream's beginning. */
  readonly data: readonly [number, number];
  /** Of that, LZMA2 data without padding, and the check. */
  readonly packed: number;
  readonly checkBytes: number;
}

const MAGIC = Buffer.from('fd377a585a00', 'hex');
const HEAD_BYTES = 12;
const FOOT_BYTES = 12;
const LZMA2 = 0x21;
/** By kind of check; the format knows more than are used. */
const CHECK_BYTES: Readonly<Record<number, number>> = { 0: 0, 1: 4, 4: 8, 10: 32 };
const HAS_PACKED = 64;
const HAS_HELD = 128;

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

/** Reads numbers of up to 63 bits in groups of seven; NaN past the end. */
class Numbers {
  at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = this.#bytes[this.at++] ?? NaN;
      value += (byte & 127) * scale;
      if (!(byte >= 128)) return Number.isNaN(byte) ? NaN : value;
    }
    return NaN;
  }
}

/** The stream of one block that begins at `at`; undefined where none does. */
export function readXz(whole: Buffer, at: number): XzFormat | undefined {
  if (at + HEAD_BYTES + 8 > whole.length || !whole.subarray(at, at + MAGIC.length).equals(MAGIC) || whole[at + 6] !== 0) return undefined;
  const check = whole[at + 7] as number;
  const checkBytes = CHECK_BYTES[check];
  if (checkBytes === undefined || crc32(whole.subarray(at + 6, at + 8)) !== whole.readUInt32LE(at + 8)) return undefined;
  const head = readBlockHead(whole, at + HEAD_BYTES);
  if (head === undefined) return undefined;
  const begin = at + HEAD_BYTES + head.bytes;
  const inside = walkLzma2(whole, begin);
  if (inside === undefined || (head.packed ?? inside.packed) !== inside.packed || (head.held ?? inside.held) !== inside.held) return undefined;
  const end = begin + padded(inside.packed) + checkBytes;
  const index = new Numbers(whole, end);
  // An index has a zero, the number of blocks, and two sizes of each.
  if (index.next() !== 0 || index.next() !== 1 || index.next() !== head.bytes + inside.packed + checkBytes || index.next() !== inside.held) return undefined;
  const size = end - at + padded(index.at - end) + 4 + FOOT_BYTES;
  if (at + size > whole.length || whole.readUInt16LE(at + size - 2) !== 0x5a59) return undefined;
  return { size, held: inside.held, coding: { check, dictionary: head.dictionary, filter: head.filter, sizes: head.packed !== undefined, ...inside.properties }, data: [begin - at, end - at], packed: inside.packed, checkBytes };
}

interface BlockHead {
  readonly bytes: number;
  readonly packed: number | undefined;
  readonly held: number | undefined;
  readonly dictionary: number;
  readonly filter: number;
}

function readBlockHead(whole: Buffer, at: number): BlockHead | undefined {
  const bytes = ((whole[at] as number) + 1) * 4;
  const flags = whole[at + 1] as number;
  const filters = (flags & 3) + 1;
  // Both sizes or none, and no bits that the format does not have.
  if (bytes < 8 || at + bytes > whole.length || (flags & 0x3c) !== 0 || filters > 2 || ((flags & HAS_PACKED) === 0) !== ((flags & HAS_HELD) === 0)) return undefined;
  if (crc32(whole.subarray(at, at + bytes - 4)) !== whole.readUInt32LE(at + bytes - 4)) return undefined;
  const numbers = new Numbers(whole, at + 2);
  const packed = (flags & HAS_PACKED) === 0 ? undefined : numbers.next();
  const held = (flags & HAS_HELD) === 0 ? undefined : numbers.next();
  let filter = 0;
  if (filters === 2) {
    filter = numbers.next();
    // Where it begins may be said; nobody does.
    if (numbers.next() !== 0) return undefined;
  }
  if (numbers.next() !== LZMA2 || numbers.next() !== 1) return undefined;
  return { bytes, packed, held, dictionary: numbers.next(), filter };
}

interface Walked {
  readonly packed: number;
  readonly held: number;
  readonly properties: Pick<XzCoding, 'lc' | 'lp' | 'pb'>;
}

/** Of the first chunk that has any; those of all others are the same. */
const USUAL = { lc: 3, lp: 0, pb: 2 };

function walkLzma2(whole: Buffer, begin: number): Walked | undefined {
  let at = begin;
  let held = 0;
  let properties: Walked['properties'] | undefined;
  for (;;) {
    const control = whole[at];
    if (control === undefined) return undefined;
    if (control === 0) return { packed: at + 1 - begin, held, properties: properties ?? USUAL };
    if (at + 6 > whole.length) return undefined;
    if (control < 128) {
      if (control > 2) return undefined;
      const bytes = whole.readUInt16BE(at + 1) + 1;
      held += bytes;
      at += 3 + bytes;
      continue;
    }
    held += ((control & 31) << 16) + whole.readUInt16BE(at + 1) + 1;
    const bytes = whole.readUInt16BE(at + 3) + 1;
    // Above 191 a chunk brings its properties along.
    if (control >= 0xc0) {
      const byte = whole[at + 5] as number;
      properties ??= { lc: byte % 9, lp: Math.floor(byte / 9) % 5, pb: Math.floor(byte / 45) };
    }
    at += (control >= 0xc0 ? 6 : 5) + bytes;
  }
}

/** Writes numbers as `Numbers` reads them. */
function number(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

/** Bytes, zeros up to a multiple of four, and the CRC32 of all that. */
function sealed(bytes: readonly number[]): Buffer {
  const out = Buffer.alloc(padded(bytes.length) + 4);
  out.set(bytes);
  out.writeUInt32LE(crc32(out.subarray(0, -4)), out.length - 4);
  return out;
}

/** The same stream without sizes in its block's head; undefined where `stream` is none. */
export function withoutSizes(stream: Uint8Array): Uint8Array | undefined {
  const whole = Buffer.from(stream.buffer, stream.byteOffset, stream.byteLength);
  const read = readXz(whole, 0);
  if (read === undefined) return undefined;
  const { coding: { filter, dictionary }, packed, held, data, checkBytes } = read;
  const fields = [filter === 0 ? 0 : 1, ...(filter === 0 ? [] : [filter, 0]), LZMA2, 1, dictionary];
  const head = sealed([padded(1 + fields.length) / 4, ...fields]);
  const index = sealed([0, 1, ...number(head.length + packed + checkBytes), ...number(held)]);
  const foot = Buffer.alloc(FOOT_BYTES);
  foot.writeUInt32LE(index.length / 4 - 1, 4);
  whole.copy(foot, 8, 6, 8);
  foot.writeUInt32LE(crc32(foot.subarray(4, 10)), 0);
  foot.write('YZ', 10, 'latin1');
  return Buffer.concat([whole.subarray(0, HEAD_BYTES), head, whole.subarray(...data), index, foot]);
}
