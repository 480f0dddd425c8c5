import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { inputs, randomBytes } from '../../fixtures/chunk/inputs.ts';
import { SCAN_MAX_BYTES, availableScanners, findCuts } from '../../src/chunk/cuts.ts';
import { CHUNK_ALGORITHM, DEFAULT_CHUNKING, checkChunking } from '../../src/chunk/params.ts';
import { GEAR_HIGH, GEAR_LOW } from '../../src/chunk/portable.ts';
import type { ChunkingRecord } from '../../src/core/manifest.ts';
import { fc } from '../support/property.ts';

interface Vector {
  readonly input: string;
  readonly params: ChunkingRecord;
  readonly cuts: readonly number[];
}
const vectors = JSON.parse(readFileSync(new URL('../../fixtures/chunk/vectors.json', import.meta.url), 'utf8')) as readonly Vector[];

/** The least parameters that are allowed: most chunks for the bytes. */
const SMALL: ChunkingRecord = { algorithm: CHUNK_ALGORITHM, min: 4096, avg: 16_384, max: 32_768 };

describe.each(availableScanners())('chunk ends by %s', (scanner) => {
  const made = new Map(inputs.map(({ name, make }) => [name, make()]));

  it.each(vectors.map((vector) => [vector.input, vector.params.avg, vector] as const))('%s at %i', (input, _avg, { params, cuts }) => {
    expect([...findCuts(made.get(input) ?? new Uint8Array(0), params, true, scanner)]).toEqual(cuts);
  });

  it('does not look past the end: the same ends whatever follows', () => {
    const data = randomBytes(11, 400_000);
    const all = [...findCuts(data, SMALL, false, scanner)];
    // Around the first end, so that each remainder of a row and of a block occurs.
    for (let length = (all[0] ?? 0) - 260; length < (all[0] ?? 0) + 260; length++) {
      const expected = all.filter((cut) => cut <= length);
      expect([...findCuts(data.subarray(0, length), SMALL, false, scanner)]).toEqual(expected);
    }
  });

  it('agrees with the twin on arbitrary structure', () => {
    const piece = fc.record({
      seed: fc.nat(0xffff),
      length: fc.integer({ min: 1, max: 60_000 }),
      period: fc.constantFrom(1, 2, 3, 31, 62, 93, 257, 100_000),
      mask: fc.constantFrom(0x01, 0x0f, 0xf0, 0xff),
    });
    const bytesOf = ({ seed, length, period, mask }: { seed: number; length: number; period: number; mask: number }): Uint8Array => {
      const base = randomBytes(seed, Math.min(period, length));
      return Uint8Array.from({ length }, (_, at) => (base[at % base.length] ?? 0) & mask);
    };
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.boolean(), (pieces, final) => {
        const data = Buffer.concat(pieces.map(bytesOf));
        expect([...findCuts(data, SMALL, final, scanner)]).toEqual([...findCuts(data, SMALL, final, 'portable')]);
      }),
      { numRuns: 60 },
    );
  });

  it('agrees with the twin where most positions are candidates', () => {
    // Short periods that hit the filter: found by looking for the phases whose 16-bit hash of a periodic input is small.
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      for (const period of [2, 3, 5, 8]) {
        const base = densestPeriod(seed, period);
        const data = Uint8Array.from({ length: 200_000 }, (_, at) => base[at % period] ?? 0);
        expect([...findCuts(data, SMALL, true, scanner)]).toEqual([...findCuts(data, SMALL, true, 'portable')]);
      }
    }
  });
});

/** A period of bytes with a candidate in it, tried from `seed` on; at these lengths one in every few is at a candidate. */
function densestPeriod(seed: number, period: number): Uint8Array {
  const gear = (byte: number): number => (GEAR_LOW[byte & 15] ?? 0) ^ (GEAR_HIGH[byte >> 4] ?? 0);
  for (let attempt = 0; attempt < 20_000; attempt++) {
    const base = randomBytes(seed * 100_000 + attempt, period);
    for (let phase = 0; phase < period; phase++) {
      let hash = 0;
      for (let tooth = 15; tooth >= 0; tooth--) {
        const at = phase + 31 * 16 * period - 31 * tooth;
        hash = ((hash << 1) + gear(((base[at % period] ?? 0) + (base[(at - 11 + 16 * period) % period] ?? 0)) & 255)) & 0xffff;
      }
      if (hash < 16) return base;
    }
  }
  return randomBytes(seed, period);
}

describe('what the ends are like', () => {
  const data = randomBytes(99, SCAN_MAX_BYTES);

  it('has the mean that was asked for, within 5 %, on random bytes', () => {
    // 16 MiB-scale sample: 128 chunks of standard deviation 0.3 have a standard error of 2.7 %; the seeds are fixed.
    const cuts = [...Array(4).keys()].map((seed) => findCuts(randomBytes(seed + 50, SCAN_MAX_BYTES), DEFAULT_CHUNKING, true).length);
    const mean = (4 * SCAN_MAX_BYTES) / cuts.reduce((sum, count) => sum + count, 0);
    expect(Math.abs(mean / DEFAULT_CHUNKING.avg - 1)).toBeLessThan(0.05);
  });

  it('keeps every length but the last within min and max', () => {
    let start = 0;
    for (const cut of findCuts(data, DEFAULT_CHUNKING, false)) {
      expect(cut - start).toBeGreaterThanOrEqual(DEFAULT_CHUNKING.min);
      expect(cut - start).toBeLessThanOrEqual(DEFAULT_CHUNKING.max);
      start = cut;
    }
  });

  it('finds its old ends again after an insertion', () => {
    const at = 3_000_000;
    const edited = Buffer.concat([data.subarray(0, at), Buffer.from('thirteen more'), data.subarray(at)]).subarray(0, SCAN_MAX_BYTES);
    const before = new Set(findCuts(data, DEFAULT_CHUNKING, false));
    const after = [...findCuts(edited, DEFAULT_CHUNKING, false)];
    // Untouched in front, and again the same within a MiB (16 average chunks) behind.
    expect(after.filter((cut) => cut < at).every((cut) => before.has(cut))).toBe(true);
    expect(after.filter((cut) => cut > at + 1024 * 1024).every((cut) => before.has(cut - 13))).toBe(true);
  });

  it('runs of any one byte value end at the maximum', () => {
    for (let byte = 0; byte < 256; byte++) {
      expect([...findCuts(new Uint8Array(70_000).fill(byte), SMALL, true)]).toEqual([32_768, 65_536, 70_000]);
    }
  });
});

describe('parameters', () => {
  it.each([
    ['a minimum below 4 KiB', { min: 4095 }],
    ['an average below 16 KiB', { avg: 16_383 }],
    ['an average below the minimum', { min: 65_537 }],
    ['a maximum below twice the average', { max: 131_071 }],
    ['a maximum above 1 MiB', { max: 1_048_577 }],
    ['half a byte', { avg: 65_536.5 }],
    ['no number', { min: Number.NaN }],
  ])('refuses %s', (_what, change) => {
    expect(() => checkChunking({ ...DEFAULT_CHUNKING, ...change })).toThrow(expect.objectContaining({ code: 'CHUNK_PARAMS' }));
    expect(() => findCuts(new Uint8Array(10), { ...DEFAULT_CHUNKING, ...change }, true)).toThrow(expect.objectContaining({ code: 'CHUNK_PARAMS' }));
  });

  it('refuses an unknown algorithm', () => {
    expect(() => checkChunking({ ...DEFAULT_CHUNKING, algorithm: 'other' })).toThrow(expect.objectContaining({ code: 'CHUNK_ALGORITHM' }));
  });

  it('refuses more than one scan', () => {
    expect(() => findCuts(new Uint8Array(SCAN_MAX_BYTES + 1), DEFAULT_CHUNKING, true)).toThrow(expect.objectContaining({ code: 'CHUNK_SCAN_SIZE' }));
  });
});

it('the gear constants are SplitMix64 from "shoal" in ASCII with a capital S', () => {
  const words = new DataView(Uint8Array.from(randomBytes(0x53686f616c, 32 * 8)).buffer);
  const upper = Array.from({ length: 32 }, (_, n) => words.getUint32(8 * n + 4, true));
  expect([...GEAR_LOW, ...GEAR_HIGH]).toEqual(upper);
});
