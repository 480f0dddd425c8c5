import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readOnly, xzCoding, zstdCoding } from '../../src/container/coding.ts';
import { StreamList } from '../../src/container/streams.ts';
import type { Streams } from '../../src/container/streams.ts';
import { decodeViews, encodeViews } from '../../src/container/views.ts';
import { isShoalError } from '../../src/core/errors.ts';
import { CONTAINER_MAX_HELD } from '../../src/core/limits.ts';
import { fc } from '../support/property.ts';

const ZSTD = zstdCoding({ level: 15, version: 1, checksum: true });
const XZ = xzCoding({ effort: 7, dictionary: 10, check: 1, lc: 3, lp: 0, pb: 2, filter: 4, sizes: true });
const row = fc.record({ gap: fc.integer({ min: 0, max: 2 ** 31 }), size: fc.integer({ min: 1, max: 2 ** 20 }), held: fc.integer({ min: 1, max: CONTAINER_MAX_HELD }), coding: fc.constantFrom(1, 9, 25, 33, 41, 57, 73, ZSTD, ZSTD + 4, XZ) })
  // What other compressors than deflate hold is bounded by the memory that they take.
  .map((made) => (made.coding < 128 ? made : { ...made, held: Math.min(made.held, 2 ** 20) }));

function streamsOf(rows: readonly { readonly gap: number; readonly size: number; readonly held: number; readonly coding: number }[]): Streams {
  const list = new StreamList();
  let end = 0;
  for (const { gap, size, held, coding } of rows) {
    list.add(end + gap, size, held, coding);
    end += gap + size;
  }
  return list.end();
}

describe('the list of streams in a manifest', () => {
  test('comes back as it was', () => {
    fc.assert(fc.property(fc.array(row), fc.array(row), (a, b) => {
      const views = { base: streamsOf(a), target: streamsOf(b) };
      expect(decodeViews(encodeViews(views), 2 ** 37, 2 ** 37)).toEqual(views);
    }));
  });

  test('is refused by name when it is anything else', () => {
    fc.assert(fc.property(fc.array(row, { maxLength: 20 }), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 2 ** 37 }), (rows, edits, size) => {
      const plain = Buffer.from(inflateRawSync(encodeViews({ base: streamsOf(rows), target: streamsOf(rows) })));
      for (const [at, value] of edits) plain[at % plain.length] = value;
      try {
        const { base, target } = decodeViews(deflateRawSync(plain), size, size);
        for (const { at, size: sizes } of [base, target]) {
          let end = 0;
          for (const [n, begin] of at.entries()) {
            expect(begin).toBeGreaterThanOrEqual(end);
            end = begin + (sizes[n] as number);
          }
          expect(end).toBeLessThanOrEqual(size);
        }
      } catch (error) {
        if (!isShoalError(error)) throw error;
      }
    }));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeViews(bytes, 2 ** 30, 2 ** 30);
      } catch (error) {
        if (!isShoalError(error)) throw error;
      }
    }));
  });

  test('a coding of a newer program is told apart from damage', () => {
    const views = { base: streamsOf([]), target: streamsOf([{ gap: 0, size: 10, held: 20, coding: 64 }]) };
    expect(() => decodeViews(encodeViews(views), 100, 100)).toThrow(expect.objectContaining({ code: 'DELTA_FEATURE' }));
    // A row of the table, and a table that is too short.
    const plain = Buffer.from(inflateRawSync(encodeViews({ base: streamsOf([]), target: streamsOf([{ gap: 0, size: 10, held: 20, coding: XZ }]) })));
    const at = plain.indexOf(Buffer.from([128, 1])) + 2;
    const newer = Buffer.from(plain);
    newer.writeUInt32LE(2 ** 31, at);
    expect(() => decodeViews(deflateRawSync(newer), 100, 100)).toThrow(expect.objectContaining({ code: 'DELTA_FEATURE' }));
    newer.writeUInt32LE(9, at);
    expect(() => decodeViews(deflateRawSync(newer), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
    const missing = Buffer.from(plain);
    missing[at - 2] = 129;
    expect(() => decodeViews(deflateRawSync(missing), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
    // More than a device has memory for.
    for (const [coding, held] of [[XZ, 2 ** 22 + 1], [ZSTD, 2 ** 20 + 1]] as const) {
      expect(() => decodeViews(encodeViews({ base: streamsOf([]), target: streamsOf([{ gap: 0, size: 10, held, coding }]) }), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
    }
    expect(() => decodeViews(encodeViews({ base: streamsOf([]), target: streamsOf([{ gap: 0, size: 10, held: 20, coding: readOnly(ZSTD) }]) }), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
    const unmade = { base: streamsOf([]), target: streamsOf([{ gap: 0, size: 10, held: 20, coding: 32 }]) };
    expect(() => decodeViews(encodeViews(unmade), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
  });

  test('what is longer than a manifest may hold is not decoded to its end', () => {
    expect(() => decodeViews(deflateRawSync(Buffer.alloc(64 * 2 ** 20)), 100, 100)).toThrow(expect.objectContaining({ code: 'BAD_DELTA' }));
  });
});
