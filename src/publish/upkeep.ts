import { join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import { MANIFEST_MAX_BYTES } from '../core/limits.ts';
import { decodeManifest } from '../core/manifest.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import { readWhole } from '../store/durable.ts';
import type { DeltaReader, GcReport, PrunableStore, StoredArtifact, VerifyOptions, VerifyReport } from '../store/types.ts';
import { sha256 } from '../trust/metadata.ts';
import { hashedPath, productOf } from '../trust/roles.ts';
import { readConfig } from '../trust/repository/home.ts';
import type { TrustHome } from '../trust/repository/home.ts';
import { decodeDeltaManifest } from '../delta/manifest.ts';
import type { ObjectId } from '../core/ids.ts';
import { isShoalError } from '../core/errors.ts';
import { listedDeltas, readDeltaManifest, removeUnlistedManifests } from '../trust/repository/deltas.ts';
import type { DeltaEntry } from '../trust/repository/deltas.ts';
import { publishDeltas } from '../trust/repository/online.ts';
import { releasesOf } from '../trust/repository/stage.ts';
import { loadState } from '../trust/repository/state.ts';

/** Throws `NOT_A_SERVER` for an offline home, which keeps no manifests and no content, and `NO_HOME`. */
export async function needServer(home: TrustHome): Promise<void> {
  if ((await readConfig(home)).part === 'offline') {
    throw new ShoalError('NOT_A_SERVER', `${home.directory} is an offline home: it signs, and keeps no content`, { ids: { home: home.directory }, hint: 'Name the home of the server.' });
  }
}

/**
 * Every release that the repository of `home` lists now, newest first within a product. Throws `HOME_DAMAGED` when one of
 * the manifests is missing or not what was signed: what cannot be read must not count as gone.
 */
export async function liveReleases(home: TrustHome): Promise<readonly ReleaseManifest[]> {
  await needServer(home);
  const { delegated } = await loadState(home);
  const releases: ReleaseManifest[] = [];
  for (const [role, { metadata }] of delegated) {
    if (productOf(role) === undefined) continue;
    for (const { path, sha256: hash } of releasesOf(metadata)) {
      const file = join(home.paths.targets, hashedPath(path, hash));
      const bytes = await readWhole(home.files, file, MANIFEST_MAX_BYTES);
      if (bytes === undefined || sha256(bytes) !== hash) {
        throw new ShoalError('HOME_DAMAGED', `the release manifest ${file} is ${bytes === undefined ? 'missing' : 'not what was signed'}`, {
          ids: { home: home.directory, file }, hint: 'Restore it from the staging directory it came in, or from a backup.',
        });
      }
      releases.push(decodeManifest(bytes));
    }
  }
  return releases;
}

const keysOf = ({ namespace, artifacts }: ReleaseManifest): ContentKey[] => artifacts.map(({ root }) => ({ namespace, root }));

/** Forgets the artifacts that no release names and no lease holds. Their space comes back with the next gc. */
export function forgetUnreleased(home: TrustHome, store: PrunableStore): Promise<readonly StoredArtifact[]> {
  return store.retain(async () => (await liveReleases(home)).flatMap(keysOf));
}

export interface UpkeepReport extends GcReport {
  /** Artifacts that were dropped because nothing refers to them any more. */
  readonly forgotten: readonly StoredArtifact[];
  /** Deltas that are offered no longer: what they make is gone, or long superseded. */
  readonly forgottenDeltas: number;
}

/** Gives back the space of everything that neither a live release nor a lease needs. Safe beside publishing and serving. */
export async function collectHome(home: TrustHome, store: PrunableStore): Promise<UpkeepReport> {
  const forgotten = await forgetUnreleased(home, store);
  const forgottenDeltas = await forgetDeltas(home, store);
  const report = await store.gc({ wantedDeltas: () => wantedDeltas(home) });
  await removeUnlistedManifests(home);
  return { forgotten, forgottenDeltas, ...report };
}

/** Every device reads the whole list, some 350 bytes a delta, before it updates: only deltas to so many releases of a product stay on it. */
const TARGETS_LISTED = 8;

/**
 * Takes the deltas off the list whose target is no longer in the store, or is one that many releases have followed. Those
 * from a retired release stay: devices that run it have a way off it by them.
 */
async function forgetDeltas(home: TrustHome, store: PrunableStore): Promise<number> {
  const listed = await listedDeltas(home);
  if (listed.length === 0) return 0;
  const there = new Set((await store.artifacts()).map(({ root }) => root));
  const [recent, all] = [new Set<ObjectId>(), new Set<ObjectId>()];
  const seen = new Map<string, number>();
  for (const { product, artifacts } of (await liveReleases(home)).toSorted((a, b) => b.sequence - a.sequence)) {
    const before = seen.get(product) ?? 0;
    seen.set(product, before + 1);
    for (const { root } of artifacts) {
      all.add(root);
      if (before < TARGETS_LISTED) recent.add(root);
    }
  }
  // What is in the store and of no release yet is about to become one.
  const gone = listed.filter(({ target }) => !there.has(target) || (all.has(target) && !recent.has(target)));
  if (gone.length === 0) return 0;
  try {
    await publishDeltas(home, [], gone);
  } catch (error) {
    // Without its key the list stays as it is, and devices that ask for what is gone fetch content.
    if (!isShoalError(error, 'NO_ONLINE_KEY')) throw error;
    return 0;
  }
  return gone.length;
}

/** The objects of the deltas that are listed, by target. */
async function wantedDeltas(home: TrustHome): Promise<ReadonlyMap<ObjectId, ReadonlySet<ObjectId>>> {
  const wanted = new Map<ObjectId, Set<ObjectId>>();
  for (const entry of await listedDeltas(home)) {
    const mine = wanted.get(entry.target) ?? new Set();
    wanted.set(entry.target, mine);
    for (const id of await deltaObjects(home, entry)) mine.add(id);
  }
  return wanted;
}

/** Whether all of a listed delta is in the store, and none of it among `damaged`. */
export async function isWhole(home: TrustHome, store: DeltaReader, entry: DeltaEntry, damaged: ReadonlySet<ObjectId> = new Set()): Promise<boolean> {
  const ids = await deltaObjects(home, entry);
  const here = async (id: ObjectId): Promise<boolean> => {
    try {
      return (await store.deltaOf(entry.target, id)) !== undefined;
    } catch (error) {
      if (isShoalError(error, 'STORE_DAMAGED')) return false;
      throw error;
    }
  };
  for (const id of ids) if (damaged.has(id) || !(await here(id))) return false;
  return ids.length > 0;
}

/** Ids of map pages and payloads of a listed delta; none when its manifest cannot be read, for then nobody can use them. */
export async function deltaObjects(home: TrustHome, entry: DeltaEntry): Promise<readonly ObjectId[]> {
  const bytes = await readDeltaManifest(home, entry);
  if (bytes === undefined) return [];
  try {
    const { pages, segments } = decodeDeltaManifest(bytes);
    return [...pages.map(({ id }) => id), ...segments.flatMap(({ payload }) => (payload === undefined ? [] : [payload.id]))];
  } catch (error) {
    if (!isShoalError(error)) throw error;
    return [];
  }
}

/** A release that devices are offered and that the store cannot serve. */
export interface AbsentArtifact extends ContentKey {
  readonly product: string;
  readonly version: string;
  readonly name: string;
}

export interface HomeVerifyReport extends VerifyReport {
  readonly releases: number;
  readonly absent: readonly AbsentArtifact[];
  /** Deltas that devices are offered and that the store cannot serve whole: they fetch content instead. */
  readonly absentDeltas: readonly Pick<DeltaEntry, 'base' | 'target'>[];
}

/** Reads and hashes everything in the store, and looks for every artifact of every live release. */
export async function verifyHome(home: TrustHome, store: PrunableStore, options: VerifyOptions = {}): Promise<HomeVerifyReport> {
  const releases = await liveReleases(home);
  const there = new Set((await store.artifacts()).map(({ namespace, root }) => `${namespace}/${root}`));
  const absent = releases.flatMap(({ product, version, namespace, artifacts }) =>
    artifacts.filter(({ root }) => !there.has(`${namespace}/${root}`)).map(({ name, root }) => ({ product, version, name, namespace, root })),
  );
  const report = await store.verify(options);
  const damaged = new Set(report.damaged);
  const absentDeltas = [];
  for (const entry of await listedDeltas(home)) if (!(await isWhole(home, store, entry, damaged))) absentDeltas.push({ base: entry.base, target: entry.target });
  return { releases: releases.length, absent, absentDeltas, ...report };
}
