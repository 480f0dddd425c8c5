import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { METADATA_MAX_BYTES } from '../../core/limits.ts';
import { makeDirectories, writeDurably } from '../../store/durable.ts';
import { expiry, isSignedBy, sha256 } from '../metadata.ts';
import type { RootMetadata, TargetsMetadata } from '../metadata.ts';
import { DELTAS_ROLE, deltaPath, hashedPath, metadataFile } from '../roles.ts';
import type { ObjectId } from '../../core/ids.ts';
import { buildDelegated, buildSnapshot, buildTimestamp, checkOnlineKeys, delegationsOf, entriesOf, entryOf, rootRole, signOnline } from './build.ts';
import type { TargetEntry } from './build.ts';
import { readConfig } from './home.ts';
import type { HomeConfig, TrustHome } from './home.ts';
import { loadKeys } from './keys.ts';
import { pruneMetadata } from './prune.ts';
import { commitVisible, loadState, recover } from './state.ts';
import type { Held, RepositoryState } from './state.ts';

/** What a repository is to say next: the parts that change, verified and signed. */
export interface NextState {
  /** New roots in order, the last one being in force. */
  readonly roots?: readonly Held<RootMetadata>[];
  readonly targets?: Held<TargetsMetadata>;
  readonly delegated?: ReadonlyMap<string, Held<TargetsMetadata>>;
}

/** The delta role as it must stand under `targets`: what it lists, signed again when its key or its date asks for it. */
function nextDeltas(state: RepositoryState, targets: TargetsMetadata, config: HomeConfig, keys: Awaited<ReturnType<typeof loadKeys>>, now: Date, entries?: ReadonlyMap<string, TargetEntry>): Held<TargetsMetadata> | undefined {
  const by = delegationsOf(targets).get(DELTAS_ROLE);
  if (by === undefined) return undefined;
  const old = state.delegated.get(DELTAS_ROLE);
  // When its key was exchanged, the same list is signed by the new one.
  const stands = old !== undefined && !isDue(old.metadata.signed.expires, config.expiryDays.deltas, now) && isSignedBy(targets, DELTAS_ROLE, old.metadata);
  if (stands && entries === undefined) return undefined;
  const listed = entries ?? (old === undefined ? new Map<string, TargetEntry>() : entriesOf(old.metadata));
  const metadata = buildDelegated(DELTAS_ROLE, (old?.metadata.signed.version ?? 0) + 1, expiry(now, config.expiryDays.deltas), listed);
  const bytes = signOnline(DELTAS_ROLE, metadata, by, keys);
  if (bytes.byteLength > METADATA_MAX_BYTES) {
    throw new ShoalError('TOO_MANY_DELTAS', `${String(listed.size)} deltas are more than one list can have`, { hint: 'Take some back with "shoal delta --remove", or retire old releases and run "shoal gc".' });
  }
  return { metadata, bytes };
}

/** Half of a signature's life has gone. */
function isDue(expires: string, days: number, now: Date): boolean {
  return Date.parse(expires) - now.getTime() < (days * 86_400_000) / 2;
}

/**
 * Signs snapshot and timestamp over `next` and makes all of it visible at once. Call under the home's lock. Numbered
 * files go to the medium first; nobody reads them until the last write, of the timestamp (and roots), refers to them.
 */
export async function commitNext(home: TrustHome, state: RepositoryState, config: HomeConfig, next: NextState, deltas?: ReadonlyMap<string, TargetEntry>): Promise<void> {
  const now = home.now();
  const keys = await loadKeys(home.files, home.paths.onlineKeys);
  const root = next.roots?.at(-1)?.metadata ?? state.root.metadata;
  const targets = next.targets ?? state.targets;
  const delegated = new Map([...state.delegated, ...(next.delegated ?? [])]);
  const changed = new Map<string, Held<TargetsMetadata>>(next.delegated ?? []);
  const delta = nextDeltas(state, targets.metadata, config, keys, now, deltas);
  if (delta !== undefined) {
    delegated.set(DELTAS_ROLE, delta);
    changed.set(DELTAS_ROLE, delta);
  }
  if (next.targets !== undefined) changed.set('targets', next.targets);

  const listed = new Map([['targets', targets] as const, ...delegated].map(([role, held]) => [role, { version: held.metadata.signed.version, bytes: held.bytes }]));
  const snapshot = buildSnapshot((state.snapshot?.metadata.signed.version ?? 0) + 1, expiry(now, config.expiryDays.snapshot), listed);
  const snapshotBytes = signOnline('snapshot', snapshot, rootRole(root, 'snapshot'), keys);
  const timestampBytes = signTimestamp(state, config, root, { version: snapshot.signed.version, bytes: snapshotBytes }, keys, now);

  const write = (role: string, version: number, bytes: Uint8Array): Promise<void> => writeDurably(home.files, join(home.paths.metadata, metadataFile(role, version)), bytes);
  for (const [role, held] of changed) await write(role, held.metadata.signed.version, held.bytes);
  await write('snapshot', snapshot.signed.version, snapshotBytes);
  const visible = new Map<string, Uint8Array>();
  for (const each of next.roots ?? []) visible.set(metadataFile('root', each.metadata.signed.version), each.bytes);
  visible.set('timestamp.json', timestampBytes);
  await commitVisible(home, visible);
  const newest = next.roots?.at(-1);
  if (newest !== undefined) await writeTrustRoot(home, newest.bytes);
  await pruneMetadata(home, snapshot.signed.version, listed);
}

export async function writeTrustRoot(home: TrustHome, bytes: Uint8Array): Promise<void> {
  await makeDirectories(home.files, join(home.directory, 'trust'));
  await writeDurably(home.files, home.paths.trustRoot, bytes);
}

function signTimestamp(
  state: RepositoryState,
  config: HomeConfig,
  root: RootMetadata,
  snapshot: { readonly version: number; readonly bytes: Uint8Array },
  keys: Awaited<ReturnType<typeof loadKeys>>,
  now: Date,
): Uint8Array {
  const timestamp = buildTimestamp((state.timestamp?.metadata.signed.version ?? 0) + 1, expiry(now, config.expiryDays.timestamp), snapshot);
  return signOnline('timestamp', timestamp, rootRole(root, 'timestamp'), keys);
}

export interface RenewReport {
  /** Online roles that were signed again. */
  readonly renewed: readonly string[];
  /** When to call again, at the latest. */
  readonly nextAt: Date;
  /** Offline roles and when they expire, soonest first: what an operator must be told of in time. */
  readonly offline: readonly { readonly role: string; readonly expires: Date }[];
}

/**
 * Signs timestamp, snapshot and deltas again once half of their life has gone. The origin calls it when it starts and
 * then at `nextAt`. Also puts in order what an interrupted commit left. Throws `NO_ONLINE_KEY`, also when nothing is due.
 */
export function renewOnline(home: TrustHome): Promise<RenewReport> {
  return home.exclusively(async () => {
    await recover(home);
    const config = await readConfig(home);
    const state = await loadState(home);
    if (state.snapshot === undefined || state.timestamp === undefined) throw new ShoalError('NOT_A_SERVER', `${home.directory} is an offline home: it serves nothing`, { ids: { home: home.directory } });
    const now = home.now();
    const { expiryDays } = config;
    const keys = await loadKeys(home.files, home.paths.onlineKeys);
    // Also when nothing is due: a key that is lost is to be missed now, not when the signatures end in the night.
    for (const role of ['timestamp', 'snapshot'] as const) checkOnlineKeys(role, rootRole(state.root.metadata, role), keys);
    const deltas = state.delegated.get(DELTAS_ROLE);
    const renewed: string[] = [];
    const deltasDue = deltas !== undefined && isDue(deltas.metadata.signed.expires, expiryDays.deltas, now);
    if (deltasDue || isDue(state.snapshot.metadata.signed.expires, expiryDays.snapshot, now)) {
      await commitNext(home, state, config, {});
      renewed.push(...(deltasDue ? [DELTAS_ROLE] : []), 'snapshot', 'timestamp');
    } else if (isDue(state.timestamp.metadata.signed.expires, expiryDays.timestamp, now)) {
      const snapshot = { version: state.snapshot.metadata.signed.version, bytes: state.snapshot.bytes };
      const bytes = signTimestamp(state, config, state.root.metadata, snapshot, keys, now);
      await commitVisible(home, new Map([['timestamp.json', bytes]]));
      renewed.push('timestamp');
    }
    const offline = [['root', state.root] as const, ['targets', state.targets] as const, ...state.delegated]
      .filter(([role]) => role !== DELTAS_ROLE)
      .map(([role, held]) => ({ role, expires: new Date(held.metadata.signed.expires) }))
      .sort((a, b) => a.expires.getTime() - b.expires.getTime());
    return { renewed, nextAt: new Date(now.getTime() + (expiryDays.timestamp * 86_400_000) / 4), offline };
  });
}

export interface DeltaTarget {
  readonly base: ObjectId;
  readonly target: ObjectId;
  /** The delta manifest's bytes. */
  readonly bytes: Uint8Array;
  readonly baseSize: number;
  /** All that a device fetches for the delta. */
  readonly deltaBytes: number;
}

/**
 * Signs delta manifests with the online `deltas` role and makes them visible; `remove` takes back others. What they name
 * must be durable before. Says whether that changed anything. Throws `NO_ONLINE_KEY`, and `TOO_MANY_DELTAS` when the role
 * becomes longer than devices read.
 */
export function publishDeltas(home: TrustHome, add: readonly DeltaTarget[], remove: readonly { readonly base: ObjectId; readonly target: ObjectId }[] = []): Promise<boolean> {
  return home.exclusively(async () => {
    await recover(home);
    const config = await readConfig(home);
    const state = await loadState(home);
    const old = state.delegated.get(DELTAS_ROLE);
    const entries = old === undefined ? new Map<string, TargetEntry>() : entriesOf(old.metadata);
    const before = JSON.stringify([...entries]);
    for (const { base, target } of remove) entries.delete(deltaPath(base, target));
    for (const { base, target, bytes, baseSize, deltaBytes } of add) {
      const path = deltaPath(base, target);
      entries.set(path, entryOf(bytes, { baseSize, bytes: deltaBytes }));
      await makeDirectories(home.files, join(home.paths.targets, 'deltas', base));
      await writeDurably(home.files, join(home.paths.targets, hashedPath(path, sha256(bytes))), bytes);
    }
    if (JSON.stringify([...entries]) === before) return false;
    await commitNext(home, state, config, {}, entries);
    return true;
  });
}
