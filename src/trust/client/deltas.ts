import { DELTA_MANIFEST_MAX_BYTES } from '../../core/limits.ts';
import type { ObjectId } from '../../core/ids.ts';
import { isObjectId } from '../../core/ids.ts';
import { sha256 } from '../metadata.ts';
import type { TargetsMetadata } from '../metadata.ts';
import { DELTAS_ROLE, deltaEnds, hashedPath } from '../roles.ts';
import type { DeltaOffer, MetadataFetcher } from '../types.ts';
import { refusal } from './refusals.ts';
import type { Update } from './update.ts';

/** A delta as the `deltas` role lists it. */
export interface ListedDelta extends DeltaOffer {
  readonly path: string;
  readonly sha256: string;
}

/** The deltas that make `target`, as `role` lists them; what this program cannot use is left out. */
export function offersIn(role: TargetsMetadata, top: TargetsMetadata, target: ObjectId): readonly ListedDelta[] {
  const delegated = top.signed.delegations?.roles?.[DELTAS_ROLE];
  const offers: ListedDelta[] = [];
  for (const [path, file] of Object.entries(role.signed.targets)) {
    const ends = deltaEnds(path);
    const hash = file.hashes['sha256'];
    const { baseSize, bytes } = file.custom as { readonly baseSize?: unknown; readonly bytes?: unknown };
    if (ends?.target !== target || hash === undefined || !isObjectId(hash) || delegated?.isDelegatedPath(path) !== true) continue;
    if (!isSize(baseSize) || !isSize(bytes) || file.length > DELTA_MANIFEST_MAX_BYTES) continue;
    offers.push({ base: ends.base, baseSize, bytes, manifestLength: file.length, path, sha256: hash });
  }
  return offers;
}

/** The role from the first of `hosts` that has it as the snapshot says. Undefined when the snapshot knows none. Throws the last refusal. */
export async function deltasRole(update: Update, hosts: readonly MetadataFetcher[]): Promise<TargetsMetadata | undefined> {
  let last: unknown;
  for (const host of hosts) {
    try {
      return await update.targets(DELTAS_ROLE, 'targets', host);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** The signed bytes of a delta manifest from the first of `hosts` that has them. Throws the last refusal. */
export async function fetchDeltaManifest(update: Update, hosts: readonly MetadataFetcher[], { path, manifestLength, sha256: hash }: ListedDelta): Promise<Uint8Array> {
  let last: unknown;
  for (const host of hosts) {
    const context = { role: path, source: host.source };
    try {
      const bytes = await update.fetch('target', hashedPath(path, hash), path, manifestLength, host);
      if (bytes === undefined) throw refusal('TUF_MISSING', context);
      if (bytes.byteLength !== manifestLength) throw refusal('TUF_LENGTH', context);
      if (sha256(bytes) !== hash) throw refusal('TUF_HASH', context);
      return bytes;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
