import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { METADATA_MAX_BYTES, UPLOAD_MAX_FILES, UPLOAD_MAX_FILE_BYTES } from '../../core/limits.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import { parseMetadata } from '../metadata.ts';
import type { RootMetadata, TargetsMetadata } from '../metadata.ts';
import { isTargetPath, metadataFile, parseMetadataFile } from '../roles.ts';
import type { TrustHome } from './home.ts';
import type { Held } from './state.ts';

/**
 * A staging directory carries signed changes from the machines that sign to the server: `metadata/`, `targets/`, and
 * beside them whatever src/publish adds (the content). It may pass through several hands until it has enough signatures.
 */
export interface Staging {
  /** In order of version. */
  readonly roots: readonly Held<RootMetadata>[];
  readonly targets: Held<TargetsMetadata> | undefined;
  readonly delegated: ReadonlyMap<string, Held<TargetsMetadata>>;
}

/** Roots and product roles that one staging may change: far above any use. */
const STAGED_MAX_FILES = 4_096;

const stagedMetadata = (directory: string): string => join(directory, 'metadata');
export const stagedTargets = (directory: string): string => join(directory, 'targets');

export async function writeStaged(home: TrustHome, directory: string, role: string, version: number, bytes: Uint8Array): Promise<void> {
  await makeDirectories(home.files, stagedMetadata(directory));
  await writeDurably(home.files, join(stagedMetadata(directory), metadataFile(role, version)), bytes);
}

/** Every file of a staging directory but the content, by its path in it. Throws `BAD_STAGING` beyond the bounds of an upload. */
export async function stagedFiles(home: Pick<TrustHome, 'files'>, directory: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const bad = (problem: string): ShoalError => new ShoalError('BAD_STAGING', `${directory} is not a usable staging directory: ${problem}`, { ids: { staging: directory } });
  const found = new Map<string, Uint8Array>();
  let total = 0;
  const walk = async (path: string): Promise<void> => {
    for (const name of await home.files.list(join(directory, path))) {
      const inside = `${path}/${name}`;
      if ((await home.files.stat(join(directory, inside)))?.kind === 'directory') {
        await walk(inside);
        continue;
      }
      if (name.endsWith('.tmp')) continue;
      const bytes = await readWhole(home.files, join(directory, inside), METADATA_MAX_BYTES);
      if (bytes === undefined) throw bad(`${inside} is gone`);
      total += bytes.byteLength;
      found.set(inside, bytes);
      if (found.size > UPLOAD_MAX_FILES || total > UPLOAD_MAX_FILE_BYTES) throw bad('it has too many files');
    }
  };
  for (const folder of ['metadata', 'targets']) if ((await home.files.stat(join(directory, folder))) !== undefined) await walk(folder);
  if (found.size === 0) throw bad('it has no metadata');
  return found;
}

/** Says whether `path` may be a file of a staging directory. */
export function isStagedPath(path: string): boolean {
  const slash = path.indexOf('/');
  const [folder, rest] = [path.slice(0, slash), path.slice(slash + 1)];
  if (folder === 'targets') return isTargetPath(rest);
  const role = folder === 'metadata' ? parseMetadataFile(rest)?.role : undefined;
  return role !== undefined && role !== 'snapshot' && role !== 'timestamp';
}

/** Reads the metadata of a staging directory, trusting nothing. Throws `BAD_STAGING`, `TUF_MALFORMED`. */
export async function readStaging(home: Pick<TrustHome, 'files'>, directory: string): Promise<Staging> {
  const bad = (problem: string): ShoalError => new ShoalError('BAD_STAGING', `${directory} is not a usable staging directory: ${problem}`, { ids: { staging: directory } });
  const folder = stagedMetadata(directory);
  if ((await home.files.stat(folder)) === undefined) throw bad('it has no metadata');
  const names = (await home.files.list(folder)).filter((name) => !name.endsWith('.tmp'));
  if (names.length > STAGED_MAX_FILES) throw bad('it has too many files');
  const roots: Held<RootMetadata>[] = [];
  let targets: Held<TargetsMetadata> | undefined;
  const delegated = new Map<string, Held<TargetsMetadata>>();
  for (const name of names) {
    const file = parseMetadataFile(name);
    if (file === undefined || file.role === 'snapshot' || file.role === 'timestamp') throw bad(`${name} does not belong into it`);
    const bytes = await readWhole(home.files, join(folder, name), METADATA_MAX_BYTES);
    if (bytes === undefined) throw bad(`${name} is gone`);
    const versioned = <T extends RootMetadata | TargetsMetadata>(metadata: T): Held<T> => {
      if (metadata.signed.version !== file.version) throw bad(`${name} says that it is version ${String(metadata.signed.version)}`);
      return { metadata, bytes };
    };
    if (file.role === 'root') roots.push(versioned(parseMetadata('root', bytes)));
    else if (file.role === 'targets') {
      if (targets !== undefined) throw bad('it has two versions of targets');
      targets = versioned(parseMetadata('targets', bytes));
    } else {
      if (delegated.has(file.role)) throw bad(`it has two versions of ${file.role}`);
      delegated.set(file.role, versioned(parseMetadata(file.role, bytes)));
    }
  }
  roots.sort((a, b) => a.metadata.signed.version - b.metadata.signed.version);
  return { roots, targets, delegated };
}
