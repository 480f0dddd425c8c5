import { join } from 'node:path';
import { parseMetadataFile } from '../roles.ts';
import type { TrustHome } from './home.ts';

/** How many superseded versions of a role stay for clients that are in the middle of an update. */
const KEPT_VERSIONS = 16;

/** Removes long superseded metadata. Roots always stay: a device walks through every one of them (TUF 5.3.3). */
export async function pruneMetadata(home: TrustHome, snapshot: number, listed: ReadonlyMap<string, { readonly version: number }>): Promise<void> {
  for (const name of await home.files.list(home.paths.metadata)) {
    const file = parseMetadataFile(name);
    if (file === undefined || file.role === 'root' || file.role === 'timestamp') continue;
    const current = file.role === 'snapshot' ? snapshot : listed.get(file.role)?.version;
    if (current !== undefined && file.version < current - KEPT_VERSIONS) await home.files.remove(join(home.paths.metadata, name));
  }
}
