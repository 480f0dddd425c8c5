import { join } from 'node:path';
import type { ObjectId } from '../../core/ids.ts';
import type { ContentKey } from '../../core/wire.ts';
import { chunkIdOf } from '../../merkle/verify.ts';
import { makeDirectories } from '../durable.ts';
import { batchClosed, incomplete, noSuchArtifact, objectMismatch, whatIsMissing } from '../reach.ts';
import { Serial } from '../serial.ts';
import type { GcOptions, GcReport, Lease, PrunableStore, StoreBatch, StoredArtifact, VerifyOptions, VerifyReport } from '../types.ts';
import { readCatalog, writeCatalog } from './catalog.ts';
import { PackEngine } from './engine.ts';
import { EngineReader } from './engine-reader.ts';
import type { PackOptions } from './engine.ts';
import { collect } from './gc.ts';
import { Leases } from './leases.ts';
import type { Pins } from './pins.ts';
import { verifyStore } from './verify.ts';

export type { PackOptions } from './engine.ts';

/** The store on one disk: pack files, an index beside them, a catalog of artifacts (docs/store.md). */
export class PackStore extends EngineReader implements PrunableStore {
  readonly #catalog: string;
  readonly #leases: Leases;
  /** Changes of the catalog, one at a time. */
  readonly #cataloguing = new Serial();
  /** gc and verify, one at a time. */
  readonly #maintaining = new Serial();

  /** Opens the store in `directory`, creating it when there is none, and recovers from whatever happened to it. */
  static async open(directory: string, options: PackOptions = {}): Promise<PackStore> {
    const catalog = join(directory, 'artifacts.json');
    const engine = await PackEngine.open(directory, options, ({ files, index }) => followCatalog(index, () => readCatalog(files, catalog)));
    await makeDirectories(engine.files, join(directory, 'leases'));
    return new PackStore(engine, catalog);
  }

  private constructor(engine: PackEngine, catalog: string) {
    super(engine);
    this.#catalog = catalog;
    const serial = (): string => Buffer.from(engine.randomBytes(8)).toString('hex');
    this.#leases = new Leases(engine.files, join(engine.directory, 'leases'), engine.now, serial);
  }

  async artifacts(): Promise<readonly StoredArtifact[]> {
    return Promise.resolve(this.engine.index.artifacts());
  }

  async begin(): Promise<StoreBatch> {
    await this.engine.enter();
    return new PackBatch(this.engine, (...commit) => this.#commit(...commit));
  }

  async forget(key: ContentKey): Promise<boolean> {
    const wanted = nameOf(key);
    return (await this.#drop(() => Promise.resolve((artifact) => nameOf(artifact) === wanted))).length > 0;
  }

  retain(live: () => Promise<readonly ContentKey[]>): Promise<readonly StoredArtifact[]> {
    return this.#drop(async () => {
      const leased = await this.#leases.roots();
      const wanted = new Set((await live()).map(nameOf));
      return (artifact) => !leased.has(artifact.root) && !wanted.has(nameOf(artifact));
    });
  }

  /** Takes artifacts out of the catalog. No commit of another comes between asking and writing. */
  #drop(decide: () => Promise<(artifact: StoredArtifact) => boolean>): Promise<readonly StoredArtifact[]> {
    return this.engine.writing(() =>
      this.#cataloguing.run(async () => {
        const all = this.engine.index.artifacts();
        const gone = all.filter(await decide());
        if (gone.length === 0) return [];
        await writeCatalog(this.engine.files, this.#catalog, all.filter((each) => !gone.includes(each)));
        for (const each of gone) this.engine.index.removeArtifact(each);
        await this.engine.appender.flush();
        return gone;
      }),
    );
  }

  async lease(root: ObjectId, ttlMs: number): Promise<Lease> {
    const held = async (except?: string): Promise<boolean> => this.engine.index.holdsRoot(root) || (await this.#leases.roots(except)).has(root);
    if (!(await held())) throw noSuchArtifact(root);
    const lease = await this.#leases.take(root, ttlMs);
    // Looked at again now that the lease is there: whoever let go of the root in between is seen here, and a gc that
    // begins later sees the lease.
    if (await held(lease.name)) return lease;
    await lease.release();
    throw noSuchArtifact(root);
  }

  gc(options: GcOptions = {}): Promise<GcReport> {
    return this.#maintain(async () => {
      const { pins, index } = this.engine;
      pins.beginCollecting();
      try {
        await this.#leases.removeExpired();
        // The artifacts first: a lease is granted only while an artifact, or another lease, is still there.
        const roots = new Set(index.artifacts().map(({ root }) => root));
        const leased = await this.#leases.roots();
        for (const root of leased) roots.add(root);
        const wanted = await options.wantedDeltas?.();
        return await collect(this.engine.sweepParts, pins, roots, (owner, id) => wanted === undefined || leased.has(owner) || wanted.get(owner)?.has(id) === true);
      } finally {
        pins.endCollecting();
        await this.engine.removeRetired();
      }
    });
  }

  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    return this.#maintain(async () => {
      await this.engine.appender.flush();
      const report = await verifyStore(this.engine.verifyParts, options);
      await this.engine.appender.flush();
      return report;
    });
  }

  async #commit(pins: Pins, artifacts: readonly StoredArtifact[], leaseMs: number | undefined): Promise<Lease> {
    const { index, reader, appender, files } = this.engine;
    for (const artifact of artifacts) {
      const page = (id: ObjectId): Promise<Uint8Array | undefined> => {
        const row = index.object('page', id);
        if (row !== undefined) pins.objects.add(row.number);
        return reader.object('page', id);
      };
      const has = (ids: readonly ObjectId[]): boolean[] => ids.map((id) => {
        const row = index.chunk(id);
        if (row !== undefined) pins.blocks.add(row.block);
        return row !== undefined;
      });
      const missing = await whatIsMissing(artifact, page, has);
      if (missing.length > 0) throw incomplete(artifact, missing);
    }
    await appender.flush();
    // Before the catalog: no moment in which the artifact is there and not held.
    const leases = leaseMs === undefined ? [] : await Promise.all(artifacts.map(({ root }) => this.#leases.take(root, leaseMs)));
    if (artifacts.length > 0) {
      await this.#cataloguing.run(async () => {
        const all = new Map([...index.artifacts(), ...artifacts].map((artifact) => [nameOf(artifact), artifact]));
        await writeCatalog(files, this.#catalog, [...all.values()]);
        for (const artifact of artifacts) index.addArtifact(artifact);
        await appender.flush();
      });
    }
    return {
      release: async () => {
        for (const lease of leases) await lease.release();
      },
    };
  }

  #maintain<T>(work: () => Promise<T>): Promise<T> {
    return this.#maintaining.run(() => this.engine.writing(work));
  }
}

const nameOf = ({ namespace, root }: ContentKey): string => `${namespace}/${root}`;

type Commit = (pins: Pins, artifacts: readonly StoredArtifact[], leaseMs: number | undefined) => Promise<Lease>;

/** The catalog is the truth about artifacts; the index follows it. */
async function followCatalog(index: PackEngine['index'], read: () => Promise<readonly StoredArtifact[]>): Promise<void> {
  const wanted = new Map((await read()).map((artifact) => [nameOf(artifact), artifact]));
  for (const artifact of index.artifacts()) if (!wanted.delete(nameOf(artifact))) index.removeArtifact(artifact);
  for (const artifact of wanted.values()) index.addArtifact(artifact);
}

class PackBatch implements StoreBatch {
  readonly #engine: PackEngine;
  readonly #pins: Pins;
  readonly #commit: Commit;
  #open = true;

  constructor(engine: PackEngine, commit: Commit) {
    this.#engine = engine;
    this.#pins = engine.pins.open();
    this.#commit = commit;
  }

  async putSpan(...[chunks, frame]: Parameters<StoreBatch['putSpan']>): Promise<number> {
    this.#check();
    return this.#engine.putter.span(chunks, this.#pins, frame);
  }

  async putPage(page: Parameters<StoreBatch['putPage']>[0]): Promise<void> {
    this.#check();
    return this.#engine.putter.page(page, this.#pins);
  }

  async putObject(kind: 'delta', id: ObjectId, bytes: Uint8Array, owner: ObjectId): Promise<void> {
    this.#check();
    if (chunkIdOf(bytes) !== id) throw objectMismatch(id);
    return this.#engine.putter.owned(kind, id, bytes, owner, this.#pins);
  }

  async commit(artifacts: readonly StoredArtifact[], leaseMs?: number): Promise<Lease> {
    this.#check();
    const lease = await this.#commit(this.#pins, artifacts, leaseMs);
    await this.#end();
    return lease;
  }

  async abort(): Promise<void> {
    if (this.#open) await this.#end();
  }

  async #end(): Promise<void> {
    this.#open = false;
    this.#engine.pins.close(this.#pins);
    await this.#engine.leave();
  }

  #check(): void {
    if (!this.#open) throw batchClosed();
  }
}
