import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ArtifactRecord, ReleaseManifest } from '../core/manifest.ts';
import { LAST_RELEASES } from './delta-policy.ts';
import type { DeltaChoice } from './delta-policy.ts';
import type { RunCount } from './running.ts';

/** One artifact of an earlier release and what became of it. */
export interface DeltaPair {
  readonly product: string;
  /** Version of the base. */
  readonly from: string;
  /** Version of the target. */
  readonly to: string;
  /** Name of the artifact in the target. */
  readonly artifact: string;
  readonly base: { readonly root: ObjectId; readonly size: number };
  readonly target: { readonly root: ObjectId; readonly size: number };
}

/**
 * The release of `product` called `version`, or its newest. `releases` as `liveReleases` gives them. Throws
 * `NO_SUCH_RELEASE`.
 */
export function releaseCalled(releases: readonly ReleaseManifest[], product: string, version: string | undefined): ReleaseManifest {
  const found = releases.filter((each) => each.product === product).sort((a, b) => b.sequence - a.sequence).find((each) => version === undefined || each.version === version);
  if (found === undefined) throw new ShoalError('NO_SUCH_RELEASE', `${product}${version === undefined ? '' : ` ${version}`} is not released here`, { ids: { product, ...(version === undefined ? {} : { version }) } });
  return found;
}

/**
 * The releases that deltas to `target` are made from: newest first, or those that most devices run first. `running` is what
 * devices reported; where they reported nothing of the product, the last releases are taken. Throws `NO_SUCH_RELEASE` for one
 * that is named and not there.
 */
export function basesOf(releases: readonly ReleaseManifest[], target: Pick<ReleaseManifest, 'product' | 'version' | 'sequence'>, choice: DeltaChoice, running: readonly RunCount[] = []): readonly ReleaseManifest[] {
  const { product, version, sequence } = target;
  if ('reported' in choice) {
    const before = releases.filter((each) => each.product === product && each.sequence < sequence);
    const devicesOn = (release: ReleaseManifest): number => running.find((each) => each.product === product && each.sequence === release.sequence)?.devices ?? 0;
    const used = before.filter((release) => devicesOn(release) > 0).sort((a, b) => devicesOn(b) - devicesOn(a) || b.sequence - a.sequence);
    return used.length > 0 ? used.slice(0, choice.reported) : basesOf(releases, target, { last: Math.min(choice.reported, LAST_RELEASES) });
  }
  const bases = 'last' in choice
    ? releases.filter((each) => each.product === product && each.sequence < sequence)
    : choice.versions.filter((each) => each !== version).map((each) => releaseCalled(releases, product, each));
  const sorted = bases.toSorted((a, b) => b.sequence - a.sequence);
  return 'last' in choice ? sorted.slice(0, choice.last) : sorted;
}

/** What deltas to `target` are to be made of, those from the newest base first. Artifacts that did not change need none. */
export function deltaPairs(target: ReleaseManifest, bases: readonly ReleaseManifest[]): readonly DeltaPair[] {
  const pairs = new Map<string, DeltaPair>();
  for (const base of bases) {
    for (const artifact of target.artifacts) {
      const before = counterpart(artifact, target.artifacts, base.artifacts);
      if (before === undefined || before.root === artifact.root || before.size === 0 || artifact.size === 0) continue;
      const key = `${before.root} ${artifact.root}`;
      if (pairs.has(key)) continue;
      const ends = { base: { root: before.root, size: before.size }, target: { root: artifact.root, size: artifact.size } };
      pairs.set(key, { product: target.product, from: base.version, to: target.version, artifact: artifact.name, ...ends });
    }
  }
  return [...pairs.values()];
}

/** The artifact of the same name; else the only one of its role on both sides whose name the other side does not have (`os-1.img`, `os-2.img`). */
function counterpart(artifact: ArtifactRecord, own: readonly ArtifactRecord[], before: readonly ArtifactRecord[]): ArtifactRecord | undefined {
  const same = before.find(({ name }) => name === artifact.name);
  if (same !== undefined) return same;
  const [left, ...moreLeft] = before.filter(({ name, role }) => role === artifact.role && !own.some((each) => each.name === name));
  const fresh = own.filter(({ name, role }) => role === artifact.role && !before.some((each) => each.name === name));
  return moreLeft.length === 0 && fresh.length === 1 ? left : undefined;
}
