import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { openedSize } from '../../src/container/layout.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { regionsOf } from '../../src/delta/spending/regions.ts';
import { spending } from '../../src/delta/spending/spent.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { native } from '../../src/kernel/native.ts';
import { compressible, image } from '../../fixtures/container/image.ts';
import { goldenPair } from '../../fixtures/delta/golden.ts';
import { executable } from '../../fixtures/delta/inputs.ts';
import { kernelModules } from '../../fixtures/delta/modules.ts';

describe('what a delta is spent on', () => {
  test('sections of every executable, wherever it begins', () => {
    const bytes = Buffer.concat([Buffer.alloc(1000, 3), kernelModules(5, 2), Buffer.from('tail')]);
    const regions = regionsOf(bytes);
    expect(regions.at(-1)).toEqual({ name: 'other bytes', kind: 'rest', end: bytes.length });
    expect(regions.filter(({ name }) => name === '.BTF')).toHaveLength(2);
    expect(regions[0]).toEqual({ name: 'other bytes', kind: 'rest', end: 1000 });
    regions.forEach(({ end }, i) => { expect(end).toBeGreaterThan(regions[i - 1]?.end ?? 0); });
    // Heads that say anything.
    for (let at = 1000; at < 1064; at++) expect(regionsOf(Buffer.concat([bytes.subarray(0, at), Buffer.from([255]), bytes.subarray(at + 1)])).at(-1)?.end).toBe(bytes.length);
  });

  test('sections of a WebAssembly module, wherever it begins, and what follows it', () => {
    // Header; types; a function; code; a section of one's own, "name"; then what is none.
    const section = (id: number, ...content: number[]): Buffer => Buffer.from([id, content.length, ...content]);
    const module = Buffer.concat([Buffer.from('\0asm\x01\0\0\0', 'latin1'), section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(10, 1, 2, 0, 0x0b), section(0, 4, ...Buffer.from('name'), 9, 9, 9)]);
    const bytes = Buffer.concat([Buffer.alloc(100, 3), module, Buffer.alloc(60), executable('x86', 3, 50)]);
    const regions = regionsOf(bytes).map(({ name, kind, end }, n, all) => [name, kind, end - (all[n - 1]?.end ?? 0)]);
    expect(regions.slice(0, 10)).toEqual([
      ['other bytes', 'rest', 100],
      ['between sections', 'executable', 10], ['wasm types', 'executable', 4], ['between sections', 'executable', 2], ['wasm functions', 'executable', 2], ['between sections', 'executable', 2], ['wasm code', 'executable', 4],
      ['between sections', 'executable', 2], ['wasm name', 'executable', 8], ['other bytes', 'rest', 60],
    ]);
    expect(regions.some(([name]) => name === '.text')).toBe(true);
    // Sections out of order, or beyond the end, are none.
    expect(regionsOf(Buffer.concat([module.subarray(0, 14), section(10, 1, 2, 0, 0x0b), section(3, 1, 0)])).filter(({ name }) => name.startsWith('wasm')).map(({ name }) => name)).toEqual(['wasm types', 'wasm code']);
    for (let end = 0; end <= module.length; end++) expect(regionsOf(module.subarray(0, end)).at(-1)?.end ?? 0).toBe(end);
  });

  test('what else can be told: signatures of modules, streams of xz and zstd, and nothing that only begins like them', () => {
    const signed = Buffer.concat([kernelModules(6, 1), Buffer.alloc(300, 9), Buffer.from('~Module signature appended~\n')]);
    // `printf shoal | xz --check=crc32 | xxd -p`
    const xz = Buffer.from('fd377a585a0000016922de360200210116000000742fe5a301000473686f616c000000006649abfd00011905bce8eccb9042990d010000000001595a', 'hex');
    const zstd = zstdCompressSync(Buffer.alloc(5000, 'shoal and more'));
    const bytes = Buffer.concat([signed, Buffer.alloc(50), zstd, Buffer.alloc(50, 1), xz, Buffer.from('fd377a585a000001', 'hex'), Buffer.from('28b52ffd', 'hex'), Buffer.alloc(40, 255)]);
    const regions = regionsOf(bytes).map(({ name, end }, n, all) => [name, end - (all[n - 1]?.end ?? 0)]);
    expect(regions).toContainEqual(['module signatures', 300 + 28]);
    expect(regions).toContainEqual(['zstd frames', zstd.length]);
    expect(regions.filter(([name]) => name === 'zstd frames')).toHaveLength(1);
    expect(regions.filter(([name]) => name === 'xz streams')).toEqual([['xz streams', xz.length]]);
    expect(regions.at(-1)).toEqual(['other bytes', 52]);
  });

  test.skipIf(native === undefined)('adds up where streams are opened too, each region where it lies in what they hold', async () => {
    const packed = (moved: boolean): Buffer => {
      const content = Buffer.concat([executable('x86', 61, 900, moved), kernelModules(62, 2, moved), compressible(63, 40_000)]);
      const blocks = Array.from({ length: Math.ceil(content.length / 16384) }, (_, n) => ({ bytes: content.subarray(n * 16384, (n + 1) * 16384), level: 6 }));
      return image([{ bytes: compressible(64, 500) }, ...blocks, { bytes: compressible(moved ? 65 : 66, 900) }]);
    };
    const [base, target] = [packed(false), packed(true)];
    const made = await makeDelta({ root: idFromBytes(blake3(base)), bytes: base }, { root: idFromBytes(blake3(target)), bytes: target }, [25_000, target.length]);
    const object = (id: string): Promise<Uint8Array> => Promise.resolve(made.objects.get(id as never) ?? new Uint8Array(0));
    const { regions, rules, predictors } = await spending(made.manifest, { object }, memoryBase(base));
    const streams = made.manifest.views?.target;
    expect(streams?.at.length).toBeGreaterThan(5);
    const opened = streams === undefined ? 0 : openedSize(streams, target.length);
    expect(regions.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(opened);
    const payloads = made.manifest.segments.reduce((sum, { payload }) => sum + (payload?.size ?? 0), 0);
    const spent = regions.reduce((sum, { literals, corrections, runs, tables }) => sum + literals + corrections + runs + tables, rules);
    expect(spent).toBeGreaterThan(payloads - 64 * made.manifest.segments.length);
    expect(spent).toBeLessThanOrEqual(payloads + 4 * made.manifest.segments.length);
    expect(regions.find(({ region, kind }) => region === '.text' && kind === 'executable')?.saved).toBeGreaterThan(0);
    expect(regions.some(({ region, kind }) => region === '.BTF' && kind === 'object')).toBe(true);
    expect(predictors.map(({ predictor }) => predictor)).toContain('x86-64 code');
    // Another base is told from a delta that went wrong.
    const other = Buffer.from(base);
    other.fill(0, 0, 400);
    await expect(spending(made.manifest, { object }, memoryBase(other))).rejects.toMatchObject({ code: 'BASE_DRIFTED' });
  });

  test.skipIf(native === undefined)('adds up to the payloads', async () => {
    const { base, target } = goldenPair();
    const spanEnds = Array.from({ length: Math.ceil(target.length / 8192) }, (_, i) => Math.min(target.length, (i + 1) * 8192));
    const made = await makeDelta({ root: idFromBytes(blake3(base)), bytes: base }, { root: idFromBytes(blake3(target)), bytes: target }, spanEnds, { segmentPayload: 600 });
    const object = (id: string): Promise<Uint8Array> => Promise.resolve(made.objects.get(id as never) ?? new Uint8Array(0));
    const { regions, rules, predictors, twice } = await spending(made.manifest, { object }, memoryBase(base));
    const payloads = made.manifest.segments.reduce((sum, { payload }) => sum + (payload?.size ?? 0), 0);
    const spent = regions.reduce((sum, { literals, corrections, runs, tables }) => sum + literals + corrections + runs + tables, rules);
    // Coders end, and say how long each part is: some bytes a segment.
    expect(spent).toBeGreaterThan(payloads - 16 * made.manifest.segments.length);
    expect(spent).toBeLessThanOrEqual(payloads + made.manifest.segments.length);
    expect(regions.reduce((sum, { map }) => sum + map, 0)).toBeCloseTo(made.manifest.pages.reduce((sum, { size }) => sum + size, 0), 3);
    expect(twice).toBe(0);
    // What moving references saves is what its stretches save, as far as they are all.
    expect(predictors.length).toBeGreaterThan(1);
    expect(predictors[0]?.saved).toBeGreaterThan(100);
    for (const { saved, bytes, stretches } of predictors) {
      expect(bytes).toBeGreaterThan(stretches);
      expect(saved).toBeLessThan(1 + regions.reduce((sum, each) => sum + Math.max(0, each.saved), 0));
    }
    expect(regions.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(target.length);
    expect(regions.map(({ region }) => region)).toEqual(expect.arrayContaining(['.text', '.BTF', 'other bytes']) as string[]);
  });
});
