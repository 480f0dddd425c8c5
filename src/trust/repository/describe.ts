import { join } from 'node:path';
import { MANIFEST_MAX_BYTES } from '../../core/limits.ts';
import { decodeManifest } from '../../core/manifest.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { readWhole } from '../../store/durable.ts';
import { sha256 } from '../metadata.ts';
import type { AnyMetadata, TargetsMetadata } from '../metadata.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTAS_ROLE, TOP_ROLES, deltaEnds, hashedPath } from '../roles.ts';
import { delegationsOf, rootRole } from './build.ts';
import type { RoleKeys } from './build.ts';
import type { TrustHome } from './home.ts';
import { keyIdOf } from './keys.ts';
import { releasesOf } from './stage.ts';
import { readStaging, stagedTargets } from './staging.ts';

/** What one metadata file says, for people who are about to sign it. */
export interface RoleDescription {
  readonly role: string;
  readonly version: number;
  readonly expires: string;
  readonly signatures: readonly string[];
  /** Who may sign what, as a root or targets fixes it. */
  readonly keys?: Readonly<Record<string, { readonly keyIds: readonly string[]; readonly threshold: number }>>;
  /** Versions that a product role lists, newest first. */
  readonly releases?: readonly { readonly version: string; readonly sequence: number; readonly sha256: string }[];
  /** What the role of deltas lists. `bytes` is all that a device fetches. */
  readonly deltas?: readonly { readonly base: ObjectId; readonly target: ObjectId; readonly bytes: number }[];
}

export interface StagingDescription {
  readonly roles: readonly RoleDescription[];
  /** The releases that the directory brings. */
  readonly manifests: readonly ReleaseManifest[];
  readonly lines: readonly string[];
}

const keysOf = (roles: Iterable<readonly [string, RoleKeys]>): NonNullable<RoleDescription['keys']> =>
  Object.fromEntries([...roles].map(([role, { keys, threshold }]) => [role, { keyIds: keys.map(keyIdOf), threshold }]));

/** Says what a metadata file says; trusts nothing of it. */
export function describeMetadata(role: string, metadata: AnyMetadata): RoleDescription {
  const { version, expires } = metadata.signed;
  const common = { role, version, expires, signatures: Object.keys(metadata.signatures) };
  if (role === 'root') return { ...common, keys: keysOf(TOP_ROLES.map((top) => [top, rootRole(metadata as Parameters<typeof rootRole>[0], top)])) };
  if (role === 'snapshot' || role === 'timestamp') return common;
  const targets = metadata as TargetsMetadata;
  if (role === 'targets') return { ...common, keys: keysOf(delegationsOf(targets)) };
  const deltas = Object.entries(targets.signed.targets).flatMap(([path, { custom }]) => {
    const ends = deltaEnds(path);
    return ends === undefined ? [] : [{ ...ends, bytes: Number(custom['bytes']) }];
  });
  if (role === DELTAS_ROLE || deltas.length > 0) return { ...common, deltas };
  return { ...common, releases: releasesOf(targets).map(({ version: name, sequence, sha256: hash }) => ({ version: name, sequence, sha256: hash })) };
}

/** One line a fact. */
export function linesOf({ role, version, expires, signatures, keys, releases, deltas }: RoleDescription, nameOf: (root: ObjectId) => string = (root) => `${root.slice(0, 12)}…`): string[] {
  const short = (ids: readonly string[]): string => ids.map((id) => id.slice(0, 8)).join(', ');
  return [
    `${role} ${String(version)}, until ${expires}, signed by ${signatures.length === 0 ? 'nobody' : short(signatures)}`,
    ...Object.entries(keys ?? {}).map(([name, { keyIds, threshold }]) => `  ${name}: ${String(threshold)} of ${String(keyIds.length)} keys: ${short(keyIds)}`),
    ...(deltas ?? []).map(({ base, target, bytes }) => `  from ${nameOf(base)} to ${nameOf(target)}: ${String(bytes)} bytes`),
    ...(releases ?? []).map((release) => `  ${release.version}, sequence ${String(release.sequence)}`),
  ];
}

export function manifestLines({ product, version, sequence, artifacts, hardware, minimumSource }: ReleaseManifest): string[] {
  return [
    `release ${product} ${version}, sequence ${String(sequence)}${hardware.length === 0 ? '' : `, for ${hardware.join(', ')}`}${minimumSource === 0 ? '' : `, from sequence ${String(minimumSource)} on`}`,
    ...artifacts.map(({ name, role, size, root, sha256: hash }) => `  ${name} (${role}): ${String(size)} bytes, root ${root}, SHA-256 ${hash}`),
  ];
}

/** Reads a staging directory for people. Throws `BAD_STAGING`, `TUF_MALFORMED`; a manifest that is not what was signed is left out. */
export async function describeStaging(home: Pick<TrustHome, 'files'>, directory: string): Promise<StagingDescription> {
  const { roots, targets, delegated } = await readStaging(home, directory);
  const roles = [
    ...roots.map(({ metadata }) => describeMetadata('root', metadata)),
    ...(targets === undefined ? [] : [describeMetadata('targets', targets.metadata)]),
    ...[...delegated].map(([role, { metadata }]) => describeMetadata(role, metadata)),
  ];
  const manifests: ReleaseManifest[] = [];
  for (const { metadata } of delegated.values()) {
    for (const { path, sha256: hash } of releasesOf(metadata)) {
      const bytes = await readWhole(home.files, join(stagedTargets(directory), hashedPath(path, hash)), MANIFEST_MAX_BYTES);
      if (bytes !== undefined && sha256(bytes) === hash) manifests.push(decodeManifest(bytes));
    }
  }
  return { roles, manifests, lines: [...roles.flatMap((role) => linesOf(role)), ...manifests.flatMap(manifestLines)] };
}
