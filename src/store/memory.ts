import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import { chunkIdOf } from '../merkle/verify.ts';
import type { VerifiedChunk, VerifiedPage } from '../merkle/verify.ts';
import { batchClosed, incomplete, noSuchArtifact, objectIsIntact, objectMismatch, walkIndex, whatIsMissing } from './reach.ts';
import { Serial } from './serial.ts';
import type { Coding, GcOptions, GcReport, Lease, ObjectKind, PrunableStore, Run, StoreBatch, StoredArtifact, VerifyOptions, VerifyReport } from './types.ts';

interface Kept {
  readonly bytes: Uint8Array;
  /** Roots this object was put for; undefined for what is found by walking indexes. */
  readonly owners?: Set<ObjectId>;
}

/** A store in memory: for tests, and for hosts whose content fits. Keeps chunks raw; every run is `identity`. */
export class MemoryStore implements PrunableStore {
  readonly #chunks = new Map<ObjectId, Kept>();
  readonly #objects = new Map<string, Kept>();
  /** Chunks that verify found damaged: they are as good as not here. */
  readonly #damaged = new Set<ObjectId>();
  readonly #artifacts = new Map<string, StoredArtifact>();
  readonly #leases = new Map<symbol, { readonly root: ObjectId; readonly until: number }>();
  /** What unfinished batches, and those that ended during a gc, have put or relied on. */
  readonly #pins = new Set<Set<string>>();
  readonly #now: () => number;
  #collecting: Set<string>[] | undefined;
  readonly #maintaining = new Serial();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return Promise.resolve(ids.map((id) => this.#chunks.has(id) && !this.#damaged.has(id)));
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#chunks.get(id)?.bytes);
  }

  runs(ids: readonly ObjectId[], _accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    const parts = ids.flatMap((id) => this.#chunks.get(id)?.bytes ?? []);
    if (parts.length < ids.length) return Promise.resolve(undefined);
    if (parts.length === 0) return Promise.resolve([]);
    const length = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const open = async function* (): AsyncGenerator<Uint8Array> {
      await Promise.resolve();
      yield* parts;
    };
    return Promise.resolve([{ coding: 'identity', storedLength: length, rawLength: length, open }]);
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#objects.get(`${kind} ${id}`)?.bytes);
  }

  deltaOf(owner: ObjectId, id: ObjectId): Promise<Uint8Array | undefined> {
    const kept = this.#objects.get(`delta ${id}`);
    return Promise.resolve(kept?.owners?.has(owner) === true ? kept.bytes : undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  begin(): Promise<StoreBatch> {
    const pins = new Set<string>();
    this.#pins.add(pins);
    let open = true;
    const check = (): void => {
      if (!open) throw batchClosed();
    };
    const end = (): void => {
      open = false;
      this.#pins.delete(pins);
      this.#collecting?.push(pins);
    };
    const put = (kind: ObjectKind, id: ObjectId, bytes: Uint8Array, owner?: ObjectId): void => {
      check();
      const key = `${kind} ${id}`;
      pins.add(key);
      const known = this.#objects.get(key);
      const owners = known?.owners ?? (owner === undefined ? undefined : new Set<ObjectId>());
      const sound = known !== undefined && objectIsIntact(kind, id, known.bytes);
      const kept = sound ? known : { bytes: Uint8Array.from(bytes), ...(owners === undefined ? {} : { owners }) };
      if (owner !== undefined) kept.owners?.add(owner);
      this.#objects.set(key, kept);
    };
    const batch: StoreBatch = {
      putSpan: async (chunks: readonly VerifiedChunk[]) => {
        check();
        let added = 0;
        for (const { id, bytes } of chunks) {
          pins.add(id);
          if (this.#chunks.has(id) && !this.#damaged.has(id)) continue;
          this.#damaged.delete(id);
          this.#chunks.set(id, { bytes: Uint8Array.from(bytes) });
          added += bytes.byteLength;
        }
        return Promise.resolve(added);
      },
      putPage: async (page: VerifiedPage) => Promise.resolve(put('page', page.id, page.encoded)),
      putObject: async (kind, id, bytes, owner) => {
        if (chunkIdOf(bytes) !== id) throw objectMismatch(id);
        return Promise.resolve(put(kind, id, bytes, owner));
      },
      commit: async (artifacts, leaseMs) => {
        check();
        for (const artifact of artifacts) {
          const missing = await whatIsMissing(artifact, (id) => this.object('page', id), (ids) => ids.map((id) => this.#chunks.has(id) && pins.add(id) !== undefined));
          if (missing.length > 0) throw incomplete(artifact, missing);
        }
        check();
        for (const artifact of artifacts) this.#artifacts.set(`${artifact.namespace}/${artifact.root}`, artifact);
        end();
        const leases = leaseMs === undefined ? [] : await Promise.all(artifacts.map(({ root }) => this.lease(root, leaseMs)));
        return { release: async () => void (await Promise.all(leases.map((lease) => lease.release()))) };
      },
      abort: async () => Promise.resolve(end()),
    };
    return Promise.resolve(batch);
  }

  artifacts(): Promise<readonly StoredArtifact[]> {
    return Promise.resolve([...this.#artifacts.values()]);
  }

  forget(key: ContentKey): Promise<boolean> {
    return Promise.resolve(this.#artifacts.delete(`${key.namespace}/${key.root}`));
  }

  async retain(live: () => Promise<readonly ContentKey[]>): Promise<readonly StoredArtifact[]> {
    const before = [...this.#artifacts];
    const leased = this.#leased();
    const wanted = new Set((await live()).map(({ namespace, root }) => `${namespace}/${root}`));
    const gone = before.filter(([name, { root }]) => !leased.has(root) && !wanted.has(name));
    for (const [name] of gone) this.#artifacts.delete(name);
    return gone.map(([, artifact]) => artifact);
  }

  async lease(root: ObjectId, ttlMs: number): Promise<Lease> {
    if (!this.#roots().has(root)) throw noSuchArtifact(root);
    const mine = Symbol(root);
    this.#leases.set(mine, { root, until: this.#now() + ttlMs });
    return Promise.resolve({ release: async () => Promise.resolve(void this.#leases.delete(mine)) });
  }

  gc(options: GcOptions = {}): Promise<GcReport> {
    return this.#maintaining.run(() => this.#collect(options));
  }

  async #collect(options: GcOptions): Promise<GcReport> {
    const ended: Set<string>[] = (this.#collecting = []);
    const live = new Set<string>();
    const candidates = new Set<string>([...this.#chunks.keys(), ...this.#objects.keys()]);
    const roots = this.#roots();
    const leased = this.#leased();
    const wanted = await options.wantedDeltas?.();
    const owns = (owner: ObjectId, key: string): boolean => roots.has(owner) && (wanted === undefined || leased.has(owner) || wanted.get(owner)?.has(key.slice('delta '.length) as ObjectId) === true);
    for (const root of roots) {
      await walkIndex(root, {
        page: (id) => this.object('page', id),
        enter: (id) => !live.has(`page ${id}`) && live.add(`page ${id}`) !== undefined,
        missing: () => undefined,
        leaf: (_id, { chunks }) => {
          for (const { id } of chunks) live.add(id);
        },
      });
    }
    this.#collecting = undefined;
    const held = (key: string): boolean => live.has(key) || [...this.#pins, ...ended].some((pins) => pins.has(key));
    let freedBytes = 0;
    let keptBytes = 0;
    for (const all of [this.#chunks, this.#objects] as readonly Map<string, Kept>[]) {
      for (const [key, { bytes, owners }] of all) {
        const owned = owners !== undefined && [...owners].some((owner) => owns(owner, key));
        if (owned || held(key) || !candidates.has(key)) keptBytes += bytes.byteLength;
        else if (all.delete(key)) freedBytes += bytes.byteLength;
      }
    }
    return { freedBytes, keptBytes, rewrittenBytes: 0 };
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    const damaged: ObjectId[] = [];
    let bytes = 0;
    for (const [id, kept] of this.#chunks) {
      bytes += kept.bytes.byteLength;
      if (chunkIdOf(kept.bytes) === id) continue;
      damaged.push(id);
      if (options.discard === true) this.#chunks.delete(id);
      else this.#damaged.add(id);
    }
    for (const [key, kept] of this.#objects) {
      bytes += kept.bytes.byteLength;
      const id = key.slice(key.indexOf(' ') + 1) as ObjectId;
      if (objectIsIntact(key.startsWith('page') ? 'page' : 'delta', id, kept.bytes)) continue;
      damaged.push(id);
      if (options.discard === true) this.#objects.delete(key);
    }
    const incompletes = [];
    for (const artifact of this.#artifacts.values()) {
      const missing = await whatIsMissing(artifact, (id) => this.object('page', id), (ids) => ids.map((id) => this.#chunks.has(id) && !damaged.includes(id)));
      if (missing.length > 0) incompletes.push({ namespace: artifact.namespace, root: artifact.root, missing });
    }
    options.onProgress?.(bytes, bytes);
    return { chunks: this.#chunks.size, objects: this.#objects.size, bytes, damaged, incomplete: incompletes };
  }

  /** Breaks a stored chunk, as a failing medium does: for tests. */
  corrupt(id: ObjectId): void {
    const bytes = this.#chunks.get(id)?.bytes;
    if (bytes !== undefined) bytes[0] = (bytes[0] ?? 0) ^ 1;
  }

  #roots(): Set<ObjectId> {
    return new Set([...[...this.#artifacts.values()].map(({ root }) => root), ...this.#leased()]);
  }

  #leased(): Set<ObjectId> {
    const roots = new Set<ObjectId>();
    for (const [mine, { root, until }] of this.#leases) {
      if (until > this.#now()) roots.add(root);
      else this.#leases.delete(mine);
    }
    return roots;
  }
}
