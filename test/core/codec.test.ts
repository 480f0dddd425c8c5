import { describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { formatChunkSet, parseChunkSet } from '../../src/core/chunkset.ts';
import { ByteReader, ByteWriter } from '../../src/core/codec.ts';
import { isShoalError } from '../../src/core/errors.ts';
import { idFromBytes, parseObjectId } from '../../src/core/ids.ts';
import { isName, parseName } from '../../src/core/names.ts';
import { fc } from '../support/property.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isShoalError(error)) return error.code;
    throw error;
  }
  return 'no error';
}

describe('byte codec', () => {
  it('reads back what it wrote, for every width', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2, 3, 4, 5, 6), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }))), (fields) => {
        const values = fields.map(([width, share]) => ({ width: width as 1, value: Math.floor(share * 2 ** (8 * width)) }));
        const writer = new ByteWriter(1);
        for (const { width, value } of values) writer.uint(value, width);
        const reader = new ByteReader(writer.finish(), 'test');
        for (const { width, value } of values) expect(reader.uint(width)).toBe(value);
        reader.end();
      }),
    );
  });

  it('refuses values that do not fit, short input and trailing bytes', () => {
    expect(codeOf(() => new ByteWriter().uint(256, 1))).toBe('ENCODE_RANGE');
    expect(codeOf(() => new ByteWriter().uint(-1, 2))).toBe('ENCODE_RANGE');
    expect(codeOf(() => new ByteWriter().uint(1.5, 2))).toBe('ENCODE_RANGE');
    expect(codeOf(() => new ByteReader(new Uint8Array(3), 'test').uint(4))).toBe('TRUNCATED');
    expect(codeOf(() => { new ByteReader(new Uint8Array(1), 'test').end(); })).toBe('TRAILING_BYTES');
  });

  it('keeps what it finished apart from its own buffer', () => {
    const writer = new ByteWriter(8).uint(7, 1);
    const first = writer.finish();
    writer.uint(9, 1);
    expect([...first]).toEqual([7]);
    expect(first.buffer.byteLength).toBe(1);
  });
});

describe('ids', () => {
  it('has one spelling', () => {
    const id = idFromBytes(new Uint8Array(32).fill(0xab));
    expect(parseObjectId(id)).toBe('ab'.repeat(32));
    for (const text of ['AB'.repeat(32), 'ab'.repeat(31), `${'ab'.repeat(32)} `, '']) expect(codeOf(() => parseObjectId(text))).toBe('BAD_ID');
    expect(codeOf(() => idFromBytes(new Uint8Array(31)))).toBe('BAD_ID');
  });
});

describe('chunk sets', () => {
  it('round-trips any set, and one set has one spelling', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 256 }), { minLength: 1 }), (raw) => {
        const positions = raw.toSorted((a, b) => a - b);
        expect(parseChunkSet(formatChunkSet(positions), 257)).toEqual(positions);
      }),
    );
  });

  it.each(['', '1,0', '1-1', '3-2', '0,1', '0-2,3', '01', '-1', '1-', ' 1', '1,', '257', '0-999999999', '1.5', '1,1', 'a', '0-65536'])('refuses %j', (text) => {
    expect(codeOf(() => parseChunkSet(text, 257))).toBe('BAD_CHUNK_SET');
  });

  it('does not accept a spelling it would not write', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9,-]{1,12}$/), (text) => {
        try {
          expect(formatChunkSet(parseChunkSet(text, 257))).toBe(text);
        } catch (error) {
          expect(isShoalError(error, 'BAD_CHUNK_SET')).toBe(true);
        }
      }),
    );
  });
});

describe('bitmap', () => {
  it('round-trips and counts', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.array(fc.nat(299)), (count, raw) => {
        const bits = new Set(raw.filter((bit) => bit < count));
        const bitmap = new Bitmap(count);
        for (const bit of bits) bitmap.add(bit);
        const again = Bitmap.decode(bitmap.encode(), count);
        expect(again.size).toBe(bits.size);
        expect(again.complete).toBe(bits.size === count);
        for (let bit = 0; bit < count; bit++) expect(again.has(bit)).toBe(bits.has(bit));
      }),
    );
  });

  it('refuses other lengths, set padding and bits outside', () => {
    expect(codeOf(() => Bitmap.decode(new Uint8Array(2), 8))).toBe('BAD_BITMAP');
    expect(codeOf(() => Bitmap.decode(new Uint8Array([0b1000]), 3))).toBe('BAD_BITMAP');
    expect(codeOf(() => { new Bitmap(3).add(3); })).toBe('BAD_BITMAP');
    expect(codeOf(() => new Bitmap(2 ** 40))).toBe('BAD_BITMAP');
    expect(new Bitmap(3).has(-1)).toBe(false);
  });
});

describe('names', () => {
  it.each(['app', 'node-24.18.1', '1.0.0+build_7', 'A'])('accepts %s', (name) => {
    expect(parseName('product', name)).toBe(name);
  });
  it.each(['', '.', '..', 'a/b', 'a..b', '-a', '.a', 'ä', 'a b', 'a\n', 'a%2fb', 'x'.repeat(129)])('refuses %j', (name) => {
    expect(isName(name)).toBe(false);
    expect(codeOf(() => parseName('product', name))).toBe('BAD_NAME');
  });
});
