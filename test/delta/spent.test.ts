import { describe, expect, test } from 'vitest';
import { makeDelta } from '../../src/delta/make.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { regionsOf } from '../../src/delta/regions.ts';
import { spending } from '../../src/delta/spent.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { native } from '../../src/kernel/native.ts';
import { goldenPair } from '../../fixtures/delta/golden.ts';
import { kernelModules } from '../../fixtures/delta/modules.ts';

describe('what a delta is spent on', () => {
  test('sections of every executable, wherever it begins', () => {
    const bytes = Buffer.concat([Buffer.alloc(1000, 3), kernelModules(5, 2), Buffer.from('tail')]);
    const regions = regionsOf(bytes);
    expect(regions.at(-1)).toEqual({ name: 'other bytes', end: bytes.length });
    expect(regions.filter(({ name }) => name === '.BTF')).toHaveLength(2);
    expect(regions[0]).toEqual({ name: 'other bytes', end: 1000 });
    regions.forEach(({ end }, i) => { expect(end).toBeGreaterThan(regions[i - 1]?.end ?? 0); });
    // Heads that say anything.
    for (let at = 1000; at < 1064; at++) expect(regionsOf(Buffer.concat([bytes.subarray(0, at), Buffer.from([255]), bytes.subarray(at + 1)])).at(-1)?.end).toBe(bytes.length);
  });

  test.skipIf(native === undefined)('adds up to the payloads', async () => {
    const { base, target } = goldenPair();
    const spanEnds = Array.from({ length: Math.ceil(target.length / 8192) }, (_, i) => Math.min(target.length, (i + 1) * 8192));
    const made = await makeDelta({ root: idFromBytes(blake3(base)), bytes: base }, { root: idFromBytes(blake3(target)), bytes: target }, spanEnds, { segmentPayload: 600 });
    const object = (id: string): Promise<Uint8Array> => Promise.resolve(made.objects.get(id as never) ?? new Uint8Array(0));
    const { regions, rules } = await spending(made.manifest, { object }, memoryBase(base));
    const payloads = made.manifest.segments.reduce((sum, { payload }) => sum + (payload?.size ?? 0), 0);
    const spent = regions.reduce((sum, { literals, corrections, runs, tables }) => sum + literals + corrections + runs + tables, rules);
    // Coders end, and say how long each part is: some bytes a segment.
    expect(spent).toBeGreaterThan(payloads - 16 * made.manifest.segments.length);
    expect(spent).toBeLessThanOrEqual(payloads + made.manifest.segments.length);
    expect(regions.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(target.length);
    expect(regions.map(({ region }) => region)).toEqual(expect.arrayContaining(['.text', '.BTF', 'other bytes']) as string[]);
  });
});
