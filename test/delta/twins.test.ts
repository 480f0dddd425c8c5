import { describe, expect, test } from 'vitest';
import { encodeDelta } from '../../src/delta/making/encode.ts';
import { FEW_HEAD } from '../../src/delta/coding/few.ts';
import { decodePage, decodePortably, decodeSegment, placesMoved } from '../../src/delta/kernel.ts';
import { decodeMapPage, encodeMapPage } from '../../src/delta/coding/map.ts';
import { PASSAGES_HEAD, decodePassages, encodePassages } from '../../src/delta/coding/passages.ts';
import type { Passage } from '../../src/delta/coding/passages.ts';
import { memoryBase, predict, predictPortably } from '../../src/delta/predict.ts';
import { decodePayload, encodePayload } from '../../src/delta/residual.ts';
import { Shifts } from '../../src/delta/references/shifts.ts';
import { BASE, Codec, TABLE } from '../../src/delta/types.ts';
import type { Cover, Covers } from '../../src/delta/types.ts';
import { native } from '../../src/kernel/native.ts';
import { LiteralWay } from '../../src/delta/coding/literals.ts';
import { executable, functionIndex, program, prose, random, relinked } from '../../fixtures/delta/inputs.ts';
import { kernelModules } from '../../fixtures/delta/modules.ts';
import { linked } from '../../fixtures/delta/linked.ts';
import { wasmModule } from '../../fixtures/delta/wasm.ts';
import { fc } from '../support/property.ts';

const pair = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), size: fc.integer({ min: 0, max: 60_000 }), insertions: fc.integer({ min: 0, max: 12 }) });

/** Segments whose references are moved, by kernel and twin; how many there are. */
async function movedAlike(base: Buffer, target: Buffer, ends: readonly number[], options: { readonly segmentPayload: number }): Promise<number> {
  let met = 0;
  const { segments, pages } = await encodeDelta(base, target, ends, options);
  const maps: Covers[] = [];
  for (const { bytes, begin, end, covers } of pages) maps.push(await decodePage(bytes, begin, end, base.length, covers));
  const moved = await placesMoved(maps, base.length);
  for (const { begin, end, codec, payload, page } of segments.filter((each) => each.codec === Codec.MOVED)) {
    met++;
    const wanted = target.subarray(begin, end);
    const [best, twin] = [Buffer.alloc(wanted.length), Buffer.alloc(wanted.length)];
    const pieces = await predict(maps[page] as Covers, begin, best, memoryBase(base));
    best.copy(twin);
    await decodeSegment(codec, payload, best, begin, pieces, moved);
    expect(best.equals(wanted)).toBe(true);
    expect(decodePortably(codec, payload, twin, begin, pieces, new Shifts(maps, base.length))).toBe(true);
    expect(twin.equals(wanted)).toBe(true);
  }
  return met;
}

describe.skipIf(native === undefined)('native kernel and its twin', () => {
  test('write the same payloads and map pages, and read each other', async () => {
    await fc.assert(
      fc.asyncProperty(pair, async ({ seed, size, insertions }) => {
        const before = program(seed, size - (size % 8));
        const after = relinked(seed, before, insertions);
        // Tables of pairs lie at multiples of their numbers.
        const base = Buffer.concat([before, functionIndex(seed, 200)]);
        const target = Buffer.concat([after, Buffer.alloc(-after.length & 7), functionIndex(seed, 200, true)]);
        // Spans of 20,000 bytes: several segments and covers that cross them, in inputs that take milliseconds.
        const ends = Array.from({ length: Math.ceil(target.length / 20_000) }, (_, i) => Math.min(target.length, (i + 1) * 20_000));
        const { segments, pages } = await encodeDelta(base, target, ends, { segmentPayload: 1000 });
        for (const [number, page] of pages.entries()) {
          const covers = await decodePage(page.bytes, page.begin, page.end, base.length, page.covers);
          const twin = decodeMapPage(page.bytes, page.begin, page.end, base.length, page.covers);
          expect(twin?.flatMap((c) => [c.target, c.length, c.base, c.fill])).toEqual([...covers]);
          expect(Buffer.from(encodeMapPage(twin ?? [], page.begin))).toEqual(Buffer.from(page.bytes));
          for (const segment of segments.filter((each) => each.page === number && each.codec === Codec.SITES)) {
            const wanted = target.subarray(segment.begin, segment.end);
            const prediction = Buffer.alloc(wanted.length);
            const pieces = await predict(covers, segment.begin, prediction, memoryBase(base));
            const portable = Buffer.alloc(wanted.length, 1);
            expect(await predictPortably(covers, segment.begin, portable, memoryBase(base))).toEqual(pieces);
            expect(portable).toEqual(prediction);
            const payload = encodePayload(Buffer.from(prediction), wanted, segment.begin, pieces);
            expect(Buffer.from(payload)).toEqual(Buffer.from(segment.payload));
            expect(decodePayload(segment.payload, prediction, segment.begin, pieces)).toBe(true);
            expect(prediction).toEqual(Buffer.from(wanted));
          }
        }
        expect(segments.at(-1)?.end ?? 0).toBe(target.length);
      }),
      // Some 20 ms each; enough to meet every branch of the coder many times.
      { numRuns: 60 },
    );
  });

  test('list few changes alike', async () => {
    let listed = 0;
    const input = fc.record({ size: fc.integer({ min: 1, max: 40_000 }), every: fc.integer({ min: 1, max: 3000 }), seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), counters: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(input, async ({ size, every, seed, counters }) => {
        const next = random(seed);
        const base = program(seed, size);
        const target = Buffer.from(base);
        for (let at = next() % every; at < size; at += counters ? every : 1 + (next() % (2 * every))) {
          for (let k = counters ? 1 : next() % 9; k-- > 0 && at < size; at++) target[at] = counters ? (target[at] as number) + 1 : next() >>> 11;
        }
        const { segments, pages } = await encodeDelta(base, target, [size], {});
        for (const { payload, codec } of segments) {
          if (codec !== Codec.SITES) continue;
          const [page] = pages;
          const covers = page === undefined ? new Float64Array(0) : await decodePage(page.bytes, page.begin, page.end, size, page.covers);
          const prediction = Buffer.alloc(size);
          const pieces = await predict(covers, 0, prediction, memoryBase(base));
          expect(Buffer.from(encodePayload(Buffer.from(prediction), target, 0, pieces))).toEqual(Buffer.from(payload));
          if ((payload[0] ?? 0) >= FEW_HEAD) listed++;
          const kernel = Buffer.from(prediction);
          await decodeSegment(codec, payload, kernel, 0, pieces);
          expect(decodePayload(payload, prediction, 0, pieces)).toBe(true);
          expect([kernel.equals(target), prediction.equals(target)]).toEqual([true, true]);
          // Damaged they decode to the same something, or are refused by both.
          const damaged = Buffer.from(payload);
          damaged[next() % damaged.length] = next() >>> 9;
          const [one, two] = [Buffer.from(base), Buffer.from(base)];
          const refused = await decodeSegment(codec, damaged, one, 0, pieces).then(() => false, () => true);
          expect(decodePayload(damaged, two, 0, pieces)).toBe(!refused);
          expect(one.equals(two)).toBe(true);
        }
      }),
      { numRuns: 80 },
    );
    expect(listed).toBeGreaterThan(20);
  });

  test('make text of passages alike', async () => {
    let met = 0;
    const input = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), phrases: fc.integer({ min: 60, max: 2000 }), known: fc.boolean(), order: fc.integer({ min: 1, max: 9 }) });
    await fc.assert(
      fc.asyncProperty(input, async ({ seed, phrases, known, order }) => {
        const next = random(seed);
        const base = prose(known ? seed : seed + 1, phrases);
        const target = prose(seed, phrases, order);
        // Two segments of most: the second begins anywhere.
        const ends = [Math.floor(target.length / 2), target.length];
        const { segments, pages } = await encodeDelta(base, target, ends, { segmentPayload: 100 });
        for (const { begin, end, payload, page } of segments.filter((each) => (each.payload[0] ?? 0) >= PASSAGES_HEAD && each.codec === Codec.SITES)) {
          met++;
          const { bytes, begin: from, end: to, covers } = pages[page] as (typeof pages)[number];
          const prediction = Buffer.alloc(end - begin);
          const pieces = await predict(await decodePage(bytes, from, to, base.length, covers), begin, prediction, memoryBase(base));
          const wanted = target.subarray(begin, end);
          const [kernel, twin] = [Buffer.from(prediction), Buffer.from(prediction)];
          const steps: Passage[] = [];
          await decodeSegment(Codec.SITES, payload, kernel, begin, pieces);
          expect(decodePassages(payload, twin, steps)).toBe(true);
          expect([kernel.equals(wanted), twin.equals(wanted)]).toEqual([true, true]);
          const way = payload[0] === PASSAGES_HEAD ? LiteralWay.MIXED : LiteralWay.NIBBLES;
          expect(Buffer.from(encodePassages(way, prediction, wanted, steps))).toEqual(Buffer.from(payload));
          for (let n = 0; n < 4; n++) {
            const damaged = Buffer.from(payload);
            damaged[1 + (next() % (damaged.length - 1))] = next() >>> 9;
            const [one, two] = [Buffer.from(prediction), Buffer.from(prediction)];
            const refused = await decodeSegment(Codec.SITES, damaged, one, begin, pieces).then(() => false, () => true);
            expect(decodePayload(damaged, two, begin, pieces)).toBe(!refused);
            expect(one.equals(two)).toBe(true);
          }
        }
      }),
      { numRuns: 30 },
    );
    expect(met).toBeGreaterThan(20);
  });

  test('move references alike', async () => {
    let met = 0;
    const input = fc.record({ machine: fc.constantFrom('x86' as const, 'arm64' as const, 'riscv' as const), seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), functions: fc.integer({ min: 8, max: 60 }), bias: fc.constantFrom(0x40_0000, 0x40_1000) });
    await fc.assert(
      fc.asyncProperty(input, async ({ machine, seed, functions, bias }) => {
        // The file begins anywhere: in an archive, in an image.
        const base = Buffer.concat([Buffer.alloc(8 * (seed % 9), 1), executable(machine, seed, functions)]);
        const target = Buffer.concat([Buffer.alloc(8 * (seed % 5), 2), executable(machine, seed, functions, true, bias)]);
        const ends = Array.from({ length: Math.ceil(target.length / 9000) }, (_, i) => Math.min(target.length, (i + 1) * 9000));
        met += await movedAlike(base, target, ends, { segmentPayload: 300 });
      }),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(20);
  });

  test('move references alike that are of 32 bits, in tables, or made from others', async () => {
    let met = 0;
    const input = fc.record({ machine: fc.constantFrom('x86' as const, 'riscv' as const, 'i386' as const, 'arm' as const, 'thumb' as const), seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), functions: fc.integer({ min: 8, max: 120 }), bias: fc.constantFrom(0, 0x1_0000), span: fc.constantFrom(3_000, 1_000_000) });
    await fc.assert(
      fc.asyncProperty(input, async ({ machine, seed, functions, bias, span }) => {
        const base = Buffer.concat([Buffer.alloc(8 * (seed % 9), 1), linked(machine, seed, functions, false, bias)]);
        const target = Buffer.concat([Buffer.alloc(8 * (seed % 5), 2), linked(machine, seed, functions, true, bias)]);
        const ends = Array.from({ length: Math.ceil(target.length / span) }, (_, i) => Math.min(target.length, (i + 1) * span));
        met += await movedAlike(base, target, ends, { segmentPayload: 300 });
      }),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(40);
  });

  // What is left is mostly the code that came. Whole addresses (i386) all move alike, which bytes alone say cheaply as well.
  test.each([['x86', 0.5], ['riscv', 0.5], ['i386', 0.6], ['arm', 0.5], ['thumb', 0.5]] as const)('make a delta of an executable (%s) a part of what bytes alone take', async (machine, part) => {
    const bias = machine === 'i386' ? 0x1_0000 : 0;
    const [base, target] = [linked(machine, 5, 1500, false, bias), linked(machine, 5, 1500, true, bias)];
    const size = async (structure: boolean): Promise<number> => {
      const { segments, pages } = await encodeDelta(base, target, [target.length], { structure });
      return [...segments.map(({ payload }) => payload), ...pages.map(({ bytes }) => bytes)].reduce((sum, { length }) => sum + length, 0);
    };
    expect(await size(true)).toBeLessThan((await size(false)) * part);
  });

  test('map types of kernel modules alike', async () => {
    let met = 0;
    const input = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), count: fc.integer({ min: 1, max: 4 }), span: fc.constantFrom(2_000, 4_003, 1_000_000) });
    await fc.assert(
      fc.asyncProperty(input, async ({ seed, count, span }) => {
        const base = Buffer.concat([Buffer.alloc(8 * (seed % 9), 1), kernelModules(seed, count)]);
        const target = Buffer.concat([Buffer.alloc(8 * (seed % 5), 2), kernelModules(seed, count, true)]);
        const ends = Array.from({ length: Math.ceil(target.length / span) }, (_, i) => Math.min(target.length, (i + 1) * span));
        met += await movedAlike(base, target, ends, { segmentPayload: 300 });
      }),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(60);
  });

  test('map functions and addresses of WebAssembly alike', async () => {
    let met = 0;
    const input = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), functions: fc.integer({ min: 20, max: 400 }), span: fc.constantFrom(2_000, 4_003, 1_000_000) });
    await fc.assert(
      fc.asyncProperty(input, async ({ seed, functions, span }) => {
        const base = Buffer.concat([Buffer.alloc(seed % 9, 1), wasmModule(seed, functions)]);
        const target = Buffer.concat([Buffer.alloc(seed % 5, 2), wasmModule(seed, functions, true)]);
        const ends = Array.from({ length: Math.ceil(target.length / span) }, (_, i) => Math.min(target.length, (i + 1) * span));
        met += await movedAlike(base, target, ends, { segmentPayload: 300 });
      }),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(60);
  });

  test('make a delta of a linked WebAssembly module a part of what bytes alone take', async () => {
    const [base, target] = [wasmModule(11, 3000), wasmModule(11, 3000, true)];
    const size = async (structure: boolean): Promise<number> => {
      const { segments, pages } = await encodeDelta(base, target, [target.length], { structure });
      return [...segments.map(({ payload }) => payload), ...pages.map(({ bytes }) => bytes)].reduce((sum, { length }) => sum + length, 0);
    };
    expect(await size(true)).toBeLessThan((await size(false)) / 3);
  });

  test('read pages of more covers than are coded the small way', async () => {
    const next = random(7);
    const covers: Cover[] = [];
    let target = 1000;
    // One more than a page of the small way holds; numbers of every size class up to that of a whole artifact.
    for (let i = 0; i <= 8192; i++) {
      const kind = next() % 8;
      const length = 1 + (next() >>> (next() % 32)) % 100_000;
      target += next() % 4 === 0 ? 0 : (next() >>> (next() % 32)) % 5000;
      const base = kind < 4 ? target + 64 * (next() % 16) : (next() >>> (next() % 32)) * 16;
      covers.push({ target, length, base: kind === 7 ? 0 : base, fill: kind === 7 ? next() % 256 : kind === 6 ? TABLE : BASE });
      target += length;
    }
    const bytes = encodeMapPage(covers, 1000);
    expect(decodeMapPage(bytes, 1000, target, 2 ** 37, covers.length)).toEqual(covers);
    expect([...(await decodePage(bytes, 1000, target, 2 ** 37, covers.length))]).toEqual(covers.flatMap((c) => [c.target, c.length, c.base, c.fill]));
    // Damaged, both make the same of it: covers, or nothing.
    for (let n = 0; n < 40; n++) {
      const damaged = Uint8Array.from(bytes);
      damaged[next() % bytes.length] = next();
      const twin = decodeMapPage(damaged, 1000, target, 2 ** 37, covers.length);
      const best = await decodePage(damaged, 1000, target, 2 ** 37, covers.length).catch(() => undefined);
      expect(best === undefined ? undefined : [...best]).toEqual(twin?.flatMap((c) => [c.target, c.length, c.base, c.fill]));
    }
  });
});
