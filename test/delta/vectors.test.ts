import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { goldenPair, linkedPair, wasmPair } from '../../fixtures/delta/golden.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { openDeltaFile } from '../../src/delta/file.ts';
import { FEW_HEAD } from '../../src/delta/coding/few.ts';
import { LiteralWay } from '../../src/delta/coding/literals.ts';
import { decodePortably } from '../../src/delta/kernel.ts';
import { decodeMapPage } from '../../src/delta/coding/map.ts';
import { memoryBase, predict } from '../../src/delta/predict.ts';
import { PASSAGES_HEAD } from '../../src/delta/coding/passages.ts';
import { readRules } from '../../src/delta/references/rules.ts';
import { Shifts } from '../../src/delta/references/shifts.ts';
import { Codec } from '../../src/delta/types.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { rebuild } from '../support/rebuild.ts';
import type { Covers } from '../../src/delta/types.ts';

interface Vectors {
  readonly golden: { readonly base: string; readonly target: string; readonly segments: readonly { readonly codec: number; readonly length: number }[]; readonly ways: readonly number[]; readonly tables: number };
  readonly corrupt: readonly { readonly name: string; readonly at: number; readonly to: string; readonly code: string }[];
}

const folder = new URL('../../fixtures/delta/', import.meta.url);
const { golden, corrupt } = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as Vectors;
const file = readFileSync(new URL('golden-1.delta', folder));
const { base, target } = goldenPair();

describe('vectors of docs/delta.md', () => {
  test('the inputs are the ones the golden file was made from', () => {
    expect([idFromBytes(blake3(base)), idFromBytes(blake3(target))]).toEqual([golden.base, golden.target]);
    // Every codec is there, or the file proves less than it is for.
    expect(new Set(golden.segments.map(({ codec }) => codec))).toEqual(new Set([Codec.COPY, Codec.RAW, Codec.SITES, Codec.MOVED]));
    // So is every way to predict and to code literals.
    expect(golden.ways).toEqual([LiteralWay.MIXED, LiteralWay.NIBBLES, FEW_HEAD, FEW_HEAD + 1, FEW_HEAD + 2, PASSAGES_HEAD, PASSAGES_HEAD + 1]);
    expect(golden.tables).toBeGreaterThan(1);
  });

  test('the golden file rebuilds the target', async () => {
    expect((await rebuild(file, base)).equals(target)).toBe(true);
  });

  test.each([['WebAssembly', 'golden-1-wasm.delta', wasmPair()], ['what linkers write', 'golden-1-linked.delta', linkedPair()]] as const)('so does that of %s', async (_what, name, pair) => {
    expect((await rebuild(readFileSync(new URL(name, folder)), pair.base)).equals(pair.target)).toBe(true);
  });

  // Every kind of rule is met, WebAssembly's in a file of their own.
  test.each([
    ['golden-1.delta', { base, target }, [0, 1, 2, 3, 4, 5]],
    ['golden-1-linked.delta', linkedPair(), [0, 2, 3, 8, 9, 10, 11, 12, 13, 14]],
  ] as const)('so does the portable decoder (%s), whichever tier is loaded', async (name, { base, target }, met) => {
    const file = readFileSync(new URL(name, folder));
    const delta = await openDeltaFile(memoryBase(file), file.length);
    const { pages, segments } = delta.outline;
    const maps: Covers[] = [];
    let [at, number] = [0, 0];
    for (const page of pages) {
      const own = segments.slice(number, number + page.segments);
      const begin = at;
      const end = own.reduce((sum, { length }) => sum + length, begin);
      const list = decodeMapPage(await delta.object(page.id, page.size), begin, end, base.length, page.covers) ?? [];
      maps.push(Float64Array.from(list.flatMap((c) => [c.target, c.length, c.base, c.fill])));
      at = end;
      number += page.segments;
    }
    const shifts = new Shifts(maps, base.length);
    const kinds = new Set<number>();
    [at, number] = [0, 0];
    for (const [n, page] of pages.entries()) {
      for (const { length, codec, payload } of segments.slice(number, (number += page.segments))) {
        if ((codec === Codec.SITES || codec === Codec.MOVED) && payload !== undefined) {
          const bytes = Buffer.alloc(length);
          const pieces = await predict(maps[n] as Covers, at, bytes, memoryBase(base));
          const object = await delta.object(payload.id, payload.size);
          if (codec === Codec.MOVED) for (const { kind } of readRules(object, length, base.length)?.rules ?? []) kinds.add(kind);
          expect(decodePortably(codec, object, bytes, at, pieces, shifts)).toBe(true);
          expect(bytes.equals(target.subarray(at, at + length))).toBe(true);
        }
        at += length;
      }
    }
    expect([...kinds].sort((a, b) => a - b)).toEqual(met);
  });

  test.each(corrupt)('refused: $name', async ({ at, to, code }) => {
    const bytes = Buffer.from(file);
    bytes.set(Buffer.from(to, 'hex'), at);
    await expect(rebuild(bytes, base)).rejects.toMatchObject({ code });
  });
});
