import { afterEach, describe, expect, it } from 'vitest';
import type { ObjectId } from '../../src/core/ids.ts';
import { zstdDecompress } from '../../src/kernel/zstd.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import type { PrunableStore, Run } from '../../src/store/types.ts';
import { missingFrom, publish, putArtifact, sampleArtifact, sampleChunk, storedOf } from '../support/artifacts.ts';

/** A store under test, with a clock that the test moves. */
export interface ContractSubject {
  readonly store: PrunableStore;
  /** Milliseconds to add to the clock. */
  pass(ms: number): void;
  /** Breaks the stored bytes of a chunk. */
  corrupt(id: ObjectId): Promise<void>;
  /** Closes the store and opens it again; absent when the store does not last. */
  reopen?(): Promise<PrunableStore>;
}

async function bytesOf(runs: readonly Run[] | undefined): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (const run of runs ?? []) {
    const stored: Uint8Array[] = [];
    for await (const piece of run.open()) stored.push(piece.slice());
    const joined = Buffer.concat(stored);
    expect(joined.byteLength).toBe(run.storedLength);
    parts.push(run.coding === 'zstd' ? zstdDecompress(joined, run.rawLength) : joined);
    expect(parts.at(-1)?.byteLength).toBe(run.rawLength);
  }
  return Buffer.concat(parts);
}

/** What every store must do. Each implementation calls this with a way to make an empty one, and says whether it outlasts `close`. */
export function storeContract(name: string, lasting: boolean, make: () => Promise<ContractSubject>): void {
  describe(`the store contract: ${name}`, () => {
    const open: PrunableStore[] = [];
    const fresh = async (): Promise<ContractSubject> => {
      const subject = await make();
      open.push(subject.store);
      return subject;
    };
    afterEach(async () => {
      for (const store of open.splice(0)) await store.close();
    });

    it('returns what was put, chunk by chunk, page by page, and knows what it has not', async () => {
      const { store } = await fresh();
      const artifact = await sampleArtifact([[1, 2, 3], [4, 5]]);
      await publish(store, artifact);
      expect(await store.artifacts()).toEqual([storedOf(artifact)]);
      expect(await missingFrom(store, artifact)).toEqual([]);
      const absent = sampleChunk(99).id;
      expect(await store.has([sampleChunk(1).id, absent])).toEqual([true, false]);
      expect(await store.chunk(absent)).toBeUndefined();
      expect(await store.object('page', absent)).toBeUndefined();
      expect(await store.object('delta', artifact.root)).toBeUndefined();
      expect(await store.runs([sampleChunk(1).id, absent], ['identity'])).toBeUndefined();
    });

    it('sends any selection of chunks, in one coding, decoding to exactly those bytes', async () => {
      const { store } = await fresh();
      // Span two shares its first chunks with span one, so its answer is pieced together from two blocks.
      await publish(store, await sampleArtifact([[2, 4, 6, 8], [2, 4, 10, 12], [1, 3, 5], [7, 14, 9]]));
      const selections = [[2, 4, 6, 8], [2, 4, 10, 12], [1, 3, 5], [3], [4, 6], [6, 4], [2, 2], [8, 1, 14, 5, 10], [2, 4, 6, 8, 1, 3, 5], []];
      for (const seeds of selections) {
        const chunks = seeds.map((seed) => sampleChunk(seed));
        const expected = Buffer.concat(chunks.map(({ bytes }) => bytes));
        for (const accept of [['identity'], ['identity', 'zstd'], ['zstd'], []] as const) {
          const runs = await store.runs(chunks.map(({ id }) => id), accept);
          expect(new Set(runs?.map(({ coding }) => coding)).size).toBeLessThanOrEqual(1);
          if (!(accept as readonly string[]).includes('zstd')) expect(runs?.every(({ coding }) => coding === 'identity')).toBe(true);
          expect(Buffer.compare(await bytesOf(runs), expected), `${String(seeds)} as ${String(accept)}`).toBe(0);
        }
      }
    });

    it('stores a chunk once, across artifacts and across batches in flight', async () => {
      const { store } = await fresh();
      const first = await sampleArtifact([[1, 3, 5], [7, 9]]);
      const second = await sampleArtifact([[1, 3, 5], [7, 11]]);
      const [one, two] = [await store.begin(), await store.begin()];
      const added = await Promise.all([...first.spansOfChunks.map((span) => one.putSpan(span)), ...second.spansOfChunks.map((span) => two.putSpan(span))]);
      // Six different incompressible chunks of 2,000 bytes, and some bookkeeping.
      const total = added.reduce((sum, bytes) => sum + bytes, 0);
      expect(total).toBeGreaterThanOrEqual(12_000);
      expect(total).toBeLessThan(13_000);
      for (const page of first.pages) await one.putPage(page);
      for (const page of second.pages) await two.putPage(page);
      await Promise.all([one.commit([storedOf(first)]), two.commit([storedOf(second)])]);
      expect(await missingFrom(store, first)).toEqual([]);
      expect(await missingFrom(store, second)).toEqual([]);
    });

    it('shows nothing before commit, nothing after abort, and several artifacts at once', async () => {
      const { store } = await fresh();
      const [a, b] = [await sampleArtifact([[1]]), await sampleArtifact([[2]], 'other')];
      const batch = await store.begin();
      await putArtifact(batch, a);
      await putArtifact(batch, b);
      expect(await store.artifacts()).toEqual([]);
      await batch.commit([storedOf(a), storedOf(b)]);
      expect(new Set((await store.artifacts()).map(({ root }) => root))).toEqual(new Set([a.root, b.root]));
      await expect(batch.putPage(a.pages[0] as never)).rejects.toMatchObject({ code: 'BATCH_CLOSED' });
      await expect(batch.commit([])).rejects.toMatchObject({ code: 'BATCH_CLOSED' });
      const other = await store.begin();
      await putArtifact(other, await sampleArtifact([[3]]));
      await other.abort();
      await other.abort();
      expect((await store.artifacts()).length).toBe(2);
    });

    it('refuses to commit an artifact that lacks a page or a chunk', async () => {
      const { store } = await fresh();
      const artifact = await sampleArtifact([[1, 2], [3]]);
      const batch = await store.begin();
      for (const page of artifact.pages) await batch.putPage(page);
      await batch.putSpan(artifact.spansOfChunks[0] ?? []);
      await expect(batch.commit([storedOf(artifact)])).rejects.toMatchObject({ code: 'INCOMPLETE_ARTIFACT', ids: { missing: sampleChunk(3).id } });
      expect(await store.artifacts()).toEqual([]);
      await batch.putSpan(artifact.spansOfChunks[1] ?? []);
      await batch.commit([storedOf(artifact)]);
      expect(await missingFrom(store, artifact)).toEqual([]);
    });

    it('gives back the space of forgotten artifacts, and only theirs', async () => {
      const { store } = await fresh();
      const kept = await sampleArtifact([[1, 2], [3, 4]]);
      const gone = await sampleArtifact([[1, 2], [5, 6, 7, 8, 9, 11, 13, 15]]);
      await publish(store, kept);
      await publish(store, gone);
      expect((await store.gc()).freedBytes).toBe(0);
      expect(await store.forget(gone)).toBe(true);
      expect(await store.forget(gone)).toBe(false);
      expect((await store.gc()).freedBytes).toBeGreaterThan(10_000);
      expect(await store.has([5, 6, 15].map((seed) => sampleChunk(seed).id))).toEqual([false, false, false]);
      expect(await store.object('page', gone.root)).toBeUndefined();
      expect(await missingFrom(store, kept)).toEqual([]);
      expect((await store.verify()).damaged).toEqual([]);
      // And what was given back can be put again.
      await publish(store, gone);
      expect(await missingFrom(store, gone)).toEqual([]);
    });

    it('keeps what a batch relies on from gc until the batch ends, also when it ends during gc', async () => {
      const { store } = await fresh();
      const old = await sampleArtifact([[1, 3, 5, 7], [9, 11, 13]]);
      await publish(store, old);
      await store.forget(old);
      const next = await sampleArtifact([[1, 3, 5, 7], [9, 11, 13, 17]]);
      const batch = await store.begin();
      await putArtifact(batch, next);
      await store.gc();
      const [, report] = await Promise.all([batch.commit([storedOf(next)]), store.gc()]);
      expect(report.freedBytes).toBeGreaterThanOrEqual(0);
      await store.gc();
      expect(await missingFrom(store, next)).toEqual([]);
    });

    it('keeps everything under a lease until it is released or has run out', async () => {
      const { store, pass } = await fresh();
      const artifact = await sampleArtifact([[1, 2, 3]]);
      await expect(store.lease(artifact.root, 1000)).rejects.toMatchObject({ code: 'NO_SUCH_ARTIFACT' });
      await publish(store, artifact);
      const lease = await store.lease(artifact.root, 1000);
      const longer = await store.lease(artifact.root, 5000);
      await store.forget(artifact);
      await store.gc();
      expect(await missingFrom(store, artifact)).toEqual([]);
      await lease.release();
      await lease.release();
      pass(4000);
      await store.gc();
      expect(await missingFrom(store, artifact)).toEqual([]);
      expect(longer).toBeDefined();
      pass(1001);
      await store.gc();
      expect(await store.chunk(sampleChunk(1).id)).toBeUndefined();
    });

    it('retains what is wanted or leased, and what a commit holds until somebody refers to it', async () => {
      const { store, pass } = await fresh();
      const [wanted, leased, held, loose] = [await sampleArtifact([[1]]), await sampleArtifact([[3]]), await sampleArtifact([[5]]), await sampleArtifact([[7]], 'other')];
      await publish(store, wanted, leased, loose);
      await store.lease(leased.root, 5000);
      const batch = await store.begin();
      await putArtifact(batch, held);
      const hold = await batch.commit([storedOf(held)], 5000);
      expect(await store.retain(() => Promise.resolve([wanted]))).toEqual([storedOf(loose)]);
      await store.gc();
      expect(new Set((await store.artifacts()).map(({ root }) => root))).toEqual(new Set([wanted.root, leased.root, held.root]));
      expect(await missingFrom(store, held)).toEqual([]);
      await hold.release();
      expect(await store.retain(() => Promise.resolve([wanted, held]))).toEqual([]);
      pass(5001);
      expect(new Set((await store.retain(() => Promise.resolve([wanted]))).map(({ root }) => root))).toEqual(new Set([leased.root, held.root]));
      // Who cannot say what is wanted loses nothing.
      await expect(store.retain(() => Promise.reject(new Error('no list')))).rejects.toThrow('no list');
      expect(await store.artifacts()).toEqual([storedOf(wanted)]);
    });

    it('lets readers of runs finish that were asked for before gc took the chunks', async () => {
      const { store } = await fresh();
      const artifact = await sampleArtifact([[1, 2, 3, 4], [2, 8, 10]]);
      await publish(store, artifact);
      const ids = artifact.spansOfChunks[0]?.map(({ id }) => id) ?? [];
      const whole = await store.runs(ids, ['zstd']);
      const raw = await store.runs(ids.slice(1), ['identity']);
      const started = raw?.[0]?.open()[Symbol.asyncIterator]();
      await started?.next();
      await store.forget(artifact);
      await store.gc();
      expect(await store.has(ids)).toEqual([false, false, false, false]);
      expect(Buffer.compare(await bytesOf(whole), Buffer.concat((artifact.spansOfChunks[0] ?? []).map(({ bytes }) => bytes)))).toBe(0);
      while ((await started?.next())?.done === false);
    });

    it('keeps delta objects as long as one of the artifacts they were put for', async () => {
      const { store } = await fresh();
      const [a, b] = [await sampleArtifact([[1]]), await sampleArtifact([[3]])];
      const payload = new TextEncoder().encode('a segment payload');
      const id = chunkIdOf(payload);
      const batch = await store.begin();
      await putArtifact(batch, a);
      await putArtifact(batch, b);
      await expect(batch.putObject('delta', a.root, payload, a.root)).rejects.toMatchObject({ code: 'OBJECT_MISMATCH' });
      await batch.putObject('delta', id, payload, a.root);
      await batch.putObject('delta', id, payload, b.root);
      await batch.commit([storedOf(a), storedOf(b)]);
      expect(await store.deltaOf(a.root, id)).toEqual(payload);
      expect(await store.deltaOf(id, id)).toBeUndefined();
      for (const [gone, left] of [[a, true], [b, false]] as const) {
        await store.forget(gone);
        await store.gc();
        expect((await store.object('delta', id))?.byteLength).toBe(left ? payload.byteLength : undefined);
        expect((await store.deltaOf(b.root, id))?.byteLength).toBe(left ? payload.byteLength : undefined);
      }
    });

    it('lets go of delta objects that are no longer wanted, but of none while their artifact is leased', async () => {
      const { store } = await fresh();
      const artifact = await sampleArtifact([[1]]);
      const batch = await store.begin();
      await putArtifact(batch, artifact);
      await batch.commit([storedOf(artifact)]);
      const [old, current, unlisted] = [1, 2, 3].map((fill) => new Uint8Array(20_000).fill(fill)) as [Uint8Array, Uint8Array, Uint8Array];
      const lease = await store.lease(artifact.root, 60_000);
      const putting = await store.begin();
      for (const bytes of [old, current, unlisted]) await putting.putObject('delta', chunkIdOf(bytes), bytes, artifact.root);
      await putting.commit([]);
      const here = async (): Promise<boolean[]> => Promise.all([old, current, unlisted].map(async (bytes) => (await store.deltaOf(artifact.root, chunkIdOf(bytes))) !== undefined));
      const wantedDeltas = (): Promise<ReadonlyMap<ObjectId, ReadonlySet<ObjectId>>> => Promise.resolve(new Map([[artifact.root, new Set([chunkIdOf(current)])]]));
      await store.gc({ wantedDeltas });
      expect(await here()).toEqual([true, true, true]);
      await lease.release();
      await store.gc();
      expect(await here()).toEqual([true, true, true]);
      await store.gc({ wantedDeltas });
      expect(await here()).toEqual([false, true, false]);
      await store.gc({ wantedDeltas: () => Promise.resolve(new Map()) });
      expect(await here()).toEqual([false, false, false]);
    });

    it('finds damaged chunks, says which artifact lacks them, and heals when they are put again', async () => {
      const { store, corrupt } = await fresh();
      // Incompressible, so that one flipped bit damages one chunk.
      const artifact = await sampleArtifact([[1, 3, 5], [7, 9]]);
      await publish(store, artifact);
      const clean = await store.verify();
      expect(clean).toMatchObject({ chunks: 5, objects: 3, damaged: [], incomplete: [] });
      const victim = sampleChunk(3).id;
      await corrupt(victim);
      const report = await store.verify();
      expect(report.damaged).toContain(victim);
      expect(report.incomplete).toEqual([{ namespace: 'default', root: artifact.root, missing: expect.arrayContaining([victim]) as unknown }]);
      await store.verify({ discard: true });
      expect(await store.has([victim])).toEqual([false]);
      await publish(store, artifact);
      expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
    });

    it('takes what was found damaged for what is not here, and what is put again for good', async () => {
      const { store, corrupt } = await fresh();
      const artifact = await sampleArtifact([[1, 3, 5], [7, 9]]);
      await publish(store, artifact);
      const [victim, other] = [sampleChunk(3), sampleChunk(7)];
      await corrupt(victim.id);
      await store.verify();
      expect(await store.has([victim.id, other.id])).toEqual([false, true]);
      const batch = await store.begin();
      const added = await batch.putSpan([victim, other]);
      expect([added >= victim.bytes.byteLength, added < victim.bytes.byteLength + other.bytes.byteLength]).toEqual([true, true]);
      for (const chunks of artifact.spansOfChunks) await batch.putSpan(chunks);
      expect(await batch.putSpan(artifact.spansOfChunks.flat())).toBe(0);
      await batch.commit([]);
      expect(await store.has([victim.id, other.id])).toEqual([true, true]);
      expect(await missingFrom(store, artifact)).toEqual([]);
      expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
      await store.gc();
      expect(await missingFrom(store, artifact)).toEqual([]);
    });

    if (lasting) it('is the same after it was closed and opened', async () => {
      const subject = await fresh();
      if (subject.reopen === undefined) throw new Error('a lasting store can be opened again');
      const artifact = await sampleArtifact([[1, 2], [3]]);
      await publish(subject.store, artifact);
      await subject.store.lease(artifact.root, 1000);
      const again = await subject.reopen();
      open.push(again);
      expect(await again.artifacts()).toEqual([storedOf(artifact)]);
      await again.forget(artifact);
      await again.gc();
      expect(await missingFrom(again, artifact)).toEqual([]);
    });
  });
}
