import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../src/store/memory.ts';
import type { StoreReader } from '../../src/store/types.ts';
import { CachingReader } from '../../src/store/wrap/caching.ts';
import { LimitedReader } from '../../src/store/wrap/limited.ts';
import { SharedReader } from '../../src/store/wrap/shared.ts';
import { publish, sampleArtifact, sampleChunk } from '../support/artifacts.ts';

interface Counted extends StoreReader {
  readonly reads: { now: number; most: number; all: number };
}

/** A store that counts its reads, each of which takes a few turns. */
async function counted(): Promise<Counted> {
  const inner = new MemoryStore();
  await publish(inner, await sampleArtifact([[1, 2, 3, 4], [5, 6, 7, 8]]));
  const reads = { now: 0, most: 0, all: 0 };
  const slowly = async <T>(read: () => Promise<T>): Promise<T> => {
    reads.all++;
    reads.most = Math.max(reads.most, ++reads.now);
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    reads.now--;
    return read();
  };
  return {
    reads,
    has: (ids) => inner.has(ids),
    chunk: (id) => slowly(() => inner.chunk(id)),
    object: (kind, id) => slowly(() => inner.object(kind, id)),
    runs: (ids, accept) => slowly(() => inner.runs(ids, accept)),
    close: () => inner.close(),
  };
}

const ids = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => sampleChunk(seed).id);
const [one] = ids as [typeof ids[number]];

describe('store wrappers', () => {
  it('CachingReader reads a chunk once while it is kept, and keeps no more than its bound', async () => {
    const store = await counted();
    // Three chunks of 2,000 bytes fit.
    const reader = new CachingReader(store, 6500);
    await reader.chunk(one);
    expect(Buffer.compare((await reader.chunk(one)) ?? Buffer.alloc(0), sampleChunk(1).bytes)).toBe(0);
    expect(store.reads.all).toBe(1);
    for (const id of ids) await reader.chunk(id);
    await reader.chunk(one);
    expect(store.reads.all).toBe(9);
    expect(await reader.chunk(sampleChunk(99).id)).toBeUndefined();
    await reader.close();
  });

  it('SharedReader reads once for everybody who asks at the same time', async () => {
    const store = await counted();
    const reader = new SharedReader(store);
    const answers = await Promise.all(Array.from({ length: 20 }, () => reader.chunk(one)));
    expect(answers.every((bytes) => bytes?.byteLength === 2000)).toBe(true);
    expect(store.reads.all).toBe(1);
    await reader.chunk(one);
    expect(store.reads.all).toBe(2);
  });

  it('LimitedReader has at most so many reads under way, streams included, and loses none', async () => {
    const store = await counted();
    const reader = new LimitedReader(store, 2);
    await Promise.all(ids.map((id) => reader.chunk(id)));
    expect(store.reads).toMatchObject({ all: 8, most: 2, now: 0 });
    const runs = await reader.runs(ids, ['identity']);
    const streams = [1, 2, 3].map(() => runs?.[0]?.open()[Symbol.asyncIterator]());
    await streams[0]?.next();
    await streams[1]?.next();
    let third = false;
    const waiting = streams[2]?.next().then(() => (third = true));
    await reader.has(ids);
    expect(third).toBe(false);
    await streams[0]?.return?.();
    await waiting;
    expect(third).toBe(true);
  });
});
