import type { PublicKey, Signer } from './keys.ts';
import { keyIdOf } from './keys.ts';
import { ShoalError } from '../../core/errors.ts';
import { encodeMetadata, fileInfo, sha256, unsigned } from '../metadata.ts';
import type { AnyMetadata, RootMetadata, SnapshotMetadata, TargetsMetadata, TimestampMetadata } from '../metadata.ts';
import { patternOf } from '../roles.ts';
import type { TopRole } from '../roles.ts';

/** Who signs a role, and how many of them must. */
export interface RoleKeys {
  readonly keys: readonly PublicKey[];
  readonly threshold: number;
}

/** The parts of a `Role` of `@tufjs/models` that matter here. */
export interface RoleIds {
  readonly keyIDs: readonly string[];
  readonly threshold: number;
}

function checkRole(role: string, { keys, threshold }: RoleKeys): void {
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > new Set(keys.map(keyIdOf)).size) {
    throw new ShoalError('BAD_THRESHOLD', `${role} cannot need ${String(threshold)} signatures from ${String(keys.length)} keys`, { ids: { role } });
  }
}

const keyTable = (roles: Iterable<RoleKeys>): Record<string, PublicKey> =>
  Object.fromEntries([...roles].flatMap(({ keys }) => keys.map((key) => [keyIdOf(key), key])));

const roleRecord = ({ keys, threshold }: RoleKeys): { keyids: string[]; threshold: number } => ({ keyids: [...new Set(keys.map(keyIdOf))], threshold });

export function buildRoot(version: number, expires: string, roles: Readonly<Record<TopRole, RoleKeys>>): RootMetadata {
  for (const [role, keys] of Object.entries(roles)) checkRole(role, keys);
  const records = Object.fromEntries(Object.entries(roles).map(([role, keys]) => [role, roleRecord(keys)]));
  return unsigned('root', { version, expires, consistent_snapshot: true, keys: keyTable(Object.values(roles)), roles: records } as never);
}

/** `targets.json`: delegations alone; every target belongs to a delegated role. */
export function buildTargets(version: number, expires: string, delegations: ReadonlyMap<string, RoleKeys>): TargetsMetadata {
  const roles = [...delegations].map(([name, keys]) => {
    checkRole(name, keys);
    const pattern = patternOf(name);
    if (pattern === undefined) throw new ShoalError('BAD_ROLE', `${name} is not a role that can be delegated`, { ids: { role: name } });
    return { name, ...roleRecord(keys), terminating: true, paths: [pattern] };
  });
  return unsigned('targets', { version, expires, targets: {}, delegations: { keys: keyTable(delegations.values()), roles } } as never);
}

export interface TargetEntry {
  readonly length: number;
  readonly sha256: string;
  readonly custom?: Readonly<Record<string, string | number>> | undefined;
}

export function buildDelegated(role: string, version: number, expires: string, targets: ReadonlyMap<string, TargetEntry>): TargetsMetadata {
  const records = Object.fromEntries(
    [...targets].map(([path, { length, sha256: hash, custom }]) => [path, { length, hashes: { sha256: hash }, ...(custom === undefined ? {} : { custom }) }]),
  );
  return unsigned(role, { version, expires, targets: records });
}

/** What a targets role lists, in the form `buildDelegated` takes. */
export function entriesOf(metadata: TargetsMetadata): Map<string, TargetEntry> {
  return new Map(
    Object.entries(metadata.signed.targets).map(([path, file]) => {
      const custom = file.custom as Readonly<Record<string, string | number>>;
      return [path, { length: file.length, sha256: file.hashes['sha256'] ?? '', custom: Object.keys(custom).length === 0 ? undefined : custom }];
    }),
  );
}

export function entryOf(bytes: Uint8Array, custom?: TargetEntry['custom']): TargetEntry {
  return { length: bytes.byteLength, sha256: sha256(bytes), custom };
}

export function buildSnapshot(version: number, expires: string, roles: ReadonlyMap<string, { readonly version: number; readonly bytes: Uint8Array }>): SnapshotMetadata {
  const meta = Object.fromEntries([...roles].map(([role, held]) => [`${role}.json`, { version: held.version, ...fileInfo(held.bytes) }]));
  return unsigned('snapshot', { version, expires, meta });
}

export function buildTimestamp(version: number, expires: string, snapshot: { readonly version: number; readonly bytes: Uint8Array }): TimestampMetadata {
  return unsigned('timestamp', { version, expires, meta: { 'snapshot.json': { version: snapshot.version, ...fileInfo(snapshot.bytes) } } });
}

/** Who signs a top-level role, read back from a root. */
export function rootRole(root: RootMetadata, role: TopRole): RoleKeys {
  return roleKeys(root.signed.roles[role], root.signed.keys);
}

/** Who signs the delegated roles, read back from `targets.json`. */
export function delegationsOf(targets: TargetsMetadata): Map<string, RoleKeys> {
  const { delegations } = targets.signed;
  return new Map(Object.entries(delegations?.roles ?? {}).map(([name, role]) => [name, roleKeys(role, delegations?.keys ?? {})]));
}

function roleKeys(role: RoleIds | undefined, keys: Readonly<Record<string, { readonly keyVal: Record<string, string> }>>): RoleKeys {
  const known = (role?.keyIDs ?? []).flatMap((id) => (keys[id] === undefined ? [] : [{ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: keys[id].keyVal['public'] ?? '' } } as const]));
  return { keys: known, threshold: role?.threshold ?? 1 };
}

/** Signs with every key at hand that belongs to one of `roles`. */
export function signFor(metadata: AnyMetadata, roles: readonly RoleKeys[], keys: ReadonlyMap<string, Signer>): void {
  for (const id of new Set(roles.flatMap((role) => role.keys.map(keyIdOf)))) {
    const signer = keys.get(id);
    if (signer !== undefined) metadata.sign((data) => signer.sign(data));
  }
}

/** Throws `NO_ONLINE_KEY` when `keys` are not enough to sign `role`. */
export function checkOnlineKeys(role: string, by: RoleKeys, keys: ReadonlyMap<string, Signer>): void {
  const held = by.keys.filter((key) => keys.has(keyIdOf(key))).length;
  if (held < by.threshold) {
    throw new ShoalError('NO_ONLINE_KEY', `this home holds ${String(held)} of the ${String(by.threshold)} keys that sign ${role}`, { ids: { role }, hint: 'The key belongs in keys/online of the server home.' });
  }
}

/** Encodes online metadata; throws `NO_ONLINE_KEY` when the keys at hand do not reach the threshold. */
export function signOnline(role: string, metadata: AnyMetadata, by: RoleKeys, keys: ReadonlyMap<string, Signer>): Uint8Array {
  checkOnlineKeys(role, by, keys);
  signFor(metadata, [by], keys);
  return encodeMetadata(metadata);
}
