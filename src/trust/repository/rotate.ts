import { ShoalError } from '../../core/errors.ts';
import { encodeMetadata, expiry, parseMetadata } from '../metadata.ts';
import type { AnyMetadata, RootMetadata, TargetsMetadata } from '../metadata.ts';
import { DELTAS_ROLE, ONLINE_ROLES, TOP_ROLES, metadataFile } from '../roles.ts';
import { buildDelegated, buildRoot, buildTargets, delegationsOf, entriesOf, rootRole, signFor } from './build.ts';
import type { RoleKeys } from './build.ts';
import { readConfig } from './home.ts';
import type { TrustHome } from './home.ts';
import { createKey, loadKeys } from './keys.ts';
import type { PublicKey } from './keys.ts';
import { countSignatures, recordOffline } from './stage.ts';
import type { SignatureCount } from './stage.ts';
import { readStaging, writeStaged } from './staging.ts';
import { loadState, readMetadataFile, recover } from './state.ts';
import type { RepositoryState } from './state.ts';

/** Makes a key for `role` in the half of the home where it belongs and returns its public part, which may travel. */
export async function createRoleKey(home: TrustHome, role: string): Promise<PublicKey> {
  const online = (ONLINE_ROLES as readonly string[]).includes(role);
  if (!online && (await readConfig(home)).part === 'server') throw new ShoalError('OFFLINE_KEY_ON_SERVER', `a server home never holds a key of ${role}`, { ids: { role } });
  return (await createKey(home.files, online ? home.paths.onlineKeys : home.paths.offlineKeys, role)).publicKey;
}

export interface RotateReport {
  readonly signatures: readonly SignatureCount[];
  readonly complete: boolean;
}

/**
 * Stages new keys for roles; with none, renews the signatures of `renew`. A changed top-level role makes a new root,
 * signed by the old root keys and, when they change, the new ones as well (TUF 6.1). Product roles whose keys change are
 * signed again. Sign with the other machines' keys by `signStaged`, then `acceptStaged` on the server.
 */
export function stageRotation(home: TrustHome, directory: string, change: Readonly<Record<string, RoleKeys>>, renew: readonly string[] = []): Promise<RotateReport> {
  return home.exclusively(async () => {
    await recover(home);
    const config = await readConfig(home);
    const state = await loadState(home);
    const keys = await loadKeys(home.files, home.paths.offlineKeys);
    const top = TOP_ROLES.filter((role) => change[role] !== undefined);
    const delegations = delegationsOf(state.targets.metadata);
    const changedProducts = Object.keys(change).filter((role) => !(TOP_ROLES as readonly string[]).includes(role));
    for (const role of changedProducts) {
      const by = change[role];
      if (!delegations.has(role) || by === undefined) throw new ShoalError('BAD_ROLE', `${role} is not a role of this repository`, { ids: { role } });
      delegations.set(role, by);
    }
    const now = home.now();
    const staged: [role: string, metadata: RootMetadata | TargetsMetadata][] = [];
    let root = state.root.metadata;
    if (top.length > 0 || renew.includes('root')) {
      const roles = Object.fromEntries(TOP_ROLES.map((role) => [role, change[role] ?? rootRole(root, role)])) as Record<(typeof TOP_ROLES)[number], RoleKeys>;
      root = buildRoot(root.signed.version + 1, expiry(now, config.expiryDays.root), roles);
      staged.push(['root', root]);
    }
    let targets = state.targets.metadata;
    if (changedProducts.length > 0 || change['targets'] !== undefined || renew.includes('targets')) {
      targets = buildTargets(targets.signed.version + 1, expiry(now, config.expiryDays.targets), delegations);
      staged.push(['targets', targets]);
    }
    for (const role of new Set([...changedProducts, ...renew])) {
      const old = state.delegated.get(role);
      if (old === undefined || role === DELTAS_ROLE) continue;
      staged.push([role, buildDelegated(role, old.metadata.signed.version + 1, expiry(now, config.expiryDays.product), entriesOf(old.metadata))]);
    }
    if (staged.length === 0) throw new ShoalError('NOTHING_TO_DO', 'neither a role to change nor one to renew was named');
    const signatures: SignatureCount[] = [];
    for (const [role, metadata] of staged) {
      const by = authorities(state, root, targets, role);
      signFor(metadata, by, keys);
      const bytes = encodeMetadata(metadata);
      await writeStaged(home, directory, role, metadata.signed.version, bytes);
      await recordOffline(home, config, role, metadata.signed.version, bytes);
      signatures.push(...by.map((each) => countSignatures(role, metadata, each)));
    }
    return { signatures, complete: signatures.every(({ have, need }) => have >= need) };
  });
}

/** Everyone who must sign `role`: the old and the new keys for a root. */
function authorities(state: RepositoryState, root: RootMetadata, targets: TargetsMetadata, role: string): readonly RoleKeys[] {
  if (role === 'root') return [rootRole(state.root.metadata, 'root'), rootRole(root, 'root')];
  if (role === 'targets') return [rootRole(root, 'targets')];
  const by = delegationsOf(targets).get(role);
  if (by === undefined) throw new ShoalError('BAD_STAGING', `${role} is delegated neither by the repository nor by the staging directory`, { ids: { role } });
  return [by];
}

/**
 * Adds the signatures of this home's keys to a staging directory made elsewhere: the next step towards a threshold.
 * `home` decides which keys count; show people what they sign with `readStaging` first.
 */
export function signStaged(home: TrustHome, directory: string): Promise<RotateReport> {
  return home.exclusively(async () => {
    const config = await readConfig(home);
    const loaded = await loadState(home);
    const keys = await loadKeys(home.files, home.paths.offlineKeys);
    const staging = await readStaging(home, directory);
    const root = staging.roots.at(-1)?.metadata ?? loaded.root.metadata;
    const targets = staging.targets?.metadata ?? loaded.targets.metadata;
    const signatures: SignatureCount[] = [];
    const sign = async (role: string, metadata: AnyMetadata, by: readonly RoleKeys[]): Promise<void> => {
      signFor(metadata, by, keys);
      const bytes = encodeMetadata(metadata);
      await writeStaged(home, directory, role, metadata.signed.version, bytes);
      await recordOffline(home, config, role, metadata.signed.version, bytes);
      signatures.push(...by.map((each) => countSignatures(role, metadata, each)));
    };
    let before = loaded.root.metadata;
    if (staging.roots.some(({ metadata }) => metadata.signed.version === before.signed.version)) before = await rootBefore(home, before.signed.version) ?? before;
    for (const { metadata } of staging.roots) {
      await sign('root', metadata, [rootRole(before, 'root'), rootRole(metadata, 'root')]);
      before = metadata;
    }
    if (staging.targets !== undefined) await sign('targets', staging.targets.metadata, [rootRole(root, 'targets')]);
    for (const [role, { metadata }] of staging.delegated) await sign(role, metadata, authorities(loaded, root, targets, role));
    return { signatures, complete: signatures.every(({ have, need }) => have >= need) };
  });
}

/** This home has recorded the staged root already: the keys that must agree are those of the root before it. */
async function rootBefore(home: TrustHome, version: number): Promise<RootMetadata | undefined> {
  const bytes = await readMetadataFile(home, metadataFile('root', version - 1));
  return bytes === undefined ? undefined : parseMetadata('root', bytes);
}
