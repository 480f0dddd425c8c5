import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import { liveReleases } from '../../publish/upkeep.ts';
import type { Use } from '../../serve/access.ts';
import type { TrustHome } from '../../trust/repository/home.ts';

/** Manifests are read again when the repository has changed, and no oftener than this. */
const LEAST_MS = 1_000;

/** Which products the artifacts of a home belong to, by what its repository lists now. */
export class HomeUses {
  readonly #home: TrustHome;
  readonly #clock: Clock;
  #uses: ReadonlyMap<ObjectId, readonly Use[]> = new Map();
  #stamp: number | undefined;
  #looked = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(home: TrustHome, clock: Clock) {
    this.#home = home;
    this.#clock = clock;
  }

  async of(root: ObjectId): Promise<readonly Use[]> {
    if (this.#clock.now() - this.#looked >= LEAST_MS) await (this.#reading ??= this.#look().finally(() => (this.#reading = undefined)));
    return this.#uses.get(root) ?? [];
  }

  async #look(): Promise<void> {
    // The timestamp is written last of all whenever anything is published.
    const stamp = (await this.#home.files.stat(join(this.#home.paths.metadata, 'timestamp.json')))?.modified;
    if (stamp !== this.#stamp) {
      const uses = new Map<ObjectId, Use[]>();
      for (const { product, namespace, artifacts } of await liveReleases(this.#home)) {
        for (const { root } of artifacts) {
          const known = uses.get(root) ?? [];
          if (!known.some((use) => use.product === product && use.namespace === namespace)) known.push({ namespace, product });
          uses.set(root, known);
        }
      }
      this.#uses = uses;
      this.#stamp = stamp;
    }
    this.#looked = this.#clock.now();
  }
}
