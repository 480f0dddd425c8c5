import { join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import { MANIFEST_MAX_BYTES } from '../core/limits.ts';
import { decodeManifest } from '../core/manifest.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import { readWhole } from '../store/durable.ts';
import type { GcReport, PrunableStore, StoredArtifact, VerifyOptions, VerifyReport } from '../store/types.ts';
import { sha256 } from '../trust/metadata.ts';
import { hashedPath, productOf } from '../trust/roles.ts';
import { readConfig } from '../trust/repository/home.ts';
import type { TrustHome } from '../trust/repository/home.ts';
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
}

/** Gives back the space of everything that neither a live release nor a lease needs. Safe beside publishing and serving. */
export async function collectHome(home: TrustHome, store: PrunableStore): Promise<UpkeepReport> {
  const forgotten = await forgetUnreleased(home, store);
  return { forgotten, ...(await store.gc()) };
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
}

/** Reads and hashes everything in the store, and looks for every artifact of every live release. */
export async function verifyHome(home: TrustHome, store: PrunableStore, options: VerifyOptions = {}): Promise<HomeVerifyReport> {
  const releases = await liveReleases(home);
  const there = new Set((await store.artifacts()).map(({ namespace, root }) => `${namespace}/${root}`));
  const absent = releases.flatMap(({ product, version, namespace, artifacts }) =>
    artifacts.filter(({ root }) => !there.has(`${namespace}/${root}`)).map(({ name, root }) => ({ product, version, name, namespace, root })),
  );
  return { releases: releases.length, absent, ...(await store.verify(options)) };
}
