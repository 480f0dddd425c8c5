import { afterEach, describe, expect, it } from 'vitest';
import type { Lease, PrunableStore, StoreBatch } from '../../src/store/types.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { missingFrom, putArtifact, sampleArtifact, storedOf } from '../support/artifacts.ts';
import type { SampleArtifact } from '../support/artifacts.ts';
import { CrashFiles } from '../support/crash-files.ts';
import { fc } from '../support/property.ts';

/**
 * Publishers, readers, gc, forget, leases and crashes in any order and at the same time, against the one rule that
 * matters: what is visible or leased is whole, always.
 */
type Step =
  | { readonly do: 'publish' | 'abandon' | 'forget' | 'read'; readonly which: number }
  | { readonly do: 'lease'; readonly which: number; readonly ttl: number }
  | { readonly do: 'gc' | 'crash' | 'settle' }
  | { readonly do: 'pass'; readonly ms: number };

const which = fc.nat(4);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('publish', 'abandon', 'forget', 'read'), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lease'), which, ttl: fc.integer({ min: 1, max: 100_000 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('gc', 'settle', 'crash') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass'), ms: fc.integer({ min: 1, max: 100_000 }) }) },
);

/** Five releases that share chunks in many ways, so that every forget leaves half-dead blocks. */
const releases: readonly SampleArtifact[] = await Promise.all(
  [[[1, 2, 3], [4, 5]], [[1, 2, 3], [6, 7]], [[3, 4], [6, 8, 9]], [[9, 1], [10, 11, 12], [5]], [[2], [12, 13], [1, 2, 3]]].map((seeds) => sampleArtifact(seeds, 'default', 600)),
);

class World {
  readonly #make: (files: CrashFiles, now: () => number) => Promise<PrunableStore>;
  #files = new CrashFiles();
  #store!: PrunableStore;
  #now = 1e12;
  #running: Promise<unknown>[] = [];
  #leases: { readonly artifact: SampleArtifact; readonly until: number; readonly lease: Lease }[] = [];
  readonly #lasting: boolean;

  constructor(lasting: boolean, make: (files: CrashFiles, now: () => number) => Promise<PrunableStore>) {
    this.#lasting = lasting;
    this.#make = make;
  }

  async start(): Promise<void> {
    this.#store = await this.#make(this.#files, () => this.#now);
  }

  async take(step: Step): Promise<void> {
    const store = this.#store;
    const artifact = 'which' in step ? (releases[step.which] as SampleArtifact) : undefined;
    if (step.do === 'pass') this.#now += step.ms;
    else if (step.do === 'settle') await this.settle();
    else if (step.do === 'crash') await this.#crash();
    else if (step.do === 'gc') this.#run(store.gc());
    else if (artifact === undefined) return;
    else if (step.do === 'publish' || step.do === 'abandon') this.#run(this.#publish(store, artifact, step.do === 'publish'));
    else if (step.do === 'forget') this.#run(store.forget(artifact));
    else if (step.do === 'read') this.#run(this.#read(store, artifact));
    else if (step.do === 'lease') this.#run(this.#lease(store, artifact, step.ttl));
  }

  async settle(): Promise<void> {
    const running = this.#running;
    this.#running = [];
    await Promise.all(running);
    const visible = new Set((await this.#store.artifacts()).map(({ root }) => root));
    const leased = new Set(this.#leases.filter(({ until }) => until > this.#now).map(({ artifact }) => artifact.root));
    for (const artifact of releases) {
      if (visible.has(artifact.root) || leased.has(artifact.root)) expect(await missingFrom(this.#store, artifact)).toEqual([]);
    }
    const report = await this.#store.verify();
    expect(report).toMatchObject({ damaged: [], incomplete: [] });
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#store.close();
  }

  async #publish(store: PrunableStore, artifact: SampleArtifact, commit: boolean): Promise<void> {
    const batch: StoreBatch = await store.begin();
    await putArtifact(batch, artifact);
    if (!commit) return batch.abort();
    await batch.commit([storedOf(artifact)]);
  }

  /** Runs that were handed out must be readable whatever happens meanwhile. */
  async #read(store: PrunableStore, artifact: SampleArtifact): Promise<void> {
    for (const chunks of artifact.spansOfChunks) {
      const runs = await store.runs(chunks.map(({ id }) => id), ['identity']);
      for (const run of runs ?? []) {
        let length = 0;
        for await (const piece of run.open()) length += piece.byteLength;
        expect(length).toBe(run.storedLength);
      }
    }
  }

  async #lease(store: PrunableStore, artifact: SampleArtifact, ttl: number): Promise<void> {
    const until = this.#now + ttl;
    const lease = await store.lease(artifact.root, ttl).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'NO_SUCH_ARTIFACT' });
    });
    if (lease !== undefined) this.#leases.push({ artifact, until, lease });
  }

  /** Power fails now, in the middle of everything; the index is lost with it. */
  async #crash(): Promise<void> {
    if (!this.#lasting) return;
    const next = this.#files.crash(this.#files.points, { seed: this.#files.points, mode: 'random' });
    await Promise.all(this.#running);
    this.#running = [];
    await this.#store.close();
    this.#leases = [];
    this.#files = next;
    await this.start();
  }

  #run(work: Promise<unknown>): void {
    this.#running.push(work);
    // Failures are looked at in settle; until then they are not unhandled.
    work.catch(() => undefined);
  }
}

const makers: readonly (readonly [string, boolean, (files: CrashFiles, now: () => number) => Promise<PrunableStore>])[] = [
  ['in memory', false, (_files, now) => Promise.resolve(new MemoryStore(now))],
  ['pack files', true, (files, now) => PackStore.open('/store', { files, now, indexPath: ':memory:', packBytes: 4096, level: 1 })],
];

describe.each(makers)('publish, read, gc, forget, lease and crash in any order: %s', (_name, lasting, make) => {
  let world: World | undefined;
  afterEach(async () => world?.close());

  it('what is visible or leased is whole', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 15, maxLength: 40 }), async (steps) => {
        world = new World(lasting, make);
        await world.start();
        for (const each of steps) await world.take(each);
        await world.settle();
        await world.close();
        world = undefined;
      }),
      { numRuns: 300 },
    );
  });
});
