import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { earlierPair } from '../../fixtures/delta/golden.ts';
import { program, prose, random } from '../../fixtures/delta/inputs.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { DeltaApplier } from '../../src/delta/apply.ts';
import { EarlierBase, keepsApart, ofBase, shownSegments } from '../../src/delta/earlier.ts';
import { openDeltaFile } from '../../src/delta/file.ts';
import { decodePortably } from '../../src/delta/kernel.ts';
import { decodeMapPage } from '../../src/delta/coding/map.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { MadeDelta } from '../../src/delta/making/made.ts';
import { decodeDeltaManifest, encodeDeltaManifest } from '../../src/delta/manifest.ts';
import { memoryBase, predictPortably } from '../../src/delta/predict.ts';
import { Shifts } from '../../src/delta/references/shifts.ts';
import { Codec } from '../../src/delta/types.ts';
import type { Covers } from '../../src/delta/types.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { native } from '../../src/kernel/native.ts';
import { fc } from '../support/property.ts';
import { rebuild } from '../support/rebuild.ts';

interface Vectors {
  readonly earlier: {
    readonly base: string;
    readonly target: string;
    readonly manifest: string;
    readonly segments: readonly { readonly codec: number; readonly length: number; readonly prerequisites: readonly number[] }[];
    readonly corruptManifest: readonly { readonly name: string; readonly at: number; readonly to: string; readonly code: string }[];
  };
}

const folder = new URL('../../fixtures/delta/', import.meta.url);
const { earlier: golden } = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as Vectors;
const file = readFileSync(new URL('golden-3.delta', folder));
const manifest = decodeDeltaManifest(Buffer.from(golden.manifest, 'hex'));
const pair = earlierPair();
const id = (bytes: Uint8Array): ReturnType<typeof idFromBytes> => idFromBytes(blake3(bytes));

/** Pages and payloads of the golden file, which those of the manifest are. */
async function goldenObjects(): Promise<Awaited<ReturnType<typeof openDeltaFile>>> {
  return openDeltaFile(memoryBase(file), file.length);
}

function make(base: Uint8Array, target: Uint8Array, ends: readonly number[], lookBack = true): Promise<MadeDelta> {
  return makeDelta({ root: id(base), bytes: base }, { root: id(target), bytes: target }, ends, { segmentPayload: 1, lookBack });
}

describe('vectors of segments that copy from earlier ones', () => {
  test('are of the inputs that are here, and have what they are for', () => {
    expect([id(pair.base), id(pair.target)]).toEqual([golden.base, golden.target]);
    // One whose references are moved beside what it copies, and one that needs none of its neighbours.
    expect(golden.segments.some(({ codec, prerequisites }) => codec === Codec.MOVED && prerequisites.length > 0)).toBe(true);
    expect(golden.segments.filter(({ prerequisites }) => prerequisites.length > 0).length).toBeGreaterThan(1);
    expect(manifest.segments.map(({ codec, length, prerequisites }) => ({ codec, length, prerequisites }))).toEqual(golden.segments);
    expect(Buffer.from(encodeDeltaManifest(manifest)).toString('hex')).toBe(golden.manifest);
  });

  test('the golden file rebuilds the target', async () => {
    expect((await rebuild(file, pair.base)).equals(pair.target)).toBe(true);
  });

  test('so does the portable decoder, whichever tier is loaded', async () => {
    const objects = await goldenObjects();
    const reach = pair.base.length + pair.target.length;
    const [page] = manifest.pages;
    expect(manifest.pages).toHaveLength(1);
    if (page === undefined) return;
    const list = decodeMapPage(await objects.object(page.id, page.size), 0, pair.target.length, reach, page.covers) ?? [];
    const covers: Covers = Float64Array.from(list.flatMap((c) => [c.target, c.length, c.base, c.fill]));
    expect(keepsApart(covers, pair.base.length)).toBe(true);
    const shifts = new Shifts([ofBase(covers, pair.base.length)], pair.base.length);
    const base = memoryBase(Buffer.concat([pair.base, pair.target]));
    let at = 0;
    for (const { codec, length, payload } of manifest.segments) {
      const bytes = Buffer.alloc(length);
      const pieces = await predictPortably(covers, at, bytes, base);
      if (payload !== undefined) expect(decodePortably(codec, await objects.object(payload.id, payload.size), bytes, at, pieces, shifts)).toBe(true);
      expect(bytes.equals(pair.target.subarray(at, at + length))).toBe(true);
      at += length;
    }
  });

  test.each(golden.corruptManifest)('needs $name: refused', ({ at, to, code }) => {
    const bytes = Buffer.from(golden.manifest, 'hex');
    bytes.set(Buffer.from(to, 'hex'), at);
    expect(() => decodeDeltaManifest(bytes)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test('a file that says to be of another feature is refused when its covers lie behind the base\'s end', async () => {
    const bytes = Buffer.from(file);
    bytes[4] = 0x21;
    await expect(rebuild(bytes, pair.base)).rejects.toMatchObject({ code: 'DELTA_DAMAGED' });
  });
});

describe('a device', () => {
  const needing = golden.segments.findLastIndex(({ prerequisites }) => prerequisites.length > 0);
  const needs = golden.segments[needing]?.prerequisites ?? [];
  const range = (number: number): { begin: number; end: number } => {
    const begin = golden.segments.slice(0, number).reduce((sum, { length }) => sum + length, 0);
    return { begin, end: begin + (golden.segments[number]?.length ?? 0) };
  };

  test('makes a segment with those alone that it needs, however they came', async () => {
    const slot = Buffer.alloc(pair.target.length, 0xee);
    for (const each of needs) slot.set(pair.target.subarray(range(each).begin, range(each).end), range(each).begin);
    const applier = new DeltaApplier(manifest, await goldenObjects(), memoryBase(pair.base));
    const made = await applier.segment(needing, undefined, memoryBase(slot));
    expect(Buffer.from(made).equals(pair.target.subarray(range(needing).begin, range(needing).end))).toBe(true);
  });

  test('is told what it lacks, and finds out whether the base is right without it', async () => {
    const objects = await goldenObjects();
    const applier = new DeltaApplier(manifest, objects, memoryBase(pair.base));
    await expect(applier.segment(needing)).rejects.toMatchObject({ code: 'NOT_HELD' });
    await applier.proveBase();
    const drifted = new DeltaApplier(manifest, objects, memoryBase(Buffer.alloc(pair.base.length)));
    await expect(drifted.segment(needing, undefined, memoryBase(pair.target))).rejects.toMatchObject({ code: 'BASE_DRIFTED' });
  });

  test('does not take other bytes for what was promised', async () => {
    const slot = Buffer.from(pair.target);
    for (const each of needs) slot.fill(0, range(each).begin, range(each).end);
    const applier = new DeltaApplier(manifest, await goldenObjects(), memoryBase(pair.base));
    await expect(applier.segment(needing, undefined, memoryBase(slot))).rejects.toMatchObject({ code: 'DELTA_WRONG' });
  });

  test('reads nothing of the target but what the segment needs', async () => {
    const target = memoryBase(Buffer.alloc(100, 7));
    const reader = new EarlierBase(memoryBase(Buffer.alloc(10, 1)), 10, target, [{ begin: 20, end: 30 }, { begin: 40, end: 45 }]);
    const bytes = Buffer.alloc(110, 9);
    for (let at = 0; at < bytes.length; ) at += (await reader.read(bytes, at, bytes.length - at, at)).bytesRead;
    expect(bytes).toEqual(Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(20), Buffer.alloc(10, 7), Buffer.alloc(10), Buffer.alloc(5, 7), Buffer.alloc(55)]));
  });
});

describe.skipIf(native === undefined)('an encoder', () => {
  test('sends what is new in several segments once', async () => {
    // 12 times 9 KB of text and code that the base does not have, between a base's pages.
    const base = program(51, 120_000);
    const fresh = Buffer.concat([prose(52, 300), program(53, 4_000)]);
    const parts = Array.from({ length: 12 }, (_, n) => Buffer.concat([base.subarray(10_000 * n, 10_000 * (n + 1)), fresh]));
    let end = 0;
    const ends = parts.map(({ length }) => (end += length));
    const target = Buffer.concat(parts);
    const [made, alone] = [await make(base, target, ends), await make(base, target, ends, false)];
    expect(alone.manifest.looksBack).toBeUndefined();
    expect(made.manifest.looksBack).toBe(true);
    // The first has it, all others need it alone; what is left of them is a cover or two.
    expect(made.manifest.segments.map(({ prerequisites }) => prerequisites)).toEqual(parts.map((_, n) => (n === 0 ? [] : [0])));
    expect(made.bytes).toBeLessThan(alone.bytes / 3);
  });

  test('leaves a delta as it is where nothing new comes twice', async () => {
    const base = program(61, 60_000);
    const target = Buffer.concat([base.subarray(0, 30_000), prose(62, 400), base.subarray(30_000), program(63, 9_000)]);
    const ends = [20_000, 50_000, target.length];
    const [made, alone] = [await make(base, target, ends), await make(base, target, ends, false)];
    expect(Buffer.from(made.manifestBytes).equals(alone.manifestBytes)).toBe(true);
    expect([...made.objects.keys()]).toEqual([...alone.objects.keys()]);
  });

  test('makes what can be made again, never larger than without, whatever comes twice', async () => {
    let met = 0;
    const input = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), parts: fc.integer({ min: 2, max: 9 }), blocks: fc.integer({ min: 1, max: 3 }), step: fc.integer({ min: 500, max: 9_000 }) });
    await fc.assert(
      fc.asyncProperty(input, async ({ seed, parts, blocks, step }) => {
        const next = random(seed);
        const base = program(seed, 20_000);
        const known = Array.from({ length: blocks }, (_, n) => (next() % 2 === 0 ? prose(seed + n, 20 + (next() % 300)) : program(seed + n, 500 + (next() % 8_000))));
        const target = Buffer.concat(Array.from({ length: parts }, () => {
          const block = Buffer.from(known[next() % blocks] as Buffer);
          for (let n = next() % 9; n > 0; n--) block[next() % block.length] = next();
          const from = next() % base.length;
          return Buffer.concat([base.subarray(from, from + (next() % 5_000)), block.subarray(next() % 200)]);
        }));
        const ends = Array.from({ length: Math.ceil(target.length / step) }, (_, n) => Math.min(target.length, (n + 1) * step));
        const [made, alone] = [await make(base, target, ends), await make(base, target, ends, false)];
        if (made.manifest.looksBack === true) met++;
        // Prerequisites take three bytes each, beyond what was measured; pages are cut alike.
        const listed = made.manifest.segments.reduce((sum, { prerequisites }) => sum + 3 * prerequisites.length, 0);
        expect(made.bytes - listed).toBeLessThanOrEqual(alone.bytes * 1.01 + 64);
        for (const [number, { prerequisites }] of made.manifest.segments.entries()) for (const each of prerequisites) expect(each).toBeLessThan(number);
        const objects = { object: (name: ReturnType<typeof id>) => Promise.resolve(made.objects.get(name) ?? new Uint8Array()) };
        const applier = new DeltaApplier(decodeDeltaManifest(made.manifestBytes), objects, memoryBase(base));
        for (const [number, { begin, length }] of applier.segments.entries()) {
          expect(Buffer.from(await applier.segment(number, undefined, memoryBase(target))).equals(target.subarray(begin, begin + length))).toBe(true);
        }
      }),
      // Some 80 ms each.
      { numRuns: 25 },
    );
    expect(met).toBeGreaterThan(4);
  });
});

test('what covers show is counted by the segments it lies in', () => {
  const segments = [{ begin: 0, end: 10 }, { begin: 10, end: 30 }, { begin: 30, end: 31 }, { begin: 31, end: 90 }];
  // Base of 100 bytes: of the base; a run; bytes 5 to 35 of the target; bytes 30 to 31, of which the first lies before what is asked for.
  const covers = Float64Array.from([31, 9, 50, -1, 40, 5, 0, 7, 45, 30, 105, -1, 75, 2, 129, -1]);
  expect(shownSegments(covers, { begin: 31, end: 90 }, 100, segments)).toEqual([0, 1, 2, 3]);
  expect(shownSegments(covers, { begin: 31, end: 50 }, 100, segments)).toEqual([0]);
  expect(shownSegments(covers, { begin: 76, end: 90 }, 100, segments)).toEqual([2]);
  expect(ofBase(covers, 100)).toEqual(Float64Array.from([31, 9, 50, -1, 40, 5, 0, 7]));
  expect([keepsApart(covers, 100), keepsApart(covers, 130)]).toEqual([true, false]);
});
