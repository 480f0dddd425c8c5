import { constants, deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { random, relinked } from '../../fixtures/delta/inputs.ts';
import { beginsBlock } from '../../src/container/block-heads.ts';
import { findStreams } from '../../src/container/find.ts';
import { proveStreams } from '../../src/container/prove.ts';
import { codingOf } from '../../src/container/streams.ts';
import { isShoalError } from '../../src/core/errors.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { DeltaApplier } from '../../src/delta/apply.ts';
import { deltaFileParts, openDeltaFile } from '../../src/delta/file.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { DeltaInput, MadeDelta } from '../../src/delta/making/made.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { Codec } from '../../src/delta/types.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { compressible, image } from '../../fixtures/container/image.ts';
import type { ImagePart } from '../../fixtures/container/image.ts';
import { fc } from '../support/property.ts';

const input = (bytes: Uint8Array): DeltaInput => ({ root: idFromBytes(blake3(bytes)), bytes });
const BLOCK = 16 * 1024;

/** A file system: content in blocks, each compressed alone, tables between them. */
function blocks(content: Uint8Array, level = 9): ImagePart[] {
  const parts: ImagePart[] = [{ bytes: compressible(7, 96) }];
  for (let at = 0; at < content.length; at += BLOCK) parts.push({ bytes: content.subarray(at, at + BLOCK), level }, ...(at % (5 * BLOCK) === 0 ? [{ bytes: compressible(at, 40) }] : []));
  return parts;
}

function spanEnds(size: number, step: number): number[] {
  const ends: number[] = [];
  for (let at = step; at < size; at += step) ends.push(at);
  return [...ends, size];
}

async function rebuild(made: MadeDelta, base: Uint8Array): Promise<Buffer> {
  const file = Buffer.concat([...deltaFileParts(made)]);
  const delta = await openDeltaFile(memoryBase(file), file.length);
  expect(delta.outlineBytes + [...made.objects.values()].reduce((sum, { length }) => sum + length, 0)).toBe(file.length);
  const applier = new DeltaApplier(delta.outline, delta, memoryBase(base));
  const parts: Uint8Array[] = [];
  // In any order.
  for (const number of [...applier.segments.keys()].reverse()) parts.unshift(await applier.segment(number));
  await applier.settle();
  return Buffer.concat(parts);
}

const before = compressible(1, 20 * BLOCK);
const after = relinked(2, before, 12);
const base = image(blocks(before));
const target = image(blocks(after));

describe('deltas between compressed images', () => {
  test('are made of what the streams hold: a part of the delta of the images as they are', async () => {
    const ends = spanEnds(target.length, 30_000);
    const made = await makeDelta(input(base), input(target), ends);
    const plain = await makeDelta(input(base), input(target), ends, { containers: false });
    const content = await makeDelta(input(before), input(after), spanEnds(after.length, 100_000));
    expect(made.manifest.views?.target.at.length).toBeGreaterThan(15);
    expect(made.manifest.segments.some(({ codec }) => codec === Codec.PARTS)).toBe(true);
    expect(made.bytes).toBeLessThan(plain.bytes / 5);
    // What the list of streams and the blocks at the ends of segments add is more in an image of 20 blocks than in one of thousands.
    expect(made.bytes).toBeLessThan(2 * content.bytes);
    expect((await rebuild(made, base)).equals(target)).toBe(true);
    expect(made.census.made).toBeGreaterThan(target.length / 2);
  });

  test('streams that did not change are copied as they are', async () => {
    const some = blocks(before);
    some[9] = { bytes: compressible(99, BLOCK), level: 9 };
    const changed = image([...some, { bytes: compressible(98, 4 * BLOCK), level: 6 }]);
    const made = await makeDelta(input(base), input(changed), spanEnds(changed.length, 30_000));
    expect(made.manifest.views?.target.at.length).toBe(2);
    expect(made.census.unchanged).toBeGreaterThan(made.census.found / 2);
    expect((await rebuild(made, base)).equals(changed)).toBe(true);
  });

  test('streams that nothing makes again stay as they are, between others that are made', async () => {
    // Codes of fixed lengths only: no level of zlib's or GNU gzip's does that to text that codes of its own make shorter.
    const mixed = (content: Uint8Array): Buffer => Buffer.concat(Array.from({ length: 12 }, (_, n) => {
      const piece = content.subarray(n * BLOCK, (n + 1) * BLOCK);
      return n % 3 === 1 ? deflateSync(piece, { level: 9, strategy: constants.Z_FIXED }) : image([{ bytes: piece, level: 9 }, { bytes: compressible(n, 50) }]);
    }));
    const [old, next] = [mixed(before), mixed(after)];
    const made = await makeDelta(input(old), input(next), spanEnds(next.length, 30_000));
    const streams = (await findStreams(next)).at.length;
    expect(streams).toBe(12);
    expect(made.manifest.views?.target.at.length).toBe(8);
    expect(made.manifest.views?.base.at.length).toBe(12);
    expect((await rebuild(made, old)).equals(next)).toBe(true);
  });

  test('what the streams of the base hold goes behind it where there is room, and nothing else is touched', async () => {
    const ends = spanEnds(target.length, 30_000);
    const held = (await findStreams(base)).held.reduce((sum, bytes) => sum + bytes, 0);
    const room = Buffer.alloc(base.length + held + 100, 77);
    base.copy(room);
    const wide = { ...input(room.subarray(0, base.length)), roomBehind: held };
    const made = await makeDelta(wide, input(target), ends);
    expect(Buffer.concat([...deltaFileParts(made)]).equals(Buffer.concat([...deltaFileParts(await makeDelta(input(base), input(target), ends))]))).toBe(true);
    expect(room.subarray(0, base.length).equals(base)).toBe(true);
    expect(room.subarray(base.length + held).every((byte) => byte === 77)).toBe(true);
    expect(room.subarray(base.length, base.length + held).every((byte) => byte === 77)).toBe(false);
  });

  test('what nothing makes shorter lies in short segments: a device has memory for what they make and for as long a payload', async () => {
    const next = random(8);
    const MiB = 2 ** 20;
    const noise = Buffer.from(Uint8Array.from({ length: 4 * MiB }, () => next() >>> 11));
    const zeros = Buffer.alloc(MiB);
    const whole = Buffer.concat([target, Buffer.alloc(2 * MiB - target.length), noise, zeros]);
    const made = await makeDelta(input(base), input(whole), spanEnds(whole.length, MiB));
    expect(made.manifest.views).toBeDefined();
    expect(made.manifest.segments.map(({ length }) => length / MiB)).toEqual([4, 2, 1]);
    expect((await rebuild(made, base)).equals(whole)).toBe(true);
  });

  test('gzip members and other levels too', async () => {
    const pack = (content: Uint8Array): Buffer => image([{ bytes: content.subarray(0, 90_000), level: 6, gzip: true }, { bytes: content.subarray(90_000, 180_000), level: 1, gzip: true }, { bytes: content.subarray(180_000, 250_000), level: 4 }]);
    const [old, next] = [pack(before), pack(after)];
    const made = await makeDelta(input(old), input(next), spanEnds(next.length, 50_000));
    expect(made.manifest.views?.target.at.length).toBe(3);
    expect((await rebuild(made, old)).equals(next)).toBe(true);
    const found = await findStreams(next);
    const proven = await proveStreams(next, found, () => true);
    expect([...proven.coding].map((byte) => codingOf(byte)?.level)).toEqual([6, 1, 4]);
  });

  test('a drifted stream of the base costs the segments that need it, and is told before a payload is fetched', async () => {
    // Zeros that make a segment of their own.
    const longer = Buffer.concat([target, Buffer.alloc(8 * 2 ** 20)]);
    const made = await makeDelta(input(base), input(longer), [...spanEnds(target.length, 30_000), target.length + 2 ** 22, longer.length]);
    const damaged = Buffer.from(base);
    const at = made.manifest.views?.base.at[6] ?? 0;
    damaged[at + 100] = (damaged[at + 100] as number) ^ 255;
    const asked: string[] = [];
    const applier = new DeltaApplier(made.manifest, { object: (id) => { asked.push(id); return Promise.resolve(made.objects.get(id) ?? new Uint8Array(0)); } }, memoryBase(damaged));
    let drifted = 0;
    for (const number of applier.segments.keys()) {
      const { begin, length } = applier.segments[number] as (typeof applier.segments)[number];
      try {
        await applier.probe(number, Buffer.alloc(length));
      } catch (error) {
        expect(isShoalError(error, 'BASE_DRIFTED')).toBe(true);
        drifted++;
        continue;
      }
      expect(Buffer.from(await applier.segment(number)).equals(longer.subarray(begin, begin + length))).toBe(true);
    }
    expect(drifted).toBe(1);
    expect(applier.segments.length).toBe(2);
    // The map page alone.
    expect(asked).toEqual([made.manifest.pages[0]?.id]);
  });

  test('whatever is compressed, cut and changed, what is rebuilt is the target', async () => {
    const parts = fc.array(
      fc.record({ seed: fc.integer({ min: 1, max: 6 }), size: fc.integer({ min: 1, max: 20_000 }), way: fc.constantFrom('plain', 1, 6, 9, 'gzip') }),
      { minLength: 1, maxLength: 6 },
    );
    const made = (list: readonly { readonly seed: number; readonly size: number; readonly way: string | number }[], change: number): Buffer =>
      image(list.map(({ seed, size, way }) => {
        const bytes = change === 0 ? compressible(seed, size) : relinked(change, compressible(seed, size), 3);
        return way === 'plain' ? { bytes } : way === 'gzip' ? { bytes, level: 6, gzip: true } : { bytes, level: Number(way) };
      }));
    await fc.assert(
      fc.asyncProperty(parts, parts, fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 3000, max: 60_000 }), async (list, more, change, step) => {
        const old = made(list, 0);
        const next = made([...more.slice(0, 2), ...list, ...more.slice(2)], change);
        if (old.length === 0 || next.length === 0) return;
        const delta = await makeDelta(input(old), input(next), spanEnds(next.length, step));
        expect((await rebuild(delta, old)).equals(next)).toBe(true);
      }),
      { numRuns: 8 },
    );
  });
});

describe('what is found', () => {
  test('does not depend on where it lies: also beyond 256 MiB', () => {
    // Bits of that cannot be counted in 32 bits. Nothing but the last page is touched.
    const stream = image([{ bytes: compressible(3, 5000), level: 9 }]);
    const whole = Buffer.alloc(2 ** 28 + 20_000);
    stream.copy(whole, 2 ** 28 + 100);
    expect(beginsBlock(stream, 2)).toBe(true);
    expect(beginsBlock(whole, 2 ** 28 + 102)).toBe(true);
    expect(beginsBlock(whole, 2 ** 28 + 101 + stream.length)).toBe(false);
  });

  test('bytes that only begin like a stream are none', async () => {
    const next = random(5);
    const noise = Buffer.from(Array.from({ length: 60_000 }, () => next()));
    for (let at = 0; at < noise.length; at += 97) noise.set([0x78, 0xda, 0xed, 0x9d], at);
    for (let at = 50; at < noise.length; at += 970) noise.set([0x1f, 0x8b, 8, 8], at);
    for (let at = 60; at < noise.length; at += 970) noise.write('PK\x03\x04\x14\x00\x00\x00\x08\x00', at, 'latin1');
    expect((await findStreams(noise)).at.length).toBe(0);
  });
});
