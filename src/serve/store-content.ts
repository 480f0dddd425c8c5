import { Bitmap } from '../core/bitmap.ts';
import type { ObjectId } from '../core/ids.ts';
import { SERVE_MAX_CHECKS } from '../core/limits.ts';
import type { ContentKey } from '../core/wire.ts';
import { chunkSetOf } from '../core/wire.ts';
import { chunkIdOf, verifyPage } from '../merkle/verify.ts';
import type { Coding, DeltaReader, Run, StoreReader, StoredArtifact } from '../store/types.ts';
import { ArtifactIndexes } from './artifacts.ts';
import { objectMismatch } from '../store/reach.ts';
import type { ContentProvider, Holding } from './content.ts';
import { Turns } from '../core/turns.ts';
import { RunVerifier } from './verified-runs.ts';

/** How long the list of artifacts is taken as it was: one that was forgotten is served no longer than this. */
const LIST_MS = 1_000;

type ServedStore = StoreReader & DeltaReader & { artifacts(): Promise<readonly StoredArtifact[]> };

/** Serves the whole artifacts of a store, each byte verified as it leaves. */
export class StoreContent implements ContentProvider {
  readonly #store: ServedStore;
  readonly #now: () => number;
  readonly #indexes: ArtifactIndexes;
  readonly #verifier = new RunVerifier();
  readonly #turns = new Turns(SERVE_MAX_CHECKS);
  #listed: { readonly at: number; readonly artifacts: ReadonlyMap<string, StoredArtifact> } | undefined;

  /** `now` counts milliseconds. */
  constructor(store: ServedStore, now: () => number) {
    this.#store = store;
    this.#now = now;
    this.#indexes = new ArtifactIndexes((_key, id) => this.#page(id));
  }

  async holdings(): Promise<readonly Holding[]> {
    return [...(await this.#list()).values()].map(holdingOf);
  }

  async holding(key: ContentKey): Promise<Holding | undefined> {
    const artifact = await this.#artifact(key);
    return artifact === undefined ? undefined : holdingOf(artifact);
  }

  async page(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    if ((await this.#artifact(key)) === undefined || !(await this.#indexes.isMember(key, id))) return undefined;
    return this.#page(id);
  }

  async delta(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    if ((await this.#artifact(key)) === undefined) return undefined;
    return this.#turns.run(async () => {
      const object = await this.#store.deltaOf(key.root, id);
      if (object !== undefined && chunkIdOf(object) !== id) throw objectMismatch(id);
      return object;
    });
  }

  async span(key: ContentKey, span: number, positions: string | undefined, accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    if ((await this.#artifact(key)) === undefined) return undefined;
    const found = await this.#indexes.span(key, span);
    if (found === undefined) return undefined;
    const chunks = positions === undefined ? found.chunks : chunkSetOf(positions, found.chunks.length).flatMap((position) => found.chunks[position] ?? []);
    const runs = await this.#store.runs(chunks.map(({ id }) => id), accept);
    return runs === undefined ? undefined : this.#verifier.verified(runs, chunks);
  }

  async #page(id: ObjectId): Promise<Uint8Array | undefined> {
    const encoded = await this.#store.object('page', id);
    return encoded === undefined ? undefined : verifyPage(id, encoded).encoded;
  }

  /** What is not on the list may be a release of this moment: its metadata may have been served already. */
  async #artifact({ namespace, root }: ContentKey): Promise<StoredArtifact | undefined> {
    const name = `${namespace}/${root}`;
    const listed = (await this.#list()).get(name);
    if (listed !== undefined) return listed;
    this.#listed = undefined;
    return (await this.#list()).get(name);
  }

  async #list(): Promise<ReadonlyMap<string, StoredArtifact>> {
    if (this.#listed === undefined || this.#now() - this.#listed.at >= LIST_MS) {
      const artifacts = await this.#store.artifacts();
      this.#listed = { at: this.#now(), artifacts: new Map(artifacts.map((artifact) => [`${artifact.namespace}/${artifact.root}`, artifact])) };
    }
    return this.#listed.artifacts;
  }
}

function holdingOf({ namespace, root, size, spans }: StoredArtifact): Holding {
  const all = new Bitmap(spans);
  for (let index = 0; index < spans; index++) all.add(index);
  return { key: { namespace, root }, size, spans: all };
}
