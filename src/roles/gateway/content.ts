import { Bitmap } from '../../core/bitmap.ts';
import type { Clock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTA_OBJECT_MAX_BYTES, GATEWAY_ABSENT_MS, GATEWAY_MAX_ABSENT, GATEWAY_MAX_FETCHES, GATEWAY_MIN_FETCHES, GATEWAY_SPAN_MS, PAGE_MAX_BYTES, SERVE_MAX_CHECKS } from '../../core/limits.ts';
import { HEADER_PATIENT, chunkSetOf, wire } from '../../core/wire.ts';
import type { ContentKey } from '../../core/wire.ts';
import { isLeaf } from '../../merkle/page.ts';
import type { ChunkRef } from '../../merkle/page.ts';
import { chunkIdOf, verifyPage } from '../../merkle/verify.ts';
import type { VerifiedPage } from '../../merkle/verify.ts';
import { ArtifactIndexes } from '../../serve/artifacts.ts';
import type { ContentProvider, Holding } from '../../serve/content.ts';
import { Turns } from '../../core/turns.ts';
import { RunVerifier } from '../../serve/verified-runs.ts';
import type { CacheStore, Coding, Run, StoredArtifact } from '../../store/types.ts';
import { Absent, InFlight } from './absent.ts';
import { mostEncoded, verifiedGroups } from '../../exchange/span-body.ts';
import type { Upstream } from '../../exchange/upstream.ts';

/** What makes room may push out what was just put in, when many spans arrive at a small cache. */
const ATTEMPTS = 3;

/**
 * Content that is fetched from an upstream when it is first asked for, and kept. Whatever comes in is verified before it
 * is kept or served, and verified again as it leaves. A chunk that several devices want at once is fetched once.
 */
export class GatewayContent implements ContentProvider {
  readonly #cache: CacheStore;
  readonly #upstream: Upstream;
  readonly #known = new Map<string, StoredArtifact>();
  /** Pages that are known to belong to an artifact, because a page above names them. */
  readonly #members = new Map<string, Set<ObjectId>>();
  readonly #absent: Absent;
  readonly #learning = new InFlight<StoredArtifact | undefined>();
  readonly #pages = new InFlight<Uint8Array | undefined>();
  readonly #deltas = new InFlight<Uint8Array | undefined>();
  readonly #chunks = new Map<ObjectId, Promise<void>>();
  readonly #turns = new Turns(GATEWAY_MAX_FETCHES / 2);
  readonly #loads = new Turns(SERVE_MAX_CHECKS);
  readonly #clock: Clock;
  readonly #indexes = new ArtifactIndexes((key, id) => this.page(key, id));
  readonly #verifier = new RunVerifier();

  /** Opens what the cache remembers. */
  static async open(cache: CacheStore, upstream: Upstream, clock: Clock): Promise<GatewayContent> {
    const content = new GatewayContent(cache, upstream, clock);
    for (const artifact of await cache.artifacts()) content.#known.set(nameOf(artifact), artifact);
    return content;
  }

  private constructor(cache: CacheStore, upstream: Upstream, clock: Clock) {
    this.#cache = cache;
    this.#upstream = upstream;
    this.#clock = clock;
    this.#absent = new Absent(clock, GATEWAY_ABSENT_MS, GATEWAY_MAX_ABSENT);
  }

  holdings(): Promise<readonly Holding[]> {
    return Promise.resolve([...this.#known.values()].map(holdingOf));
  }

  /** A gateway holds what its origin holds: all of it can be had here, if not at once. */
  async holding(key: ContentKey): Promise<Holding | undefined> {
    const artifact = await this.#learn(key);
    return artifact === undefined ? undefined : holdingOf(artifact);
  }

  async page(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    if ((await this.#learn(key)) === undefined) return undefined;
    const kept = await this.#cache.object('page', id);
    if (kept !== undefined && (await this.#isMember(key, id))) {
      const page = intact(id, kept);
      if (page !== undefined) return this.#enter(key, page);
    }
    return this.#pages.run(`${nameOf(key)}/${id}`, async () => {
      const page = await this.#fetchPage(key, id);
      return page === undefined ? undefined : this.#enter(key, page);
    });
  }

  async delta(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    if ((await this.#learn(key)) === undefined) return undefined;
    return this.#deltas.run(`${nameOf(key)}/${id}`, async () => {
      const kept = await this.#loads.run(() => this.#cache.deltaOf(key.root, id));
      // What the medium has changed is fetched again.
      return kept !== undefined && chunkIdOf(kept) === id ? kept : this.#turns.run(() => this.#fetchDelta(key, id));
    });
  }

  async span(key: ContentKey, span: number, positions: string | undefined, accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    const artifact = await this.#learn(key);
    if (artifact === undefined || span >= artifact.spans) return undefined;
    const found = await this.#indexes.span(key, span);
    if (found === undefined) return undefined;
    const all = found.chunks;
    const wanted = positions === undefined ? [...all.keys()] : chunkSetOf(positions, all.length);
    const chunks = wanted.flatMap((position) => all[position] ?? []);
    const ids = chunks.map(({ id }) => id);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const runs = await this.#cache.runs(ids, accept);
      if (runs !== undefined) return this.#verifier.verified(runs, chunks);
      await this.#fill(key, span, all, wanted);
    }
    throw new ShoalError('BUSY', 'the cache is too small for what is asked of it at once', { retry: 'elsewhere' });
  }

  /** What the artifact is: remembered, or taken from its top page, which the upstream must have under this very key. */
  #learn(key: ContentKey): Promise<StoredArtifact | undefined> {
    const name = nameOf(key);
    const known = this.#known.get(name);
    if (known !== undefined) return Promise.resolve(known);
    return this.#learning.run(name, async () => {
      const page = await this.#fetchPage(key, key.root);
      if (page === undefined || isLeaf(page.page)) return undefined;
      const { bytes: size, spans } = page.page;
      const artifact: StoredArtifact = { namespace: key.namespace, root: key.root, size, spans };
      await this.#cache.note(artifact);
      this.#known.set(name, artifact);
      for (const oldest of this.#known.keys()) {
        if (this.#known.size <= GATEWAY_MAX_ABSENT) break;
        this.#known.delete(oldest);
      }
      return artifact;
    });
  }

  async #fetchPage(key: ContentKey, id: ObjectId): Promise<VerifiedPage | undefined> {
    const path = wire.page(key, id);
    if (this.#absent.has(path)) return undefined;
    const { status, body } = await this.#upstream.get('content', path, PAGE_MAX_BYTES);
    if (status === 404) {
      this.#absent.add(path);
      return undefined;
    }
    if (status !== 200) throw refused(this.#upstream.url, path, status);
    const page = verifyPage(id, body);
    await this.#cache.putPage(page);
    return page;
  }

  /** The upstream, which must have it under this very key, says whose it is. */
  async #fetchDelta(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    const path = wire.delta(key, id);
    if (this.#absent.has(path)) return undefined;
    const { status, body } = await this.#upstream.get('content', path, DELTA_OBJECT_MAX_BYTES, { [HEADER_PATIENT]: '1' });
    if (status === 404) {
      this.#absent.add(path);
      return undefined;
    }
    if (status !== 200) throw refused(this.#upstream.url, path, status);
    if (chunkIdOf(body) !== id) throw new ShoalError('UPSTREAM', `${this.#upstream.url} sent something else than ${path} names`, { ids: { upstream: this.#upstream.url, path }, retry: 'elsewhere' });
    await this.#cache.putObject('delta', id, body, key.root);
    return body;
  }

  /** Fetches those of the wanted chunks that are neither kept nor on their way, in one request, and waits for the others. */
  async #fill(key: ContentKey, span: number, all: readonly ChunkRef[], wanted: readonly number[]): Promise<void> {
    const kept = await this.#cache.has(wanted.map((position) => all[position]?.id ?? key.root));
    const lacking = wanted.filter((_, index) => kept[index] !== true);
    const waits = new Set<Promise<void>>();
    const mine: number[] = [];
    const ids = new Set<ObjectId>();
    for (const position of lacking) {
      const id = all[position]?.id;
      if (id === undefined || ids.has(id)) continue;
      const coming = this.#chunks.get(id);
      if (coming !== undefined) {
        waits.add(coming);
        continue;
      }
      ids.add(id);
      mine.push(position);
    }
    if (mine.length > 0) {
      const work = this.#turns.run(() => this.#fetch(key, span, all, mine)).finally(() => {
        for (const id of ids) this.#chunks.delete(id);
      });
      for (const id of ids) this.#chunks.set(id, work);
      waits.add(work);
    }
    await Promise.all(waits);
  }

  async #fetch(key: ContentKey, span: number, all: readonly ChunkRef[], positions: readonly number[]): Promise<void> {
    const chunks = positions.flatMap((position) => all[position] ?? []);
    const path = wire.span(key, span, positions.length === all.length ? undefined : positions);
    const rawLength = chunks.reduce((sum, { length }) => sum + length, 0);
    const began = this.#clock.now();
    const { status, headers, body } = await this.#upstream.get('content', path, mostEncoded(rawLength, chunks.length), { 'accept-encoding': 'zstd', [HEADER_PATIENT]: '1' });
    const took = this.#clock.now() - began;
    const { limit } = this.#turns;
    if (took > GATEWAY_SPAN_MS) this.#turns.limit = Math.max(GATEWAY_MIN_FETCHES, limit - 1);
    else if (took < GATEWAY_SPAN_MS / 4) this.#turns.limit = Math.min(GATEWAY_MAX_FETCHES, limit + 1);
    if (status !== 200) throw refused(this.#upstream.url, path, status);
    for (const { chunks: group, frame } of await verifiedGroups(body, headers.get('content-encoding'), chunks)) {
      await this.#cache.putSpan(group, frame);
    }
  }

  /** A page belongs to an artifact when pages that belong to it lead there; those that are kept are looked through first. */
  async #isMember(key: ContentKey, id: ObjectId): Promise<boolean> {
    if (id === key.root) return true;
    const members = this.#membersOf(key);
    if (members.has(id)) return true;
    await this.#enterKept(key, key.root);
    return members.has(id);
  }

  async #enterKept(key: ContentKey, id: ObjectId): Promise<void> {
    const kept = await this.#cache.object('page', id);
    const page = kept === undefined ? undefined : intact(id, kept);
    if (page === undefined || isLeaf(page.page)) return;
    this.#enter(key, page);
    if (page.page.level > 1) for (const child of page.page.children) await this.#enterKept(key, child.id);
  }

  #enter(key: ContentKey, page: VerifiedPage): Uint8Array {
    if (!isLeaf(page.page)) {
      const members = this.#membersOf(key);
      for (const child of page.page.children) members.add(child.id);
    }
    return page.encoded;
  }

  #membersOf(key: ContentKey): Set<ObjectId> {
    const name = nameOf(key);
    const members = this.#members.get(name) ?? new Set<ObjectId>();
    this.#members.delete(name);
    this.#members.set(name, members);
    for (const oldest of this.#members.keys()) {
      if (this.#members.size <= MEMBERS_MAX) break;
      this.#members.delete(oldest);
    }
    return members;
  }
}

/** Artifacts whose page ids are kept in mind: 64 of 10 GiB are some 20 MB. */
const MEMBERS_MAX = 64;

/** The page, or undefined when the medium no longer has what was put: then it is fetched again. */
function intact(id: ObjectId, encoded: Uint8Array): VerifiedPage | undefined {
  try {
    return verifyPage(id, encoded);
  } catch (error) {
    if (error instanceof ShoalError) return undefined;
    throw error;
  }
}

function refused(url: string, path: string, status: number): ShoalError {
  return new ShoalError('HTTP_STATUS', `${url} answered ${String(status)}`, { ids: { upstream: url, path, status }, retry: 'elsewhere' });
}

function nameOf({ namespace, root }: ContentKey): string {
  return `${namespace}/${root}`;
}

function holdingOf({ namespace, root, size, spans }: StoredArtifact): Holding {
  const all = new Bitmap(spans);
  for (let index = 0; index < spans; index++) all.add(index);
  return { key: { namespace, root }, size, spans: all };
}
