import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import type { Use } from '../../serve/access.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import { LiveReleases } from './live.ts';

/** Which products the artifacts of a home belong to, by what its repository lists now. */
export class HomeUses {
  readonly #uses: LiveReleases<ReadonlyMap<ObjectId, readonly Use[]>>;

  constructor(home: TrustHome, clock: Clock) {
    this.#uses = new LiveReleases(home, clock, usesIn);
  }

  async of(root: ObjectId): Promise<readonly Use[]> {
    return (await this.#uses.now()).get(root) ?? [];
  }
}

function usesIn(releases: readonly ReleaseManifest[]): ReadonlyMap<ObjectId, readonly Use[]> {
  const uses = new Map<ObjectId, Use[]>();
  for (const { product, namespace, artifacts } of releases) {
    for (const { root } of artifacts) {
      const known = uses.get(root) ?? [];
      if (!known.some((use) => use.product === product && use.namespace === namespace)) known.push({ namespace, product });
      uses.set(root, known);
    }
  }
  return uses;
}
