import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { DEFAULT_NAMESPACE, parseName } from '../../core/names.ts';
import { makeDirectories, removeDurably, writeDurably } from '../../store/durable.ts';
import { NO_MARKS } from '../client/marks.ts';
import { Update } from '../client/update.ts';
import { parseMetadata } from '../metadata.ts';
import type { AnyMetadata } from '../metadata.ts';
import { DELTAS_ROLE, metadataFile, parseMetadataFile } from '../roles.ts';
import type { MetadataFetcher } from '../types.ts';
import { delegationsOf } from './build.ts';
import { DEFAULT_EXPIRY_DAYS, readConfig, writeConfig } from './home.ts';
import type { TrustHome } from './home.ts';
import { writeTrustRoot } from './online.ts';
import { loadState } from './state.ts';

export interface SyncReport {
  /** Roles that were taken over from the server. */
  readonly updated: readonly string[];
  /** Roles this home has signed further than the server knows: upload the staging, or discard. */
  readonly ahead: readonly string[];
}

/**
 * Brings an offline home up to date with what is published, verified against its own root: needed after somebody else
 * has published. What it signed itself and never uploaded stays, unless `discard` is set.
 */
export function syncOffline(home: TrustHome, fetcher: MetadataFetcher, options: { readonly discard?: boolean } = {}): Promise<SyncReport> {
  return home.exclusively(async () => {
    if ((await readConfig(home)).part !== 'offline') throw new ShoalError('NOT_OFFLINE', `${home.directory} is no offline home: it knows what is published`, { ids: { home: home.directory } });
    const state = await loadState(home);
    const { update, received, products } = await fetchPublished(home, state.root.bytes, fetcher);

    const updated: string[] = [];
    const ahead: string[] = [];
    const put = (role: string, version: number, bytes: Uint8Array): Promise<void> => writeDurably(home.files, join(home.paths.metadata, metadataFile(role, version)), bytes);
    for (const [name, bytes] of received) {
      const file = parseMetadataFile(name);
      if (file?.role !== 'root') continue;
      await put('root', file.version, bytes);
      await writeTrustRoot(home, bytes);
      updated.push('root');
    }
    for (const role of ['targets', ...products]) {
      const bytes = received.get(`${role}.json`);
      const theirs = update.set.getRole(role)?.signed;
      if (bytes === undefined || theirs === undefined) continue;
      const ours: AnyMetadata | undefined = role === 'targets' ? state.targets.metadata : state.delegated.get(role)?.metadata;
      if (ours !== undefined && ours.signed.version > theirs.version) {
        if (options.discard !== true) {
          ahead.push(role);
          continue;
        }
        for (let version = ours.signed.version; version > theirs.version; version--) await removeDurably(home.files, join(home.paths.metadata, metadataFile(role, version)));
      } else if (ours?.signed.equals(theirs) === true) continue;
      await put(role, theirs.version, bytes);
      updated.push(role);
    }
    return { updated, ahead };
  });
}

/** What a server says is published, verified from a trusted root on, and the files that were fetched for it. */
async function fetchPublished(home: TrustHome, root: Uint8Array, fetcher: MetadataFetcher): Promise<{ readonly update: Update; readonly received: ReadonlyMap<string, Uint8Array>; readonly products: readonly string[] }> {
  const received = new Map<string, Uint8Array>();
  const update = new Update(root, fetcher, {
    read: () => Promise.resolve(undefined),
    write: (name, bytes) => Promise.resolve(void received.set(name, bytes)),
  }, home.now());
  await update.roots();
  await update.refresh(NO_MARKS);
  const { targets } = update.set;
  const products = targets === undefined ? [] : [...delegationsOf(targets).keys()].filter((role) => role !== DELTAS_ROLE);
  for (const role of products) await update.targets(role, 'targets');
  await update.persist();
  return { update, received, products };
}

/**
 * Makes an offline home for one more key holder of a repository that is there already: without keys, trusting `root`, up to
 * date with what is published. Throws `HOME_EXISTS`, and what a device would refuse.
 */
export async function joinHome(home: TrustHome, root: Uint8Array, fetcher: MetadataFetcher, namespace: string = DEFAULT_NAMESPACE): Promise<readonly string[]> {
  if ((await home.files.stat(home.paths.config)) !== undefined) throw new ShoalError('HOME_EXISTS', `${home.directory} is a Shoal home already`, { ids: { home: home.directory } });
  const { update, received, products } = await fetchPublished(home, root, fetcher);
  await makeDirectories(home.files, home.paths.metadata);
  const put = (role: string, version: number, bytes: Uint8Array): Promise<void> => writeDurably(home.files, join(home.paths.metadata, metadataFile(role, version)), bytes);
  await put('root', parseMetadata('root', root).signed.version, root);
  let newest = root;
  for (const [name, bytes] of received) {
    const file = parseMetadataFile(name);
    if (file?.role !== 'root') continue;
    await put('root', file.version, bytes);
    newest = bytes;
  }
  for (const role of ['targets', ...products]) {
    const bytes = received.get(`${role}.json`);
    const metadata = update.set.getRole(role)?.signed;
    if (bytes !== undefined && metadata !== undefined) await put(role, metadata.version, bytes);
  }
  await writeTrustRoot(home, newest);
  // Last: a home is there or it is not.
  await writeConfig(home, { format: 1, part: 'offline', namespace: parseName('namespace', namespace), expiryDays: DEFAULT_EXPIRY_DAYS, deltas: {} });
  return products;
}
