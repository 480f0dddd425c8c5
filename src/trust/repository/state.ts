import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { METADATA_MAX_BYTES } from '../../core/limits.ts';
import { readWhole, removeDurably, writeDurably } from '../../store/durable.ts';
import { parseMetadata } from '../metadata.ts';
import type { RootMetadata, SnapshotMetadata, TargetsMetadata, TimestampMetadata } from '../metadata.ts';
import { metadataFile, parseMetadataFile } from '../roles.ts';
import { noHome } from './home.ts';
import type { TrustHome } from './home.ts';

/** One role's metadata as it stands, and the very bytes that were signed. */
export interface Held<T> {
  readonly metadata: T;
  readonly bytes: Uint8Array;
}

/** What a repository says now. An offline home has no snapshot and no timestamp. */
export interface RepositoryState {
  readonly root: Held<RootMetadata>;
  readonly targets: Held<TargetsMetadata>;
  readonly delegated: ReadonlyMap<string, Held<TargetsMetadata>>;
  readonly snapshot: Held<SnapshotMetadata> | undefined;
  readonly timestamp: Held<TimestampMetadata> | undefined;
}

/**
 * Files that become visible together: new roots and the timestamp. They are written as one journal; its rename is the
 * commit. Readers look into the journal first, so nobody sees a half of it, and whoever changes the home next puts the
 * files in their places.
 */
const JOURNAL = 'journal.json';
const JOURNAL_MAX_BYTES = 4 * METADATA_MAX_BYTES;

async function readJournal(home: TrustHome): Promise<Readonly<Record<string, string>> | undefined> {
  const bytes = await readWhole(home.files, join(home.paths.metadata, JOURNAL), JOURNAL_MAX_BYTES);
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, string>);
}

/** Finishes what an interrupted commit began. Safe at any time under the home's lock. */
export async function recover(home: TrustHome): Promise<void> {
  const journal = await readJournal(home);
  if (journal === undefined) return;
  for (const [name, text] of Object.entries(journal)) {
    if (parseMetadataFile(name) !== undefined) await writeDurably(home.files, join(home.paths.metadata, name), Buffer.from(text));
  }
  await removeDurably(home.files, join(home.paths.metadata, JOURNAL));
}

/** Makes `visible` (roots, timestamp) take effect at once. Everything they refer to must be on the medium already. */
export async function commitVisible(home: TrustHome, visible: ReadonlyMap<string, Uint8Array>): Promise<void> {
  if (visible.size === 1) {
    for (const [name, bytes] of visible) await writeDurably(home.files, join(home.paths.metadata, name), bytes);
    return;
  }
  const journal = Object.fromEntries([...visible].map(([name, bytes]) => [name, Buffer.from(bytes).toString('utf8')]));
  await writeDurably(home.files, join(home.paths.metadata, JOURNAL), Buffer.from(JSON.stringify(journal)));
  await recover(home);
}

/** One metadata file as readers must see it. `name` has been checked by `parseMetadataFile`. */
export async function readMetadataFile(home: TrustHome, name: string): Promise<Uint8Array | undefined> {
  const journal = await readJournal(home);
  const text = journal !== undefined && Object.hasOwn(journal, name) ? journal[name] : undefined;
  return text === undefined ? readWhole(home.files, join(home.paths.metadata, name), METADATA_MAX_BYTES) : Buffer.from(text);
}

async function need(home: TrustHome, name: string): Promise<Uint8Array> {
  const bytes = await readMetadataFile(home, name);
  if (bytes === undefined) throw new ShoalError('HOME_DAMAGED', `${home.paths.metadata}/${name} is missing`, { ids: { home: home.directory, file: name } });
  return bytes;
}

/** The highest version of each role for which there is a file. */
async function newestVersions(home: TrustHome): Promise<ReadonlyMap<string, number>> {
  const newest = new Map<string, number>();
  const names = new Set([...(await home.files.list(home.paths.metadata)), ...Object.keys((await readJournal(home)) ?? {})]);
  for (const name of names) {
    const file = parseMetadataFile(name);
    if (file !== undefined) newest.set(file.role, Math.max(newest.get(file.role) ?? 0, file.version));
  }
  return newest;
}

/** Loads what the home says now. Throws `NO_HOME` or `HOME_DAMAGED`. */
export async function loadState(home: TrustHome): Promise<RepositoryState> {
  if ((await home.files.stat(home.paths.metadata)) === undefined) throw noHome(home.directory);
  const newest = await newestVersions(home);
  const rootBytes = await need(home, metadataFile('root', newest.get('root') ?? 1));
  const root = { metadata: parseMetadata('root', rootBytes), bytes: rootBytes };
  let versions = newest;
  let snapshot: Held<SnapshotMetadata> | undefined;
  let timestamp: Held<TimestampMetadata> | undefined;
  if (newest.has('timestamp')) {
    const bytes = await need(home, 'timestamp.json');
    timestamp = { metadata: parseMetadata('timestamp', bytes), bytes };
    const snapshotBytes = await need(home, metadataFile('snapshot', timestamp.metadata.signed.snapshotMeta.version));
    snapshot = { metadata: parseMetadata('snapshot', snapshotBytes), bytes: snapshotBytes };
    versions = new Map(Object.entries(snapshot.metadata.signed.meta).map(([file, { version }]) => [file.replace(/\.json$/, ''), version]));
  }
  const read = async (role: string): Promise<Held<TargetsMetadata>> => {
    const bytes = await need(home, metadataFile(role, versions.get(role) ?? 1));
    return { metadata: parseMetadata(role, bytes), bytes };
  };
  const delegated = new Map<string, Held<TargetsMetadata>>();
  for (const role of versions.keys()) {
    if (role !== 'targets' && role !== 'root' && role !== 'snapshot' && role !== 'timestamp') delegated.set(role, await read(role));
  }
  return { root, targets: await read('targets'), delegated, snapshot, timestamp };
}
