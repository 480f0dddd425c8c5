import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { goldenPair, movedPair } from '../../fixtures/container/image.ts';
import { partsOf } from '../../src/container/layout.ts';
import { NO_STREAMS } from '../../src/container/streams.ts';
import { isShoalError } from '../../src/core/errors.ts';
import { openDeltaFile } from '../../src/delta/file.ts';
import { decodeParts } from '../../src/delta/parts.ts';
import { memoryBase } from '../../src/delta/predict.ts';
import { Codec } from '../../src/delta/types.ts';
import { rebuild } from '../support/rebuild.ts';

const file = readFileSync(new URL('../../fixtures/container/golden-2.delta', import.meta.url));
const { base, target } = goldenPair();

describe('vectors of docs/containers.md', () => {
  test('the golden file is of feature 2, made from these inputs, and rebuilds the target', async () => {
    const { outline } = await openDeltaFile(memoryBase(file), file.length);
    expect([outline.base.size, outline.target.size]).toEqual([base.length, target.length]);
    expect(outline.views?.target.at.length).toBeGreaterThan(5);
    expect(outline.segments.map(({ codec }) => codec)).toContain(Codec.PARTS);
    expect((await rebuild(file, base)).equals(target)).toBe(true);
  });

  test('so does the one whose references are moved', async () => {
    const pair = movedPair();
    const bytes = readFileSync(new URL('../../fixtures/container/golden-2-moved.delta', import.meta.url));
    const { outline, ...objects } = await openDeltaFile(memoryBase(bytes), bytes.length);
    const payloads = await Promise.all(outline.segments.map(async ({ payload }) => (payload === undefined ? new Uint8Array(0) : objects.object(payload.id, payload.size))));
    const parts = outline.segments.flatMap(({ codec, length }, n) => {
      const begin = outline.segments.slice(0, n).reduce((sum, each) => sum + each.length, 0);
      return codec === Codec.PARTS ? decodeParts(payloads[n] as Uint8Array, partsOf(outline.views?.target ?? NO_STREAMS, begin, begin + length).map((part) => part.length)) : [];
    });
    expect(parts.map(({ codec }) => codec)).toContain(Codec.MOVED);
    expect((await rebuild(bytes, pair.base)).equals(pair.target)).toBe(true);
  });

  test('with a byte changed or cut off it is refused by name, or rebuilds the target all the same', async () => {
    // Mostly the head and the list of streams.
    for (let at = 0; at < file.length; at += at < 260 ? 7 : 211) {
      const changed = Buffer.from(file);
      changed[at] = (changed[at] as number) ^ (1 << (at % 8));
      for (const bytes of [changed, file.subarray(0, at)]) {
        try {
          expect((await rebuild(bytes, base)).equals(target)).toBe(true);
        } catch (error) {
          if (!isShoalError(error)) throw error;
        }
      }
    }
  });
});
