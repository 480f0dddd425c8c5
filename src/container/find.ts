import { crc32 } from 'node:zlib';
import { CONTAINER_MAX_HELD, CONTAINER_MAX_SIZE, CONTAINER_MAX_STREAMS } from '../core/limits.ts';
import { beginsBlock } from './block-heads.ts';
import { inflateFirst } from './deflate.ts';
import { loadOthers, mayBeginOther, otherAt } from './others.ts';
import { StreamList, codingByte } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * Finds compressed streams anywhere in an artifact, by what they begin with: zlib's (squashfs, cramfs, JFFS2, PNG, packs), gzip
 * members, entries of zip archives, zstd frames, xz streams. Nothing of the container around them is read, so none has to be known. A stream counts
 * if it decodes and its checksum is right.
 */

/** Streams shorter than this gain nothing. */
const LEAST_BYTES = 96;
/** So many bytes are decoded at most for each byte of the artifact: what looks like a stream everywhere takes no longer. */
const MOST_DECODED = 64;
/** What a place that only looks like one counts for: most are seen through within some bytes. */
const FAILED_BYTES = 8 * 1024;
/** Bytes between two looks at `signal`. */
const STRETCH_BYTES = 4 * 1024 * 1024;

export interface FindOptions {
  readonly signal?: AbortSignal;
  /** Called with what each stream holds, in order; the bytes change afterwards. */
  readonly onContent?: (content: Uint8Array) => void;
}

/** The streams in `bytes`, each with the level that it is likely to have, which nobody has tried. */
export async function findStreams(bytes: Uint8Array, { signal, onContent }: FindOptions = {}): Promise<Streams> {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new StreamList();
  // Nothing of it is touched beyond what streams hold.
  const room = Buffer.allocUnsafeSlow(CONTAINER_MAX_HELD);
  await loadOthers(whole);
  let budget = MOST_DECODED * whole.length + CONTAINER_MAX_HELD;
  let paused = 0;
  const beginnings = new Beginnings(whole);
  for (let at = 0; at + LEAST_BYTES <= whole.length && found.length < CONTAINER_MAX_STREAMS && budget > 0; ) {
    if (at - paused > STRETCH_BYTES) {
      paused = at;
      await new Promise(setImmediate);
      signal?.throwIfAborted();
    }
    at = beginnings.after(at, Math.min(whole.length - LEAST_BYTES, paused + STRETCH_BYTES) + 1);
    const first = whole[at];
    if (first !== undefined && mayBeginOther(first)) {
      const other = otherAt(whole, at);
      budget -= other?.content.length ?? 0;
      const gains = other !== undefined && other.size >= LEAST_BYTES && other.content.length > other.size;
      if (gains) {
        found.add(at, other.size, other.content.length, other.coding);
        onContent?.(other.content);
      }
      at += gains ? other.size : 1;
      continue;
    }
    const head = first === 0x78 ? zlibHeadAt(whole, at) : first === 0x1f ? gzipHeadAt(whole, at) : first === 0x50 ? zipHeadAt(whole, at) : undefined;
    const stream = head === undefined ? undefined : decode(whole, head, room);
    budget -= stream?.content.length ?? (head === undefined ? 0 : FAILED_BYTES);
    if (head === undefined || stream === undefined || stream.size < LEAST_BYTES || stream.content.length <= stream.size) {
      at++;
      continue;
    }
    found.add(head.at, stream.size, stream.content.length, codingByte({ level: head.level, memory: 8, zlib: head.zlib }));
    onContent?.(stream.content);
    at = head.at + stream.size;
  }
  return found.end();
}

/** What heads begin with: zlib's with a right check and no dictionary, gzip's, zip's, zstd's, xz's. */
const HEADS = [[0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda], [0x1f, 0x8b, 8], [0x50, 0x4b, 3, 4], [0x28, 0xb5, 0x2f, 0xfd], [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]].map((bytes) => Buffer.from(bytes));
const LONGEST_HEAD = 6;

/** Where heads may begin. Each is looked for by itself, by what finds bytes fastest: text is full of first bytes, and a loop over all takes three times as long. */
class Beginnings {
  readonly #whole: Buffer;
  #window: Buffer;
  #end = -1;
  readonly #next: number[] = HEADS.map(() => -1);

  constructor(whole: Buffer) {
    this.#whole = whole;
    this.#window = whole;
  }

  /** The first place from `at` on, before `end`; or `end`. `at` and `end` do not fall. */
  after(at: number, end: number): number {
    if (end !== this.#end) {
      this.#end = end;
      this.#window = this.#whole.subarray(0, end + LONGEST_HEAD - 1);
      this.#next.fill(-1);
    }
    let first = end;
    for (const [n, head] of HEADS.entries()) {
      if ((this.#next[n] as number) < at) {
        const found = this.#window.indexOf(head, at);
        this.#next[n] = found < 0 ? Infinity : found;
      }
      first = Math.min(first, this.#next[n] as number);
    }
    return first;
  }
}

/** A place where a stream may begin. */
interface Head {
  readonly at: number;
  readonly zlib: boolean;
  /** What its container says of the level. */
  readonly level: number;
  /** Of what it holds; undefined where it follows the stream in gzip's way, null where nobody knows. */
  readonly checksum: number | undefined | null;
}

function zlibHeadAt(whole: Buffer, at: number): Head | undefined {
  const flags = whole[at + 1] as number;
  // No dictionary, and the check of the two bytes (RFC 1950, 2.2).
  if ((flags & 32) !== 0 || (0x7800 + flags) % 31 !== 0 || !beginsBlock(whole, at + 2)) return undefined;
  return { at, zlib: true, level: [1, 5, 6, 9][flags >> 6] ?? 9, checksum: null };
}

function gzipHeadAt(whole: Buffer, at: number): Head | undefined {
  if (whole[at + 1] !== 0x8b || whole[at + 2] !== 8) return undefined;
  const flags = whole[at + 3] as number;
  if (flags > 31) return undefined;
  let place = at + 10;
  if ((flags & 4) !== 0 && place + 2 <= whole.length) place += 2 + whole.readUInt16LE(place);
  // A name and a comment, each up to a zero byte.
  for (const bit of [8, 16]) {
    if ((flags & bit) === 0) continue;
    const end = whole.indexOf(0, place);
    if (end < 0 || end - place > 4096) return undefined;
    place = end + 1;
  }
  if ((flags & 2) !== 0) place += 2;
  if (!beginsBlock(whole, place)) return undefined;
  const effort = whole[at + 8];
  return { at: place, zlib: false, level: effort === 2 ? 9 : effort === 4 ? 1 : 6, checksum: undefined };
}

function zipHeadAt(whole: Buffer, at: number): Head | undefined {
  if (at + 30 > whole.length || whole.readUInt32LE(at) !== 0x04034b50 || whole.readUInt16LE(at + 8) !== 8) return undefined;
  const flags = whole.readUInt16LE(at + 6);
  const place = at + 30 + whole.readUInt16LE(at + 26) + whole.readUInt16LE(at + 28);
  // Encrypted entries are not read. Bit 3: the checksum follows in a descriptor.
  if ((flags & 1) !== 0 || !beginsBlock(whole, place)) return undefined;
  return { at: place, zlib: false, level: (flags & 6) === 2 ? 9 : (flags & 6) === 0 ? 6 : 1, checksum: (flags & 8) === 0 ? whole.readUInt32LE(at + 14) : null };
}

function decode(whole: Buffer, { at, zlib, checksum }: Head, room: Uint8Array): { readonly size: number; readonly content: Uint8Array } | undefined {
  const stream = inflateFirst(whole.subarray(at, at + CONTAINER_MAX_SIZE), zlib, room);
  if (stream === undefined || zlib || checksum === null) return stream;
  const { size, content } = stream;
  const sum = checksum ?? (at + size + 8 <= whole.length ? whole.readUInt32LE(at + size) : -1);
  return crc32(content) === sum ? stream : undefined;
}
