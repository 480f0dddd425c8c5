import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeDelta } from '../../src/delta/encode.ts';
import { decodePage } from '../../src/delta/kernel.ts';
import { decodeMapPage, encodeMapPage } from '../../src/delta/map.ts';
import { memoryBase, predict } from '../../src/delta/predict.ts';
import { decodePayload, encodePayload } from '../../src/delta/residual.ts';
import { Codec } from '../../src/delta/types.ts';
import { native } from '../../src/kernel/native.ts';
import { functionIndex, program, relinked } from '../../fixtures/delta/inputs.ts';

const pair = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }), size: fc.integer({ min: 0, max: 60_000 }), insertions: fc.integer({ min: 0, max: 12 }) });

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
});
