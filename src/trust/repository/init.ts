import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { DEFAULT_NAMESPACE, parseName } from '../../core/names.ts';
import { makeDirectories, writeDurably } from '../../store/durable.ts';
import { encodeMetadata, expiry } from '../metadata.ts';
import { DELTAS_ROLE, metadataFile } from '../roles.ts';
import type { RoleKeys } from './build.ts';
import { buildDelegated, buildRoot, buildSnapshot, buildTargets, buildTimestamp, signFor, signOnline } from './build.ts';
import { DEFAULT_EXPIRY_DAYS, writeConfig } from './home.ts';
import type { ExpiryDays, TrustHome } from './home.ts';
import { createKey } from './keys.ts';
import type { Signer } from './keys.ts';
import { writeTrustRoot } from './online.ts';

export interface InitOptions {
  readonly namespace?: string;
  /** Keys and signatures needed for root and targets. Default one of one. */
  readonly root?: { readonly keys: number; readonly threshold: number };
  readonly targets?: { readonly keys: number; readonly threshold: number };
  readonly expiryDays?: Partial<ExpiryDays>;
  /** Where the offline half goes; the home then never holds an offline key. Default: the home itself. */
  readonly offline?: TrustHome;
}

export interface InitReport {
  readonly home: string;
  readonly trustRoot: string;
  readonly offlineKeys: string;
  readonly onlineKeys: string;
}

async function makeKeys(home: TrustHome, directory: string, role: string, count: number, into: Map<string, Signer>): Promise<readonly Signer[]> {
  const made: Signer[] = [];
  for (let index = 0; index < count; index++) {
    const signer = await createKey(home.files, directory, role);
    into.set(signer.keyId, signer);
    made.push(signer);
  }
  return made;
}

/** Creates a home: keys, trust root, first metadata, configuration. Throws `HOME_EXISTS` when there is one already. */
export async function initHome(home: TrustHome, options: InitOptions = {}): Promise<InitReport> {
  const offline = options.offline ?? home;
  const namespace = parseName('namespace', options.namespace ?? DEFAULT_NAMESPACE);
  for (const each of new Set([home, offline])) {
    // The configuration is written last, so a home is there or it is not.
    if ((await each.files.stat(each.paths.config)) !== undefined) throw new ShoalError('HOME_EXISTS', `${each.directory} is a Shoal home already`, { ids: { home: each.directory } });
    for (const directory of [each.paths.metadata, each.paths.targets]) await makeDirectories(each.files, directory);
  }
  const keys = new Map<string, Signer>();
  const of = async (role: string, where: TrustHome, directory: string, count: number, threshold: number): Promise<RoleKeys> => ({
    keys: (await makeKeys(where, directory, role, count, keys)).map(({ publicKey }) => publicKey),
    threshold,
  });
  const root = options.root ?? { keys: 1, threshold: 1 };
  const targets = options.targets ?? { keys: 1, threshold: 1 };
  const roles = {
    root: await of('root', offline, offline.paths.offlineKeys, root.keys, root.threshold),
    targets: await of('targets', offline, offline.paths.offlineKeys, targets.keys, targets.threshold),
    snapshot: await of('snapshot', home, home.paths.onlineKeys, 1, 1),
    timestamp: await of('timestamp', home, home.paths.onlineKeys, 1, 1),
  };
  const deltas = await of(DELTAS_ROLE, home, home.paths.onlineKeys, 1, 1);
  const expiryDays = { ...DEFAULT_EXPIRY_DAYS, ...options.expiryDays };
  const now = home.now();

  const rootMetadata = buildRoot(1, expiry(now, expiryDays.root), roles);
  signFor(rootMetadata, [roles.root], keys);
  const rootBytes = encodeMetadata(rootMetadata);
  const targetsMetadata = buildTargets(1, expiry(now, expiryDays.targets), new Map([[DELTAS_ROLE, deltas]]));
  signFor(targetsMetadata, [roles.targets], keys);
  const targetsBytes = encodeMetadata(targetsMetadata);
  const deltasBytes = signOnline(DELTAS_ROLE, buildDelegated(DELTAS_ROLE, 1, expiry(now, expiryDays.deltas), new Map()), deltas, keys);
  const listed = new Map([['targets', { version: 1, bytes: targetsBytes }], [DELTAS_ROLE, { version: 1, bytes: deltasBytes }]]);
  const snapshotBytes = signOnline('snapshot', buildSnapshot(1, expiry(now, expiryDays.snapshot), listed), roles.snapshot, keys);
  const timestampBytes = signOnline('timestamp', buildTimestamp(1, expiry(now, expiryDays.timestamp), { version: 1, bytes: snapshotBytes }), roles.timestamp, keys);

  for (const each of new Set([home, offline])) {
    const write = (role: string, bytes: Uint8Array): Promise<void> => writeDurably(each.files, join(each.paths.metadata, metadataFile(role, 1)), bytes);
    await write('root', rootBytes);
    await write('targets', targetsBytes);
    if (each === home) {
      await write(DELTAS_ROLE, deltasBytes);
      await write('snapshot', snapshotBytes);
      await write('timestamp', timestampBytes);
    }
    await writeTrustRoot(each, rootBytes);
    await writeConfig(each, { format: 1, part: offline === home ? 'whole' : each === home ? 'server' : 'offline', namespace, expiryDays, deltas: {} });
  }
  return { home: home.directory, trustRoot: home.paths.trustRoot, offlineKeys: offline.paths.offlineKeys, onlineKeys: home.paths.onlineKeys };
}
