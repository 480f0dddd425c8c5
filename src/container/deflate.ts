import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { inflateRaw, inflateRawSync, inflateSync } from 'node:zlib';
import { ShoalError } from '../core/errors.ts';
import { native } from '../kernel/native.ts';
import { gnuDeflate } from './gnu-deflate.ts';
import { codingOf } from './streams.ts';
import type { Coding } from './streams.ts';

/**
 * Deflate whose bytes never change: those of zlib 1.2.13 (and all before and after it that compress alike) or of GNU gzip, whatever zlib
 * this program runs on. Two tiers: our own kernel (native/deflate), and pako 2.1.0, a port of zlib to JavaScript, pinned to the
 * very version since later ones compress otherwise (docs/decisions/0040-containers.md), with a twin of our own for GNU gzip's.
 */

/** Bytes of RFC 1950's head and checksum. */
const HEAD_BYTES = 2;
const CHECKSUM_BYTES = 4;
const OK = 0;

interface Pako {
  deflateRaw(data: Uint8Array, options: { readonly level: number; readonly memLevel: number; readonly windowBits: number }): Uint8Array;
}

let pako: Pako | undefined;

function portable(data: Uint8Array, level: number, memLevel: number): Uint8Array {
  pako ??= createRequire(import.meta.url)('pako') as Pako;
  return pako.deflateRaw(data, { level, memLevel, windowBits: 15 });
}

/**
 * Codes streams that lie one after another in `data`, `held` bytes each, into `out`, one after another, each in a place of its own
 * of `sizes` bytes. Returns for each whether it fills its place exactly; where not, what is there is nothing to go by.
 *
 * @param codings of `Coding`; a level of 0 makes nothing
 * @throws ShoalError `BAD_DELTA` when a stream is longer than any may be
 */
export async function deflateStreams(data: Uint8Array, held: Uint32Array, codings: Uint8Array, out: Uint8Array, sizes: Uint32Array): Promise<readonly boolean[]> {
  const made = native === undefined ? await viaPako(data, held, codings, out, sizes) : await viaNative(native, data, held, codings, out, sizes);
  return Array.from(sizes, (size, n) => made[n] === size && (codingOf(codings[n] as number)?.level ?? 0) > 0);
}

async function viaNative(addon: NonNullable<typeof native>, data: Uint8Array, held: Uint32Array, codings: Uint8Array, out: Uint8Array, sizes: Uint32Array): Promise<Uint32Array> {
  const made = new Uint32Array(held.length);
  const settings = Uint16Array.from(codings, (byte) => {
    const { level, memory, zlib, gnu } = codingOf(byte) ?? NO_CODING;
    return Math.max(1, level) | (memory << 4) | (zlib ? 256 : 0) | (gnu === true ? 512 : 0);
  });
  const work = workMemory.pop() ?? new Uint8Array(WORK_BYTES);
  try {
    const status = await addon.deflateStreams(data, held, out, sizes, settings, made, work);
    if (status !== OK) throw new ShoalError('BAD_DELTA', `streams of this delta cannot be made (status ${String(status)})`, { retry: 'elsewhere' });
  } finally {
    if (workMemory.length < WORK_KEPT) workMemory.push(work);
  }
  return made;
}

async function viaPako(data: Uint8Array, held: Uint32Array, codings: Uint8Array, out: Uint8Array, sizes: Uint32Array): Promise<readonly number[]> {
  const made: number[] = [];
  let from = 0;
  let to = 0;
  for (const [n, bytes] of held.entries()) {
    const { level, memory, zlib, gnu } = codingOf(codings[n] as number) ?? NO_CODING;
    const content = data.subarray(from, from + bytes);
    const raw = level === 0 ? new Uint8Array(0) : gnu === true ? gnuDeflate(content, level) : portable(content, level, memory);
    const size = raw.length + (zlib ? HEAD_BYTES + CHECKSUM_BYTES : 0);
    if (size === sizes[n]) {
      out.set(raw, to + (zlib ? HEAD_BYTES : 0));
      if (zlib) wrap(out, to, size, level, content);
    }
    made.push(size);
    from += bytes;
    to += sizes[n] as number;
    // Tens of milliseconds each: let others run in between.
    await new Promise(setImmediate);
  }
  return made;
}

/** SHOAL_DEFLATE_WORK of native/deflate/deflate.h, kept for the next calls: memory that comes and goes is garbage for a while. */
const WORK_BYTES = 2 * 1024 * 1024;
const WORK_KEPT = 2;
const workMemory: Uint8Array[] = [];

const NO_CODING: Coding = { level: 0, memory: 8, zlib: false };

/** RFC 1950: what zlib writes around deflate with a window of 32 KiB. */
function wrap(out: Uint8Array, at: number, size: number, level: number, data: Uint8Array): void {
  out.set(zlibHead(level), at);
  const sum = adler32(data);
  for (let n = 0; n < CHECKSUM_BYTES; n++) out[at + size - 1 - n] = (sum >>> (8 * n)) & 255;
}

export function zlibHead(level: number): readonly [number, number] {
  const effort = level < 2 ? 0 : level < 6 ? 1 : level === 6 ? 2 : 3;
  const flags = effort << 6;
  return [0x78, flags + 31 - ((0x7800 + flags) % 31)];
}

/** RFC 1950, 8.2. */
export function adler32(data: Uint8Array): number {
  let a = 1;
  let b = 0;
  // So many bytes go by before either can exceed 32 bits.
  for (let at = 0; at < data.length; ) {
    const end = Math.min(at + 3800, data.length);
    for (; at < end; at++) {
      a += data[at] as number;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

const inflateLater = promisify(inflateRaw) as (bytes: Uint8Array, options: object) => Promise<Buffer>;
/** Decoding this much takes less than a millisecond: no thread is worth it. */
const AT_ONCE_BYTES = 128 * 1024;

/**
 * Decodes one stream into `out`, which it fills exactly. Does not look at checksums: what is made of it is hashed.
 *
 * @returns false when `bytes` are no such stream
 */
export async function inflateStream(bytes: Uint8Array, zlib: boolean, out: Uint8Array): Promise<boolean> {
  if (zlib && bytes.length < HEAD_BYTES + CHECKSUM_BYTES) return false;
  const raw = zlib ? bytes.subarray(HEAD_BYTES, bytes.length - CHECKSUM_BYTES) : bytes;
  if (native !== undefined) return (out.length <= AT_ONCE_BYTES ? native.inflate(raw, out, false) : await native.inflate(raw, out, true)) === OK;
  let content: Buffer;
  try {
    content = await inflateLater(raw, { maxOutputLength: out.length, chunkSize: Math.max(64, out.length) });
  } catch {
    // Whatever zlib found wrong: it is no such stream.
    return false;
  }
  if (content.length !== out.length) return false;
  out.set(content);
  return true;
}

interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

const found = new Uint32Array(2);

/**
 * Decodes the stream that `bytes` begin with, whatever follows; with `zlib` head and checksum are looked at.
 *
 * @param room for what it holds; the result may lie in it
 * @returns undefined when it is none, or holds more than there is room for
 */
export function inflateFirst(bytes: Uint8Array, zlib: boolean, room: Uint8Array): { readonly size: number; readonly content: Uint8Array } | undefined {
  if (native !== undefined) {
    const status = native.inflateFirst(bytes, room, zlib, found);
    return status === OK ? { size: found[0] as number, content: room.subarray(0, found[1]) } : undefined;
  }
  try {
    // The types do not know `info`.
    const { buffer, engine } = (zlib ? inflateSync : inflateRawSync)(bytes, { info: true, maxOutputLength: room.length }) as unknown as Inflated;
    return { size: engine.bytesWritten, content: buffer };
  } catch {
    // Looked like one and is none, or holds too much: as good as any other bytes.
    return undefined;
  }
}
