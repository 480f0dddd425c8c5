import { join } from 'node:path';
import { ShoalError, messageOf } from '../../core/errors.ts';
import { METADATA_MAX_BYTES } from '../../core/limits.ts';
import { decodeManifest } from '../../core/manifest.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { readWhole } from '../../store/durable.ts';
import { isSignedBy, sha256 } from '../metadata.ts';
import type { AnyMetadata, RootMetadata, TargetsMetadata } from '../metadata.ts';
import { DELTAS_ROLE, LATEST, hashedPath, patternOf, productOf, productRole, releasePath } from '../roles.ts';
import { delegationsOf, entriesOf } from './build.ts';
import type { HomeConfig, TrustHome } from './home.ts';
import { highestSequence } from './stage.ts';
import { stagedTargets } from './staging.ts';
import type { Staging } from './staging.ts';
import type { Held, RepositoryState } from './state.ts';

/** A staging directory that passed every check against one state of the repository. */
export interface VerifiedStaging {
  readonly roots: readonly Held<RootMetadata>[];
  readonly targets: Held<TargetsMetadata> | undefined;
  readonly delegated: ReadonlyMap<string, Held<TargetsMetadata>>;
  /** Releases that are new. */
  readonly releases: readonly ReleaseManifest[];
  /** Target files that are new, by their path on the wire. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Hashes of the manifests that are no longer listed. */
  readonly retired: readonly { readonly product: string; readonly version: string }[];
}

function refuse(code: string, message: string, role: string, hint?: string): ShoalError {
  return new ShoalError(code, message, { ids: { role }, ...(hint === undefined ? {} : { hint }) });
}

function checkSigned(delegator: AnyMetadata, role: string, metadata: AnyMetadata): void {
  try {
    delegator.verifyDelegate(role, metadata);
  } catch (cause) {
    throw new ShoalError('STAGING_SIGNATURE', `the staged ${role} is not signed by the keys this repository trusts for it (${messageOf(cause)})`, {
      cause,
      ids: { role },
      hint: 'Have the missing key holders sign the staging directory, or check that it was made for this repository.',
    });
  }
}

/** Says whether `next` is news after `old`. The same bytes again are none; another file of the same version lost a race. */
function isNews<T extends AnyMetadata>(role: string, old: Held<T> | undefined, next: Held<T>): boolean {
  if (old === undefined) return true;
  const [is, was] = [next.metadata.signed.version, old.metadata.signed.version];
  if (is > was) return true;
  // Signatures may differ: what was signed is what counts.
  if (is === was && next.metadata.signed.equals(old.metadata.signed as never)) return false;
  if (is === was) throw refuse('STAGING_RACED', `version ${String(is)} of ${role} was published by somebody else in the meantime`, role, 'Bring the offline home up to date (shoal sync --discard) and stage the release again.');
  throw refuse('STAGING_REPLAYED', `the staged ${role} is version ${String(is)}; the repository is at ${String(was)} already`, role, 'Stage the release again on top of what is published.');
}

function checkFresh(role: string, metadata: AnyMetadata, now: Date): void {
  if (metadata.signed.isExpired(now)) throw refuse('STAGING_EXPIRED', `the signature of the staged ${role} expired on ${metadata.signed.expires}`, role, 'Sign it again.');
}

function checkRoots(state: RepositoryState, staging: Staging, now: Date): Held<RootMetadata>[] {
  const news: Held<RootMetadata>[] = [];
  let { root } = state;
  for (const next of staging.roots) {
    if (next.metadata.signed.version < root.metadata.signed.version && news.length === 0) continue;
    if (!isNews('root', root, next)) continue;
    if (next.metadata.signed.version !== root.metadata.signed.version + 1) throw refuse('BAD_STAGING', `root ${String(root.metadata.signed.version + 1)} is missing before root ${String(next.metadata.signed.version)}`, 'root');
    checkSigned(root.metadata, 'root', next.metadata);
    checkSigned(next.metadata, 'root', next.metadata);
    if (!next.metadata.signed.consistentSnapshot) throw refuse('BAD_STAGING', 'the staged root turns consistent snapshots off', 'root');
    news.push(next);
    root = next;
  }
  checkFresh('root', root.metadata, now);
  return news;
}

function checkDelegations(old: TargetsMetadata, next: TargetsMetadata): void {
  if (Object.keys(next.signed.targets).length > 0) throw refuse('BAD_STAGING', 'the staged targets lists files of its own', 'targets');
  const roles = next.signed.delegations?.roles ?? {};
  for (const [name, role] of Object.entries(roles)) {
    const pattern = patternOf(name);
    if (pattern === undefined || role.paths?.length !== 1 || role.paths[0] !== pattern || !role.terminating) {
      throw refuse('BAD_STAGING', `the staged targets delegates ${name} in a way this program does not know`, 'targets');
    }
  }
  for (const name of delegationsOf(old).keys()) if (!Object.hasOwn(roles, name)) throw refuse('BAD_STAGING', `the staged targets no longer delegates ${name}`, 'targets');
}

/** Checks one product role against what it says now, and reads the manifests that it adds. */
async function checkProduct(home: TrustHome, config: HomeConfig, directory: string, product: string, old: TargetsMetadata | undefined, next: TargetsMetadata): Promise<Pick<VerifiedStaging, 'releases' | 'files' | 'retired'>> {
  const role = productRole(product);
  const before = old === undefined ? new Map<string, never>() : entriesOf(old);
  const after = entriesOf(next);
  const latest = after.get(releasePath(product, LATEST));
  const releases: ReleaseManifest[] = [];
  const files = new Map<string, Uint8Array>();
  const newest = highestSequence(next);
  for (const [path, entry] of after) {
    if (!path.startsWith(`products/${product}/`) || !path.endsWith('.json') || path.split('/').length !== 3) throw refuse('BAD_STAGING', `${role} may not sign ${path}`, role);
    const same = before.get(path)?.sha256 === entry.sha256;
    const isLatest = entry === latest;
    if (before.has(path) && !same && !isLatest) throw refuse('RELEASE_CHANGED', `the staged ${role} gives ${path} another content; a release never changes`, role);
    if (isLatest && Number(entry.custom?.['sequence']) !== newest) throw refuse('BAD_STAGING', `the staged ${role} names a latest release that is not the newest`, role);
    if (same) continue;
    const wire = hashedPath(path, entry.sha256);
    const staged = await readWhole(home.files, join(stagedTargets(directory), wire), METADATA_MAX_BYTES);
    const bytes = staged ?? (isLatest ? await publishedManifest(home, product, entry.custom?.['version'], entry.sha256) : undefined);
    if (bytes === undefined) throw refuse('STAGING_INCOMPLETE', `the staging directory lacks ${wire}`, role, 'Accept the stagings of this product in the order they were made.');
    if (bytes.byteLength !== entry.length || sha256(bytes) !== entry.sha256) throw refuse('STAGING_DAMAGED', `${wire} is not what ${role} signed`, role, 'Copy the staging directory again.');
    files.set(wire, bytes);
    if (isLatest) continue;
    const manifest = decodeManifest(bytes);
    if (manifest.product !== product || releasePath(product, manifest.version) !== path || manifest.version === LATEST) throw refuse('BAD_STAGING', `${path} describes ${manifest.product} ${manifest.version}`, role);
    if (manifest.namespace !== config.namespace) throw refuse('WRONG_NAMESPACE', `${path} is of the namespace ${manifest.namespace}; this repository serves ${config.namespace}`, role);
    if (entry.custom?.['sequence'] !== manifest.sequence || entry.custom['version'] !== manifest.version) throw refuse('BAD_STAGING', `the staged ${role} says otherwise than ${path}`, role);
    if (manifest.sequence <= highestSequence(old)) throw refuse('SEQUENCE_TOO_LOW', `${product} ${manifest.version} has sequence ${String(manifest.sequence)}; it must be above ${String(highestSequence(old))}`, role);
    releases.push(manifest);
  }
  if (new Set(releases.map(({ sequence }) => sequence)).size !== releases.length) throw refuse('SEQUENCE_TOO_LOW', `the staged ${role} gives one sequence to two releases`, role);
  if ((latest === undefined) !== (after.size === 0)) throw refuse('BAD_STAGING', `the staged ${role} names no latest release`, role);
  const retired = [...before.entries()].filter(([path]) => !after.has(path) && !path.endsWith(`/${LATEST}.json`)).map(([path]) => ({ product, version: path.slice(`products/${product}/`.length, -'.json'.length) }));
  return { releases, files, retired };
}

/** After the newest release was retired, an older one, published before, becomes the latest again. */
function publishedManifest(home: TrustHome, product: string, version: string | number | undefined, hash: string): Promise<Uint8Array | undefined> {
  return readWhole(home.files, join(home.paths.targets, hashedPath(releasePath(product, String(version)), hash)), METADATA_MAX_BYTES);
}

/** Checks a staging directory against the repository as it is. Undefined when all of it is published already. */
export async function verifyStaging(home: TrustHome, config: HomeConfig, state: RepositoryState, directory: string, staging: Staging): Promise<VerifiedStaging | undefined> {
  const now = home.now();
  const roots = checkRoots(state, staging, now);
  const root = roots.at(-1)?.metadata ?? state.root.metadata;
  const targets = staging.targets !== undefined && isNews('targets', state.targets, staging.targets) ? staging.targets : undefined;
  const inForce = targets ?? state.targets;
  checkSigned(root, 'targets', inForce.metadata);
  if (targets !== undefined) {
    checkFresh('targets', targets.metadata, now);
    checkDelegations(state.targets.metadata, targets.metadata);
  }
  const delegated = new Map<string, Held<TargetsMetadata>>();
  const releases: ReleaseManifest[] = [];
  const files = new Map<string, Uint8Array>();
  const retired: { product: string; version: string }[] = [];
  for (const [role, next] of staging.delegated) {
    const product = productOf(role);
    if (product === undefined) throw refuse('BAD_STAGING', `${role} does not belong into a staging directory`, role);
    checkSigned(inForce.metadata, role, next.metadata);
    if (!isNews(role, state.delegated.get(role), next)) continue;
    checkFresh(role, next.metadata, now);
    const part = await checkProduct(home, config, directory, product, state.delegated.get(role)?.metadata, next.metadata);
    delegated.set(role, next);
    releases.push(...part.releases);
    retired.push(...part.retired);
    for (const [path, bytes] of part.files) files.set(path, bytes);
  }
  // A change of keys must not leave a role behind that nobody would accept any more.
  for (const [role, held] of state.delegated) {
    if (role !== DELTAS_ROLE && !delegated.has(role) && !isSignedBy(inForce.metadata, role, held.metadata)) {
      throw refuse('STAGING_INCOMPLETE', `the staged targets exchanges the keys of ${role}, but ${role} signed by the new ones is missing`, role);
    }
  }
  if (roots.length === 0 && targets === undefined && delegated.size === 0) return undefined;
  return { roots, targets, delegated, releases, files, retired };
}
