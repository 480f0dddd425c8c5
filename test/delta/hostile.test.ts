import { describe, expect, test } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { Gamma } from '../../src/delta/coding/change.ts';
import { RangeEncoder } from '../../src/delta/coding/coder.ts';
import { openDeltaFile } from '../../src/delta/file.ts';
import { decodePage, decodePortably, decodeSegment, placesMoved } from '../../src/delta/kernel.ts';
import { decodeDeltaManifest, encodeDeltaManifest } from '../../src/delta/manifest.ts';
import type { DeltaManifest } from '../../src/delta/manifest.ts';
import { decodeMapPage } from '../../src/delta/coding/map.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { Shifts } from '../../src/delta/references/shifts.ts';
import { Codec, PieceKind } from '../../src/delta/types.ts';
import type { CodecId } from '../../src/delta/types.ts';
import { fc } from '../support/property.ts';

/** Bytes that keep a coder busy: noise, and noise with many zeros (long numbers in the map, long runs of answers). */
const garbage = fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.uint8Array({ maxLength: 400 }).map((bytes) => bytes.map((byte) => (byte < 160 ? 0 : byte))));

const pieces = fc.array(fc.record({ length: fc.integer({ min: 1, max: 3000 }), kind: fc.constantFrom(PieceKind.LITERAL, PieceKind.BASE, PieceKind.FILL, PieceKind.TABLE), base: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }), { minLength: 1, maxLength: 8 });

/** Two maps: values from 6 on and from 65,541 on go up by -64 and by 3; with it as a parent, from 9 on by -1, from 65,545 on by -2. */
const MAPS = ((): Uint8Array => {
  const coder = new RangeEncoder();
  const numbers = Array.from({ length: 6 }, () => new Gamma(coder));
  for (const [kind, value] of [[0, 0], [1, 2], [2, 6], [4, 127], [2, 65_535], [4, 134], [0, 1], [1, 2], [3, 9], [5, 1], [3, 65_536], [5, 1]] as const) numbers[kind]?.code(value);
  return coder.finish();
})();

/** Rules of every kind over what follows, with one space that is nearly the whole base; damaged now and then; or none. */
const rules = fc.option(fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.nat(90), fc.nat(127), fc.nat(20)), { maxLength: 6 }).map((list) => [
  1, 2, 0, ...[0xff, 0xff, 0xff, 0xff, 0x0f], 1, 3, 0, 0x80, 0x80, 1, 0, 9,
  // Two maps, one with a parent.
  2, MAPS.length, ...MAPS, list.length,
  ...list.flatMap(([kind, begin, size, more]) => [kind, begin === 90 ? 250 : begin % 3, size, ...(kind === 4 ? [more % 2, more === 20 ? 2 : 1] : kind === 5 ? [1, 2, more, 0, 5, 1, 2, 1, 1, 1 + more, more % 4] : [0]), ...(kind >= 4 ? [] : kind === 2 ? [8 + (more % 3), more % 5, more % 2 === 0 ? 4 : 8] : [more === 20 ? 7 : 0])]),
]), { nil: undefined });

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));

describe('bytes from outside', () => {
  test('a map page gives covers within its bounds or is refused, alike on both tiers', async () => {
    await fc.assert(
      fc.asyncProperty(garbage, fc.integer({ min: 0, max: 2 ** 37 }), fc.integer({ min: 0, max: 2 ** 24 }), fc.integer({ min: 0, max: 2 ** 37 }), fc.integer({ min: 0, max: 40 }), async (bytes, begin, length, baseSize, count) => {
        const end = Math.min(2 ** 37, begin + length);
        const portable = decodeMapPage(bytes, begin, end, baseSize, count);
        const best = await decodePage(bytes, begin, end, baseSize, count).catch((error: unknown) => {
          if (!isShoalError(error, 'DELTA_DAMAGED')) throw error;
          return undefined;
        });
        expect(best === undefined ? undefined : [...best]).toEqual(portable?.flatMap((c) => [c.target, c.length, c.base, c.fill]));
        let at = begin;
        for (const cover of portable ?? []) {
          expect(cover.target).toBeGreaterThanOrEqual(at);
          expect(cover.length).toBeGreaterThan(0);
          at = cover.target + cover.length;
          if (cover.fill < 0) expect(cover.base >= 0 && cover.base + cover.length <= baseSize).toBe(true);
          else expect(cover.fill).toBeLessThan(256);
        }
        expect(at).toBeLessThanOrEqual(Math.max(begin, end));
      }),
      { numRuns: 150 },
    );
  });

  test('a payload decodes to the same bytes on both tiers, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(garbage, pieces, fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer(), rules, async (payload, list, origin, seed, head) => {
        const size = list.reduce((sum, { length }) => sum + length, 0);
        const own = Uint32Array.from(list.flatMap(({ length, kind, base }) => [length, kind, kind === PieceKind.BASE || kind === PieceKind.TABLE ? base : 0, 0]));
        const codec = head === undefined ? Codec.SITES : Codec.MOVED;
        // Places of a base as large as can be; some of them went further than what is left of it.
        const maps = [Float64Array.from(list.flatMap(({ length, base }, i) => [i * 3000 + (seed & 0xffff), length, base, -1]))];
        const prediction = Buffer.from(Array.from({ length: size }, (_, i) => Math.imul(i, seed | 1) >>> (i % 24)));
        const portable = Buffer.from(prediction);
        const best = Buffer.from(prediction);
        const bytes = Buffer.concat([Buffer.from(head ?? []), payload]).subarray(0, size);
        const lawful = decodePortably(codec, bytes, portable, origin, own, new Shifts(maps, 2 ** 33));
        const decoded = await decodeSegment(codec, bytes, best, origin, own, await placesMoved(maps, 2 ** 33)).then(() => true, (error: unknown) => {
          if (!isShoalError(error, 'DELTA_DAMAGED')) throw error;
          return false;
        });
        expect(decoded).toBe(lawful);
        if (lawful) expect(best.equals(portable)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test('a manifest is refused by name or is exactly what it encodes to', () => {
    const manifest: fc.Arbitrary<DeltaManifest> = fc
      .array(fc.record({ needs: fc.boolean(), length: fc.integer({ min: 2, max: 2 ** 20 }), spans: fc.integer({ min: 1, max: 8 }), codec: fc.constantFrom(Codec.COPY, Codec.SITES), size: fc.integer({ min: 1, max: 1 }), target: id, payload: id }), { minLength: 1, maxLength: 5 })
      .map((list) => ({
        base: { root: list[0]?.target, size: 5 },
        target: { root: list[0]?.target, size: list.reduce((sum, { length }) => sum + length, 0) },
        pages: [{ id: list[0]?.target, size: 9, covers: 3, segments: list.length }],
        ...(list.some(({ needs }) => needs) ? { looksBack: true } : {}),
        segments: list.map(({ needs, length, spans, codec, size, target, payload }, number) => ({ length, spans, codec, prerequisites: needs && number > 0 ? [...new Set([0, number - 1])] : [], prediction: new Uint8Array(4), target, payload: codec === Codec.COPY ? undefined : { id: payload, size } })),
      }) as unknown as DeltaManifest);
    fc.assert(
      fc.property(manifest, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (made, edits) => {
        const bytes = Buffer.from(encodeDeltaManifest(made));
        for (const [at, to] of edits) bytes[at % bytes.length] = to;
        let read: DeltaManifest;
        try {
          read = decodeDeltaManifest(bytes);
        } catch (error) {
          expect(isShoalError(error)).toBe(true);
          expect(edits.length).toBeGreaterThan(0);
          return;
        }
        expect(Buffer.from(encodeDeltaManifest(read)).equals(bytes)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('a map that no device could keep whole is refused where references are moved, and there alone', () => {
    const hash = '11'.repeat(32) as ObjectId;
    const manifest = (codec: CodecId, pages: number, covers: number, size: number): Uint8Array =>
      encodeDeltaManifest({
        base: { root: hash, size: 2 ** 36 }, target: { root: hash, size: 1000 * pages },
        pages: Array.from({ length: pages }, () => ({ id: hash, size, covers, segments: 1 })),
        segments: Array.from({ length: pages }, () => ({ length: 1000, spans: 1, codec, prerequisites: [], prediction: new Uint8Array(4), target: hash, payload: { id: hash, size: 9 } })),
      });
    const cases = [[4, 2 ** 16, 2 ** 20, true], [4, 2 ** 16 + 1, 2 ** 20, false], [3, 10, 2 ** 21 + 2 ** 20, false]] as const;
    for (const [pages, covers, size, lawful] of cases) {
      expect(() => decodeDeltaManifest(manifest(Codec.SITES, pages, covers, size))).not.toThrow();
      const moved = (): unknown => decodeDeltaManifest(manifest(Codec.MOVED, pages, covers, size));
      if (lawful) expect(moved).not.toThrow();
      else expect(moved).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }) as Error);
    }
  });

  test('a file of any bytes is refused by name', async () => {
    await fc.assert(
      fc.asyncProperty(garbage, fc.boolean(), async (bytes, headed) => {
        const file = headed ? Buffer.concat([Buffer.from('SHDF\x21'), bytes]) : Buffer.from(bytes);
        await expect(openDeltaFile(memoryBase(file), file.length)).rejects.toMatchObject({ name: 'ShoalError' });
      }),
    );
  });
});
