import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTA_MANIFEST_MAX_BYTES } from '../../core/limits.ts';
import { readWhole } from '../../store/durable.ts';
import { sha256 } from '../metadata.ts';
import { DELTAS_ROLE, deltaEnds, hashedPath } from '../roles.ts';
import { delegationsOf, entriesOf } from './build.ts';
import type { TrustHome } from './home.ts';
import { keyIdOf, loadKeys } from './keys.ts';
import { loadState } from './state.ts';

/** A delta as the repository lists it. */
export interface DeltaEntry {
  readonly base: ObjectId;
  readonly target: ObjectId;
  readonly baseSize: number;
  /** All that a device fetches for it. */
  readonly bytes: number;
  readonly path: string;
  /** Of the manifest. */
  readonly length: number;
  readonly sha256: string;
}

/** What the `deltas` role of a home lists now. */
export async function listedDeltas(home: TrustHome): Promise<readonly DeltaEntry[]> {
  const role = (await loadState(home)).delegated.get(DELTAS_ROLE);
  return [...(role === undefined ? [] : entriesOf(role.metadata))].flatMap(([path, { length, sha256: hash, custom }]) => {
    const ends = deltaEnds(path);
    return ends === undefined ? [] : [{ ...ends, baseSize: Number(custom?.['baseSize']), bytes: Number(custom?.['bytes']), path, length, sha256: hash }];
  });
}

/** The manifest of a listed delta; undefined when it is missing or not what was signed. */
export async function readDeltaManifest(home: TrustHome, { path, sha256: hash }: DeltaEntry): Promise<Uint8Array | undefined> {
  const bytes = await readWhole(home.files, join(home.paths.targets, hashedPath(path, hash)), DELTA_MANIFEST_MAX_BYTES);
  return bytes !== undefined && sha256(bytes) === hash ? bytes : undefined;
}

/** Throws `NO_ONLINE_KEY` unless this home can sign deltas. */
export async function needDeltasKey(home: TrustHome): Promise<void> {
  const by = delegationsOf((await loadState(home)).targets.metadata).get(DELTAS_ROLE);
  const keys = await loadKeys(home.files, home.paths.onlineKeys);
  const held = by?.keys.filter((key) => keys.has(keyIdOf(key))).length ?? 0;
  if (by === undefined || held < by.threshold) {
    throw new ShoalError('NO_ONLINE_KEY', `${home.directory} does not hold the keys that sign deltas`, { ids: { role: DELTAS_ROLE }, hint: 'The key belongs in keys/online of the server home.' });
  }
}

/** Manifests that nobody lists are kept so long for clients that are in the middle of an update. */
const UNLISTED_MS = 86_400_000;

/** Removes the manifests of deltas that have not been listed for a day, or never were. */
export async function removeUnlistedManifests(home: TrustHome): Promise<void> {
  const directory = join(home.paths.targets, DELTAS_ROLE);
  if ((await home.files.stat(directory)) === undefined) return;
  const listed = new Set((await listedDeltas(home)).map(({ path, sha256: hash }) => hashedPath(path, hash)));
  for (const base of await home.files.list(directory)) {
    for (const name of await home.files.list(join(directory, base))) {
      const path = join(directory, base, name);
      if (listed.has(`${DELTAS_ROLE}/${base}/${name}`)) continue;
      const modified = (await home.files.stat(path))?.modified ?? Infinity;
      if (home.now().getTime() - modified > UNLISTED_MS) await home.files.remove(path);
    }
  }
}
