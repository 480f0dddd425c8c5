import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import { basesOf, deltaPairs, releaseCalled } from '../publish/delta-plan.ts';
import { deltaPolicy } from '../publish/delta-policy.ts';
import type { DeltaPolicy } from '../publish/delta-policy.ts';
import { makeDeltas } from '../publish/deltas.ts';
import { RunningReleases } from '../publish/running.ts';
import type { RunCount } from '../publish/running.ts';
import type { DeltaOutcome, MakeDeltasOptions } from '../publish/deltas.ts';
import type { AcceptReleaseOptions } from '../publish/release.ts';
import { liveReleases, needServer } from '../publish/upkeep.ts';
import { PackStore } from '../store/pack/store.ts';
import type { PrunableStore } from '../store/types.ts';
import { listedDeltas } from '../trust/repository/deltas.ts';
import { readConfig, trustHome } from '../trust/repository/home.ts';
import type { DeltaConfig, TrustHome } from '../trust/repository/home.ts';
import { publishDeltas } from '../trust/repository/online.ts';
import { readStaging } from '../trust/repository/staging.ts';
import { loadState } from '../trust/repository/state.ts';
import { verifyStaging } from '../trust/repository/verify-staged.ts';

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
  const pairs = deltaPairs(target, basesOf(releases, target, policy.from, reportedTo(home, policy)));
  if (pairs.length === 0) return [];
  const store = await PackStore.open(home.paths.store);
  try {
    return await makeDeltas(home, store, pairs, makeOptions(policy, options));
  } finally {
    await store.close();
  }
}

export type WishedDeltas = Omit<ReleaseDeltasOptions, 'home' | 'product' | 'version'>;

/** The deltas to releases whose content is in the store and that nobody is offered yet. */
export class DeltasFirst {
  readonly outcomes: DeltaOutcome[] = [];
  readonly #home: TrustHome;
  readonly #store: PrunableStore;
  readonly #policy: DeltaPolicy;
  readonly #wish: WishedDeltas;

  /** Throws `BAD_USAGE`, `BAD_CONFIG`. */
  static async open(home: TrustHome, store: PrunableStore, wish: WishedDeltas): Promise<DeltasFirst> {
    return new DeltasFirst(home, store, deltaPolicy((await readConfig(home)).deltas, wish.deltas), wish);
  }

  private constructor(home: TrustHome, store: PrunableStore, policy: DeltaPolicy, wish: WishedDeltas) {
    this.#home = home;
    this.#store = store;
    this.#policy = policy;
    this.#wish = wish;
  }

  get options(): AcceptReleaseOptions {
    return { beforeVisible: (targets) => this.#make(targets), beforeMs: this.#policy.seconds * 1000 };
  }

  /** Throws only when it is told to stop: then nothing is to become visible. */
  async #make(targets: readonly ReleaseManifest[]): Promise<void> {
    const releases = await liveReleases(this.#home);
    // What comes along together may be updated from one to the next as well.
    const known = [...releases, ...targets];
    const pairs = targets.flatMap((target) => deltaPairs(target, basesOf(known, target, this.#policy.from, reportedTo(this.#home, this.#policy))));
    this.outcomes.push(...(await makeDeltas(this.#home, this.#store, pairs, makeOptions(this.#policy, this.#wish))));
    this.#wish.signal?.throwIfAborted();
  }
}

/** Makes the deltas of the new releases in a staging directory, whose content is in the store of the server. Throws as acceptance does. */
export async function stagedDeltas(directory: string, staging: string, signal: AbortSignal): Promise<readonly DeltaOutcome[]> {
  const home = trustHome(directory);
  const verified = await verifyStaging(home, await readConfig(home), await loadState(home), staging, await readStaging(home, staging));
  const releases = verified?.releases ?? [];
  if (releases.length === 0) return [];
  const store = await PackStore.open(home.paths.store);
  try {
    const first = await DeltasFirst.open(home, store, { signal });
    await first.options.beforeVisible?.(releases);
    return first.outcomes;
  } finally {
    await store.close();
  }
}

/** What devices said that they run, where that decides. A file that cannot be read is as if nobody had said anything. */
function reportedTo(home: TrustHome, { from }: DeltaPolicy): readonly RunCount[] {
  if (!('reported' in from)) return [];
  let running: RunningReleases | undefined;
  try {
    running = RunningReleases.open(home.directory);
    return running.counts(home.now().getTime());
  } catch (error) {
    if (!isShoalError(error, 'RUNS')) throw error;
    return [];
  } finally {
    running?.close();
  }
}

function makeOptions({ memoryBytes, seconds }: DeltaPolicy, { signal, onProgress, onOutcome, clock = systemClock }: WishedDeltas): MakeDeltasOptions {
  return {
    memoryBytes, seconds, clock,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(onOutcome === undefined ? {} : { onOutcome }),
  };
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
