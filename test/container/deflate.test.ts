import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, deflateRawSync, deflateSync, inflateRawSync, inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { content } from '../../fixtures/container/inputs.ts';
import type { ContentKind } from '../../fixtures/container/inputs.ts';
import { adler32, deflateStreams, zlibHead } from '../../src/container/deflate.ts';
import { EFFORTS, gnuDeflate } from '../../src/container/gnu-deflate.ts';
import { codingByte } from '../../src/container/streams.ts';
import { native } from '../../src/kernel/native.ts';
import { fc } from '../support/property.ts';

type Golden = readonly [kind: ContentKind, seed: number, size: number, level: number, memory: number, length: number, sha256: string];
const golden = JSON.parse(readFileSync(new URL('../../fixtures/container/zlib.json', import.meta.url), 'utf8')) as readonly Golden[];
const pako = createRequire(import.meta.url)('pako') as { readonly deflateRaw: (data: Uint8Array, options: object) => Uint8Array };

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
const twin = (data: Uint8Array, level: number, memLevel: number): Uint8Array => pako.deflateRaw(data, { level, memLevel, windowBits: 15 });

const work = new Uint8Array(2 * 2 ** 20);
const contents = new Map<string, Buffer>();
function known(seed: number, size: number, kind: ContentKind): Buffer {
  const key = `${kind} ${String(size)}`;
  const made = contents.get(key) ?? content(seed, size, kind);
  contents.set(key, made);
  return made;
}

/** One stream by the kernel, with room for `room` bytes. */
async function kernel(data: Uint8Array, level: number, memory: number, room: number): Promise<Uint8Array | undefined> {
  if (native === undefined) return undefined;
  const out = new Uint8Array(room);
  const made = new Uint32Array(1);
  expect(await native.deflateStreams(data, Uint32Array.of(data.length), out, Uint32Array.of(room), Uint16Array.of(level | (memory << 4)), made, work)).toBe(0);
  return made[0] === 2 ** 32 - 1 ? undefined : out.subarray(0, made[0]);
}

const gnu = JSON.parse(readFileSync(new URL('../../fixtures/container/gnu.json', import.meta.url), 'utf8')) as readonly Golden[];

describe('deflate', () => {
  test.skipIf(native === undefined)('the kernel makes what zlib 1.2.13 makes, at every level', async () => {
    const rooms = Uint32Array.from(golden, ([, , , , , length]) => length);
    const out = new Uint8Array(rooms.reduce((sum, length) => sum + length, 0));
    const made = new Uint32Array(golden.length);
    const data = Buffer.concat(golden.map(([kind, seed, size]) => known(seed, size, kind)));
    const settings = Uint16Array.from(golden, ([, , , level, memory]) => level | (memory << 4));
    expect(await native?.deflateStreams(data, Uint32Array.from(golden, ([, , size]) => size), out, rooms, settings, made, work)).toBe(0);
    let at = 0;
    const wrong = golden.filter(([, , , , , length, sha256], n) => made[n] !== length || hash(out.subarray(at, (at += length))) !== sha256);
    expect(wrong).toEqual([]);
  });

  test('so does its twin', () => {
    // The short ones and a few: it takes a hundred times as long.
    const some = golden.filter(([, , size], n) => size < 1000 || n % 60 === 0);
    expect(some.filter(([kind, seed, size, level, memory, length, sha256]) => {
      const made = twin(known(seed, size, kind), level, memory);
      return made.length !== length || hash(made) !== sha256;
    })).toEqual([]);
  });

  test.skipIf(native === undefined)('both make the same of anything, and the kernel writes nothing where there is no room', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 1, max: 20_000 })).map(([byte, count]) => new Uint8Array(count).fill(byte)),
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 500 })).map(([bytes, count]) => Buffer.concat(Array.from({ length: count }, () => bytes))),
      fc.tuple(fc.integer({ min: 1 }), fc.integer({ min: 0, max: 40_000 }), fc.constantFrom<ContentKind>('few', 'records', 'copies')).map(([seed, size, kind]) => content(seed, size, kind)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), async (pieces, level, memory) => {
        const data = Buffer.concat(pieces);
        const expected = twin(data, level, memory);
        const made = await kernel(data, level, memory, expected.length);
        expect(made !== undefined && Buffer.from(made).equals(expected)).toBe(true);
        expect(await kernel(data, level, memory, expected.length - 1)).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  test.skipIf(native === undefined)('the kernel makes what GNU gzip 1.12 makes', async () => {
    const rooms = Uint32Array.from(gnu, ([, , , , , length]) => length);
    const out = new Uint8Array(rooms.reduce((sum, length) => sum + length, 0));
    const made = new Uint32Array(gnu.length);
    const data = Buffer.concat(gnu.map(([kind, seed, size]) => known(seed, size, kind)));
    expect(await native?.deflateStreams(data, Uint32Array.from(gnu, ([, , size]) => size), out, rooms, Uint16Array.from(gnu, ([, , , level]) => level | (8 << 4) | 512), made, work)).toBe(0);
    let at = 0;
    expect(gnu.filter(([, , , , , length, sha256], n) => made[n] !== length || hash(out.subarray(at, (at += length))) !== sha256)).toEqual([]);
  });

  test('so does its twin, and some blocks end earlier than zlib\'s', () => {
    const some = gnu.filter(([, , size, level], n) => size < 1000 || (level < 9 && n % 3 === 0));
    expect(some.filter(([kind, seed, size, level, , length, sha256]) => {
      const made = gnuDeflate(known(seed, size, kind), level);
      return made.length !== length || hash(made) !== sha256;
    })).toEqual([]);
    expect(gnu.filter(([kind, seed, size, level, , , sha256]) => size === 98_000 && level === 6 && hash(twin(known(seed, size, kind), level, 9)) !== sha256).length).toBeGreaterThan(0);
  });

  test.skipIf(native === undefined)('both make the same of anything as GNU gzip would', async () => {
    const piece = fc.tuple(fc.integer({ min: 1 }), fc.integer({ min: 0, max: 60_000 }), fc.constantFrom<ContentKind>('few', 'records', 'copies', 'zeros', 'noise')).map(([seed, size, kind]) => content(seed, size, kind));
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 5 }), fc.integer({ min: 1, max: 9 }), async (pieces, level) => {
        const data = Buffer.concat(pieces);
        const expected = gnuDeflate(data, level);
        const out = new Uint8Array(expected.length);
        const made = new Uint32Array(1);
        expect(await native?.deflateStreams(data, Uint32Array.of(data.length), out, Uint32Array.of(out.length), Uint16Array.of(level | (8 << 4) | 512), made, work)).toBe(0);
        expect(Buffer.from(out).equals(expected)).toBe(true);
        expect(inflateRawSync(expected).equals(data)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test('streams are made into places of their own, with heads and checksums, and are refused where they do not fit', async () => {
    const contents = [content(1, 5000, 'records'), content(2, 70, 'noise'), content(3, 9000, 'copies')];
    const sizes = contents.map((each) => twin(each, 9, 8).length + 6);
    const codings = Uint8Array.from([9, 9, 9], (level) => codingByte({ level, memory: 8, zlib: true }));
    const places = Uint32Array.of(sizes[0] as number, (sizes[1] as number) - 1, sizes[2] as number);
    const out = Buffer.alloc(places.reduce((sum, size) => sum + size, 0));
    const fits = await deflateStreams(Buffer.concat(contents), Uint32Array.from(contents, ({ length }) => length), codings, out, places);
    expect(fits).toEqual([true, false, true]);
    expect(inflateSync(out.subarray(0, places[0])).equals(contents[0] as Buffer)).toBe(true);
    expect(inflateSync(out.subarray((places[0] as number) + (places[1] as number))).equals(contents[2] as Buffer)).toBe(true);
  });

  test('a level means the same to the kernel, to its twin and in the documents', () => {
    const numbers = (text: string): number[] => Array.from(text.matchAll(/\d+/g), ([each]) => Number(each));
    const source = readFileSync(new URL('../../native/deflate/effort.h', import.meta.url), 'utf8');
    const table = /kEfforts\[10\] = \{\{\},(.*?)\}\};/s.exec(source)?.[1] ?? '';
    expect(numbers(table)).toEqual(EFFORTS.slice(1).flat());
    const page = readFileSync(new URL('../../docs/containers.md', import.meta.url), 'utf8');
    const row = (name: string): number[] => numbers(page.split('\n').find((line) => line.startsWith(`| ${name} |`)) ?? '');
    expect(row('good, lazy')).toEqual(EFFORTS.slice(1).flatMap(([good, lazy]) => [good, lazy]));
    expect(row('nice, chain')).toEqual(EFFORTS.slice(1).flatMap(([, , nice, chain]) => [nice, chain]));
  });

  test.skipIf(native === undefined)('what a stream begins with is decoded where zlib decodes it, and refused where zlib refuses it, whatever follows', () => {
    const room = new Uint8Array(200_000);
    const made = fc.record({
      seed: fc.integer({ min: 1 }), size: fc.integer({ min: 0, max: 3000 }), kind: fc.constantFrom<ContentKind>('few', 'records', 'copies', 'zeros', 'noise'), level: fc.integer({ min: 0, max: 9 }),
      strategy: fc.constantFrom(constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE), zlib: fc.boolean(), behind: fc.uint8Array({ maxLength: 40 }),
      // Few edits near the beginning: that is where codes are described.
      edits: fc.array(fc.tuple(fc.oneof(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 2, max: 3000 })), fc.integer({ min: 0, max: 7 })), { maxLength: 3 }), cut: fc.integer({ min: 0, max: 100 }),
    });
    fc.assert(
      fc.property(made, ({ seed, size, kind, level, strategy, zlib, behind, edits, cut }) => {
        const stream = (zlib ? deflateSync : deflateRawSync)(content(seed, size, kind), { level, strategy });
        let bytes = Buffer.concat([stream, behind]);
        for (const [at, bit] of edits) if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << bit);
        if (cut < 5) bytes = bytes.subarray(0, Math.floor((bytes.length * cut) / 5));
        const found = new Uint32Array(2);
        const status = native?.inflateFirst(bytes, room, zlib, found);
        let expected: readonly [number, Buffer] | undefined;
        try {
          const { buffer, engine } = (zlib ? inflateSync : inflateRawSync)(bytes, { info: true, maxOutputLength: room.length }) as unknown as { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
          expected = [engine.bytesWritten, buffer];
        } catch {
          expected = undefined;
        }
        expect(status === 0).toBe(expected !== undefined);
        if (expected === undefined) return;
        expect([...found]).toEqual([expected[0], expected[1].length]);
        expect(expected[1].equals(room.subarray(0, found[1]))).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test('heads and checksums are those of RFC 1950', () => {
    expect([1, 5, 6, 9].map((level) => Buffer.from(zlibHead(level)).toString('hex'))).toEqual(['7801', '785e', '789c', '78da']);
    // Its own example, and one that wraps around.
    expect(adler32(Buffer.from('Wikipedia'))).toBe(0x11e60398);
    expect(adler32(new Uint8Array(100_000).fill(255))).toBe(0x149a302c);
  });
});
