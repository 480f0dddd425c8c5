import { createRequire } from 'node:module';
import { ShoalError } from '../core/errors.ts';
import { native } from '../kernel/native.ts';
import { codingOf } from './streams.ts';

/**
 * Deflate whose bytes never change: those of zlib 1.2.13 (and all before and after it that compress alike), whatever zlib this
 * program runs on. Two tiers: our own kernel (native/deflate), and pako 2.1.0, a port of zlib to JavaScript, pinned to the
 * very version since later ones compress otherwise (docs/decisions/0040-containers.md).
 */

/** Bytes of RFC 1950's head and checksum. */
const HEAD_BYTES = 2;
const CHECKSUM_BYTES = 4;
const LONGER = 2 ** 32 - 1;

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
 * @throws ShoalError `NO_MEMORY`
 */
export async function deflateStreams(data: Uint8Array, held: Uint32Array, codings: Uint8Array, out: Uint8Array, sizes: Uint32Array): Promise<readonly boolean[]> {
  const made = await rawDeflate(data, held, codings, out, sizes);
  let from = 0;
  let to = 0;
  return made.map((length, n) => {
    const [bytes, size] = [held[n] as number, sizes[n] as number];
    const coding = codingOf(codings[n] as number);
    const around = coding?.zlib === true ? HEAD_BYTES + CHECKSUM_BYTES : 0;
    const fits = coding !== undefined && length + around === size;
    if (fits && coding.zlib) wrap(out, to, size, coding.level, data.subarray(from, from + bytes));
    from += bytes;
    to += size;
    return fits;
  });
}

/** Raw deflate where it lies in the end: behind a head where there is one. */
async function rawDeflate(data: Uint8Array, held: Uint32Array, codings: Uint8Array, out: Uint8Array, sizes: Uint32Array): Promise<readonly number[]> {
  const place = (n: number): { readonly level: number; readonly memory: number; readonly head: number; readonly room: number } => {
    const coding = codingOf(codings[n] as number);
    const around = coding?.zlib === true ? HEAD_BYTES + CHECKSUM_BYTES : 0;
    const size = sizes[n] as number;
    if (coding === undefined || coding.level === 0 || size <= around) return { level: 1, memory: 8, head: 0, room: 0 };
    return { level: coding.level, memory: coding.memory, head: coding.zlib ? HEAD_BYTES : 0, room: size - around };
  };
  if (native === undefined) {
    const made: number[] = [];
    let from = 0;
    let to = 0;
    for (const [n, bytes] of held.entries()) {
      const { level, memory, head, room } = place(n);
      const raw = room === 0 ? undefined : portable(data.subarray(from, from + bytes), level, memory);
      if (raw !== undefined && raw.length <= room) out.set(raw, to + head);
      made.push(raw === undefined || raw.length > room ? LONGER : raw.length);
      from += bytes;
      to += sizes[n] as number;
      // Tens of milliseconds each: let others run in between.
      await new Promise(setImmediate);
    }
    return made;
  }
  const rooms = new Uint32Array(held.length);
  const settings = new Uint8Array(held.length);
  let used = 0;
  for (let n = 0; n < held.length; n++) {
    const { level, memory, room } = place(n);
    rooms[n] = room;
    settings[n] = level | (memory << 4);
    used += room;
  }
  const raw = Buffer.allocUnsafeSlow(used);
  const made = new Uint32Array(held.length);
  const status = await native.deflateStreams(data, held, raw, rooms, settings, made);
  if (status !== 0) throw new ShoalError('NO_MEMORY', 'no memory to compress what a delta made', { retry: 'again' });
  let from = 0;
  let to = 0;
  for (let n = 0; n < held.length; n++) {
    const { head, room } = place(n);
    if (room > 0 && (made[n] as number) <= room) raw.copy(out, to + head, from, from + (made[n] as number));
    from += room;
    to += sizes[n] as number;
  }
  return Array.from(made);
}

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
