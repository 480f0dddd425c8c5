import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ObjectId } from '../../src/core/ids.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { missingFrom, publish, putArtifact, sampleArtifact, sampleChunk, storedOf } from '../support/artifacts.ts';

describe('pack files', () => {
  let directory: string;
  const packs = async (): Promise<string[]> => (await readdir(join(directory, 'packs'))).map((name) => join(directory, 'packs', name));
  const edit = async (path: string, change: (bytes: Buffer) => void): Promise<void> => {
    const bytes = await readFile(path);
    change(bytes);
    await writeFile(path, bytes);
  };
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shoal-packs-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('names the pack when stored bytes are damaged, before the last of them leaves', async () => {
    const store = await PackStore.open(directory);
    const artifact = await sampleArtifact([[2, 4, 6], [1, 3]]);
    await publish(store, artifact);
    for (const path of await packs()) await edit(path, (bytes) => bytes.fill(0xff, 160, 170));
    const read = async (ids: readonly ObjectId[]): Promise<void> => {
      for (const run of (await store.runs(ids, ['zstd'])) ?? []) for await (const piece of run.open()) void piece;
    };
    await expect(read(artifact.spansOfChunks[0]?.map(({ id }) => id) ?? [])).rejects.toMatchObject({ code: 'STORE_DAMAGED', ids: { pack: 1 } });
    await expect(store.chunk(sampleChunk(4).id)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    await read(artifact.spansOfChunks[1]?.map(({ id }) => id) ?? []);
    expect((await store.verify()).damaged.length).toBe(3);
    await store.close();
  });

  it('is healed by publishing again, once somebody has met the damage: a reader will do, and another process', async () => {
    const origin = await PackStore.open(directory);
    const artifact = await sampleArtifact([[2, 4, 6], [1, 3]]);
    await publish(origin, artifact);
    for (const path of await packs()) await edit(path, (bytes) => bytes.fill(0xff, 160, 170));
    await expect(origin.chunk(sampleChunk(4).id)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    const publisher = await PackStore.open(directory);
    // The reader notes it beside its reading.
    await expect.poll(async () => {
      const other = await PackStore.open(directory);
      const here = await other.has([4, 1].map((seed) => sampleChunk(seed).id));
      await other.close();
      return here;
    }).toEqual([false, true]);
    await publish(publisher, artifact);
    await publisher.close();
    expect(await missingFrom(origin, artifact)).toEqual([]);
    expect(await origin.verify()).toMatchObject({ damaged: [], incomplete: [] });
    await origin.close();
    // Also when the index has to be made from the packs again, where the damaged block still lies.
    await rm(join(directory, 'index.sqlite'));
    const store = await PackStore.open(directory);
    expect(await missingFrom(store, artifact)).toEqual([]);
    await store.close();
  });

  it('writes a damaged index page again, though nobody has met the damage', async () => {
    const store = await PackStore.open(directory);
    const artifact = await sampleArtifact([[1], [3]]);
    await publish(store, artifact);
    const page = artifact.pages[0] ?? expect.fail();
    for (const path of await packs()) await edit(path, (bytes) => bytes.fill(0xff, bytes.indexOf(page.encoded) + 8, bytes.indexOf(page.encoded) + 12));
    await publish(store, artifact);
    expect(await missingFrom(store, artifact)).toEqual([]);
    expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
    await store.close();
  });

  it('keeps what was doubted and turns out to be sound', async () => {
    const store = await PackStore.open(directory);
    const artifact = await sampleArtifact([[1, 3]]);
    await publish(store, artifact);
    const flip = async (): Promise<void> => { for (const path of await packs()) await edit(path, (bytes) => { bytes[300] = (bytes[300] ?? 0) ^ 1; }); };
    await flip();
    expect((await store.verify()).damaged.length).toBeGreaterThan(0);
    // It was the cable.
    await flip();
    const batch = await store.begin();
    expect(await batch.putSpan(artifact.spansOfChunks[0] ?? [])).toBe(0);
    await batch.abort();
    expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
    await store.close();
  });

  it('is made whole from the packs when the index is lost, garbage, or of another store', async () => {
    const artifact = await sampleArtifact([[1, 2, 3], [4, 5]]);
    let store = await PackStore.open(directory);
    await publish(store, artifact);
    await store.close();
    const other = await mkdtemp(join(tmpdir(), 'shoal-other-'));
    const foreign = await PackStore.open(other);
    await publish(foreign, await sampleArtifact([[7, 8]]));
    await foreign.close();
    for (const index of [undefined, Buffer.from('no database at all'.repeat(100)), await readFile(join(other, 'index.sqlite'))]) {
      for (const suffix of ['', '-wal', '-shm']) await rm(join(directory, `index.sqlite${suffix}`), { force: true });
      if (index !== undefined) await writeFile(join(directory, 'index.sqlite'), index);
      store = await PackStore.open(directory);
      expect(await store.artifacts()).toEqual([storedOf(artifact)]);
      expect(await missingFrom(store, artifact)).toEqual([]);
      await store.close();
    }
    await rm(other, { recursive: true });
  });

  it('steps over a damaged record and keeps what follows it when the index is lost', async () => {
    let store = await PackStore.open(directory);
    await publish(store, await sampleArtifact([[1], [3], [5]]));
    await store.close();
    await rm(join(directory, 'index.sqlite'));
    // The first record's head, right behind the pack's header.
    for (const path of await packs()) await edit(path, (bytes) => bytes.fill(0, 40, 44));
    store = await PackStore.open(directory);
    expect(await store.has([1, 3, 5].map((seed) => sampleChunk(seed).id))).toEqual([false, true, true]);
    expect((await store.verify()).incomplete.map(({ missing }) => missing)).toEqual([[sampleChunk(1).id]]);
    await store.close();
  });

  it('is shared by a writer and a reader that has it open, and by two writers in turn', async () => {
    const [origin, publisher] = [await PackStore.open(directory), await PackStore.open(directory)];
    const [one, two] = [await sampleArtifact([[1, 2]]), await sampleArtifact([[1, 2], [3]])];
    const batch = await publisher.begin();
    await putArtifact(batch, one);
    let begun = false;
    const second = origin.begin().then((mine) => {
      begun = true;
      return mine;
    });
    expect(await origin.artifacts()).toEqual([]);
    await batch.commit([storedOf(one)]);
    expect(await missingFrom(origin, one)).toEqual([]);
    const mine = await second;
    expect(begun).toBe(true);
    await putArtifact(mine, two);
    await mine.commit([storedOf(two)]);
    expect(await missingFrom(publisher, two)).toEqual([]);
    expect((await publisher.artifacts()).length).toBe(2);
    await origin.close();
    await publisher.close();
  });

  it('writes to the last pack again instead of beginning one for every publish', async () => {
    const store = await PackStore.open(directory);
    for (let release = 0; release < 20; release++) await publish(store, await sampleArtifact([[release * 2 + 1]]));
    await store.close();
    expect((await packs()).length).toBe(1);
  });
});
