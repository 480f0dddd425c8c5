import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyChunk } from '../../src/merkle/verify.ts';
import { PackCache } from '../../src/store/pack/cache.ts';
import { sampleArtifact, sampleChunk, storedOf } from '../support/artifacts.ts';

const MiB = 1024 * 1024;
/** Odd seeds do not compress: what is put is what it takes. */
const span = (number: number): ReturnType<typeof sampleChunk>[] => [0, 1, 2, 3].map((each) => sampleChunk(number * 8 + each * 2 + 1, 64 * 1024));

describe('a bounded cache', () => {
  let directory: string;
  let cache: PackCache;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shoal-cache-'));
    cache = await PackCache.open(directory, { maxBytes: 16 * MiB });
  });
  afterEach(async () => {
    await cache.close();
    await rm(directory, { recursive: true });
  });

  const onDisk = async (): Promise<number> => {
    let bytes = 0;
    for (const name of await readdir(join(directory, 'packs'))) bytes += (await stat(join(directory, 'packs', name))).size;
    return bytes;
  };

  it('stays within its bound, keeps what is used and lets go of what is not', async () => {
    // 120 spans of 256 KiB: twice what fits.
    for (let number = 0; number < 120; number++) {
      await cache.putSpan(span(number));
      const favourite = await cache.chunk(sampleChunk(1, 64 * 1024).id);
      expect(favourite, `after span ${String(number)}`).toBeDefined();
      expect(await onDisk()).toBeLessThanOrEqual(16 * MiB);
    }
    expect((await cache.has(span(119).map(({ id }) => id))).every(Boolean)).toBe(true);
    expect((await cache.has(span(20).map(({ id }) => id))).some(Boolean)).toBe(false);
    expect((await cache.usage()).bytes).toBeLessThanOrEqual(16 * MiB);
  });

  it('knows whose delta objects are, also when they were carried over and after a restart', async () => {
    const payload = sampleChunk(1, 64 * 1024);
    const [owner, other] = [sampleChunk(3).id, sampleChunk(5).id];
    await cache.putObject('delta', payload.id, payload.bytes, owner);
    await expect(cache.putObject('delta', owner, payload.bytes, owner)).rejects.toMatchObject({ code: 'OBJECT_MISMATCH' });
    for (let number = 0; number < 120; number++) {
      await cache.putSpan(span(number));
      expect((await cache.deltaOf(owner, payload.id))?.byteLength, `after span ${String(number)}`).toBe(64 * 1024);
    }
    expect(await cache.deltaOf(other, payload.id)).toBeUndefined();
    await cache.close();
    cache = await PackCache.open(directory, { maxBytes: 16 * MiB });
    expect(await cache.deltaOf(owner, payload.id)).toEqual(payload.bytes);
    expect(await cache.deltaOf(other, payload.id)).toBeUndefined();
    for (let number = 200; number < 400; number++) await cache.putSpan(span(number));
    expect(await cache.deltaOf(owner, payload.id)).toBeUndefined();
  });

  it('does not break a reader that is in the middle of a run', async () => {
    const first = span(0);
    await cache.putSpan(first);
    const runs = await cache.runs(first.map(({ id }) => id), ['zstd']);
    const stream = runs?.[0]?.open()[Symbol.asyncIterator]();
    const parts: Uint8Array[] = [(await stream?.next())?.value as Uint8Array];
    for (let number = 1; number < 100; number++) await cache.putSpan(span(number));
    for (let next = await stream?.next(); next?.done === false; next = await stream?.next()) parts.push(next.value);
    const bytes = Buffer.concat(parts);
    for (const [index, { id }] of first.entries()) verifyChunk(id, bytes.subarray(index * 65536, (index + 1) * 65536));
  });

  it('is still filled after it was closed and opened, and knows the artifacts', async () => {
    const artifact = await sampleArtifact([[1, 3], [5]]);
    await cache.putSpan(artifact.spansOfChunks[0] ?? []);
    for (const page of artifact.pages) await cache.putPage(page);
    await cache.note(storedOf(artifact));
    await cache.note(storedOf(artifact));
    await cache.close();
    cache = await PackCache.open(directory, { maxBytes: 16 * MiB });
    expect(await cache.artifacts()).toEqual([storedOf(artifact)]);
    expect(await cache.has([1, 3, 5].map((seed) => sampleChunk(seed).id))).toEqual([true, true, false]);
    expect(Buffer.from((await cache.object('page', artifact.root)) ?? [])).toEqual(Buffer.from(artifact.pages.at(-1)?.encoded ?? []));
  });
});
