import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import { basesOf, deltaPairs, releaseCalled } from '../publish/delta-plan.ts';
import { deltaPolicy } from '../publish/delta-policy.ts';
import { makeDeltas } from '../publish/deltas.ts';
import type { DeltaOutcome, MakeDeltasOptions } from '../publish/deltas.ts';
import { liveReleases, needServer } from '../publish/upkeep.ts';
import { PackStore } from '../store/pack/store.ts';
import { listedDeltas } from '../trust/repository/deltas.ts';
import { readConfig, trustHome } from '../trust/repository/home.ts';
import type { DeltaConfig } from '../trust/repository/home.ts';
import { publishDeltas } from '../trust/repository/online.ts';

export interface ReleaseDeltasOptions extends Pick<MakeDeltasOptions, 'signal' | 'onProgress' | 'onOutcome'> {
  /** Home of a server, or a whole one. */
  readonly home: string;
  readonly product: string;
  /** Default: the newest release. */
  readonly version?: string;
  /** Instead of what the home's configuration says. */
  readonly deltas?: DeltaConfig;
  readonly clock?: Clock;
}

/**
 * Makes and publishes the deltas to a release that is out. What could not be made is among the outcomes.
 *
 * @throws ShoalError `NO_HOME`, `NOT_A_SERVER`, `NO_SUCH_RELEASE`, `BAD_USAGE`, `BAD_CONFIG`, `HOME_DAMAGED`
 */
export async function releaseDeltas({ product, version, deltas, ...options }: ReleaseDeltasOptions): Promise<readonly DeltaOutcome[]> {
  const home = trustHome(options.home);
  await needServer(home);
  const policy = deltaPolicy((await readConfig(home)).deltas, deltas);
  const releases = await liveReleases(home);
  const target = releaseCalled(releases, product, version);
  const pairs = deltaPairs(target, basesOf(releases, target, policy.from));
  if (pairs.length === 0) return [];
  const store = await PackStore.open(home.paths.store);
  try {
    const { signal, onProgress, onOutcome, clock = systemClock } = options;
    const { memoryBytes, seconds } = policy;
    return await makeDeltas(home, store, pairs, {
      memoryBytes, seconds, clock,
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(onOutcome === undefined ? {} : { onOutcome }),
    });
  } finally {
    await store.close();
  }
}

/** Whether what is wished for can be meant, before a release is published with it. Throws as `releaseDeltas` does. */
export async function checkDeltaWish(directory: string, product: string, deltas: DeltaConfig): Promise<void> {
  const home = trustHome(directory);
  const { from } = deltaPolicy((await readConfig(home)).deltas, deltas);
  if ('versions' in from) basesOf(await liveReleases(home), { product, version: '', sequence: Infinity }, from);
}

/**
 * Takes back the deltas to a release: all, or those from `versions`. Their space comes back with the next gc. Returns how
 * many there were. Throws as `releaseDeltas` does, and `NO_ONLINE_KEY`.
 */
export async function removeDeltas(directory: string, product: string, version?: string, versions?: readonly string[]): Promise<number> {
  const home = trustHome(directory);
  await needServer(home);
  const releases = await liveReleases(home);
  const roots = (manifests: readonly ReleaseManifest[]): ReadonlySet<string> => new Set(manifests.flatMap(({ artifacts }) => artifacts.map(({ root }) => root)));
  const target = releaseCalled(releases, product, version);
  const targets = roots([target]);
  const bases = versions === undefined ? undefined : roots(basesOf(releases, target, { versions }));
  const gone = (await listedDeltas(home)).filter((entry) => targets.has(entry.target) && bases?.has(entry.base) !== false);
  if (gone.length > 0) await publishDeltas(home, [], gone);
  return gone.length;
}
