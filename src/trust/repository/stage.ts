import { dirname, join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { encodeManifest } from '../../core/manifest.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { makeDirectories, writeDurably } from '../../store/durable.ts';
import { encodeMetadata, expiry, sha256 } from '../metadata.ts';
import type { AnyMetadata, TargetsMetadata } from '../metadata.ts';
import { LATEST, hashedPath, metadataFile, productRole, releasePath } from '../roles.ts';
import { buildDelegated, buildTargets, delegationsOf, entriesOf, entryOf, rootRole, signFor } from './build.ts';
import type { RoleKeys, TargetEntry } from './build.ts';
import { readConfig } from './home.ts';
import type { HomeConfig, TrustHome } from './home.ts';
import { createKey, keyIdOf, loadKeys } from './keys.ts';
import type { Signer } from './keys.ts';
import { recover, loadState } from './state.ts';
import type { RepositoryState } from './state.ts';
import { stagedTargets, writeStaged } from './staging.ts';

export interface StageOptions {
  /** Versions to take back, by product: they leave the metadata, and the server may forget their content. */
  readonly retire?: Readonly<Record<string, readonly string[]>>;
  /** Keys for products that are new, made on the machine that will publish them. Default: one new key in this home. */
  readonly productKeys?: Readonly<Record<string, RoleKeys>>;
}

/** How far the signatures of one staged file are. */
export interface SignatureCount {
  readonly role: string;
  readonly version: number;
  readonly have: number;
  readonly need: number;
}

export interface StageReport {
  readonly directory: string;
  readonly releases: readonly { readonly product: string; readonly version: string; readonly sequence: number }[];
  readonly signatures: readonly SignatureCount[];
  /** Enough signatures everywhere: ready for `acceptStaged`. Else take it to the next key holder (`signStaged`). */
  readonly complete: boolean;
}

/** Where one role's signatures stand. */
export function countSignatures(role: string, metadata: AnyMetadata, by: RoleKeys): SignatureCount {
  const have = by.keys.filter((key) => metadata.signatures[keyIdOf(key)] !== undefined).length;
  return { role, version: metadata.signed.version, have: Math.min(have, by.threshold), need: by.threshold };
}

/** The sequence number that the next release of `product` takes. Throws what staging would throw if it was to be called `version`. */
export async function nextSequence(home: TrustHome, product: string, version?: string): Promise<number> {
  const role = (await loadState(home)).delegated.get(productRole(product))?.metadata;
  if (version !== undefined) checkNew(product, version, role?.signed.targets ?? {});
  return highestSequence(role) + 1;
}

function checkNew(product: string, version: string, released: Readonly<Record<string, unknown>>): void {
  if (version === LATEST) throw new ShoalError('BAD_NAME', `a version cannot be called "${LATEST}": that name stands for the newest release`, { ids: { product } });
  if (Object.hasOwn(released, releasePath(product, version))) throw new ShoalError('RELEASE_EXISTS', `${product} ${version} is released already; a release never changes`, { ids: { product, version }, hint: 'Publish it under another version.' });
}

export function highestSequence(metadata: TargetsMetadata | undefined): number {
  return Object.values(metadata?.signed.targets ?? {}).reduce((most, file) => Math.max(most, Number(file.custom['sequence'] ?? 0)), 0);
}

/** Lists what a product role says is released, newest first. */
export function releasesOf(metadata: TargetsMetadata): readonly { readonly version: string; readonly sequence: number; readonly path: string; readonly sha256: string }[] {
  return Object.values(metadata.signed.targets)
    .filter((file) => !file.path.endsWith(`/${LATEST}.json`))
    .map((file) => ({ version: String(file.custom['version']), sequence: Number(file.custom['sequence']), path: file.path, sha256: file.hashes['sha256'] ?? '' }))
    .sort((a, b) => b.sequence - a.sequence);
}

/** Adds the products that are new to the delegations; undefined when there is none. */
async function withProducts(home: TrustHome, state: RepositoryState, config: HomeConfig, products: readonly string[], keys: Map<string, Signer>, given: StageOptions['productKeys']): Promise<TargetsMetadata | undefined> {
  const delegations = delegationsOf(state.targets.metadata);
  const missing = products.filter((product) => !delegations.has(productRole(product)));
  if (missing.length === 0) return undefined;
  const by = rootRole(state.root.metadata, 'targets');
  if (!by.keys.some((key) => keys.has(keyIdOf(key)))) {
    throw new ShoalError('UNKNOWN_PRODUCT', `the product ${missing.join(', ')} is new, and this home holds no targets key to admit it`, {
      ids: { product: missing.join(', ') },
      hint: 'Publish its first release on the machine that holds keys/offline.',
    });
  }
  for (const product of missing) {
    let role = given?.[product];
    if (role === undefined) {
      const signer = await createKey(home.files, home.paths.offlineKeys, productRole(product));
      keys.set(signer.keyId, signer);
      role = { keys: [signer.publicKey], threshold: 1 };
    }
    delegations.set(productRole(product), role);
  }
  const targets = buildTargets(state.targets.metadata.signed.version + 1, expiry(home.now(), config.expiryDays.targets), delegations);
  signFor(targets, [by], keys);
  return targets;
}

function notReleased(product: string, version: string): ShoalError {
  return new ShoalError('NO_SUCH_RELEASE', `${product} ${version} is not released`, { ids: { product, version } });
}

function nextEntries(old: TargetsMetadata | undefined, releases: readonly ReleaseManifest[], retired: readonly string[], product: string): Map<string, TargetEntry> {
  const entries = old === undefined ? new Map<string, TargetEntry>() : entriesOf(old);
  let sequence = highestSequence(old);
  for (const manifest of releases) {
    const path = releasePath(product, manifest.version);
    checkNew(product, manifest.version, Object.fromEntries(entries));
    if (manifest.sequence <= sequence) throw new ShoalError('SEQUENCE_TOO_LOW', `${product} ${manifest.version} has sequence ${String(manifest.sequence)}; it must be above ${String(sequence)}`, { ids: { product, version: manifest.version } });
    ({ sequence } = manifest);
    const bytes = encodeManifest(manifest);
    entries.set(path, entryOf(bytes, { sequence, version: manifest.version }));
  }
  for (const version of retired) {
    if (!entries.delete(releasePath(product, version))) throw notReleased(product, version);
  }
  // The newest of what is left, under its second name.
  const latest = releasePath(product, LATEST);
  entries.delete(latest);
  const newest = [...entries.values()].sort((a, b) => Number(b.custom?.['sequence']) - Number(a.custom?.['sequence']))[0];
  if (newest !== undefined) entries.set(latest, newest);
  return entries;
}

/**
 * Signs new releases with the keys of an offline (or whole) home and writes them into the staging directory `directory`.
 * Needs no online key and no network. Several releases of one product must be in order of sequence.
 */
export function stageRelease(home: TrustHome, directory: string, manifests: readonly ReleaseManifest[], options: StageOptions = {}): Promise<StageReport> {
  return home.exclusively(async () => {
    await recover(home);
    const config = await readConfig(home);
    const state = await loadState(home);
    const keys = new Map(await loadKeys(home.files, home.paths.offlineKeys));
    const products = [...new Set([...manifests.map(({ product }) => product), ...Object.keys(options.retire ?? {})])];
    for (const [product, versions] of Object.entries(options.retire ?? {})) {
      if (!state.delegated.has(productRole(product)) && !manifests.some((manifest) => manifest.product === product)) throw notReleased(product, versions.join(', '));
    }
    const targets = await withProducts(home, state, config, products, keys, options.productKeys);
    const delegations = delegationsOf(targets ?? state.targets.metadata);
    const signatures: SignatureCount[] = [];
    const put = async (role: string, metadata: TargetsMetadata, by: RoleKeys): Promise<void> => {
      const bytes = encodeMetadata(metadata);
      await writeStaged(home, directory, role, metadata.signed.version, bytes);
      await recordOffline(home, config, role, metadata.signed.version, bytes);
      signatures.push(countSignatures(role, metadata, by));
    };
    if (targets !== undefined) await put('targets', targets, rootRole(state.root.metadata, 'targets'));
    for (const product of products) {
      const role = productRole(product);
      const by = delegations.get(role) ?? { keys: [], threshold: 1 };
      const old = state.delegated.get(role)?.metadata;
      const releases = manifests.filter((manifest) => manifest.product === product);
      const entries = nextEntries(old, releases, options.retire?.[product] ?? [], product);
      const metadata = buildDelegated(role, (old?.signed.version ?? 0) + 1, expiry(home.now(), config.expiryDays.product), entries);
      signFor(metadata, [by], keys);
      if (Object.keys(metadata.signatures).length === 0) throw new ShoalError('NO_OFFLINE_KEY', `this home holds no key that signs ${product}`, { ids: { product, home: home.directory } });
      await writeTargets(home, directory, releases, entries.get(releasePath(product, LATEST))?.sha256);
      await put(role, metadata, by);
    }
    const releases = manifests.map(({ product, version, sequence }) => ({ product, version, sequence }));
    return { directory, releases, signatures, complete: signatures.every(({ have, need }) => have >= need) };
  });
}

async function writeTargets(home: TrustHome, directory: string, releases: readonly ReleaseManifest[], latestHash: string | undefined): Promise<void> {
  for (const manifest of releases) {
    const bytes = encodeManifest(manifest);
    const hash = sha256(bytes);
    for (const name of hash === latestHash ? [manifest.version, LATEST] : [manifest.version]) {
      const path = join(stagedTargets(directory), hashedPath(releasePath(manifest.product, name), hash));
      await makeDirectories(home.files, dirname(path));
      await writeDurably(home.files, path, bytes);
    }
  }
}

/** An offline home remembers what it signed, so that its next staging builds on it before the server has answered. */
export async function recordOffline(home: TrustHome, config: HomeConfig, role: string, version: number, bytes: Uint8Array): Promise<void> {
  if (config.part === 'offline') await writeDurably(home.files, join(home.paths.metadata, metadataFile(role, version)), bytes);
}

