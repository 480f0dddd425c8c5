import { join } from 'node:path';
import { METADATA_MAX_BYTES } from '../../core/limits.ts';
import { readWhole } from '../../store/durable.ts';
import { isTargetPath, metadataFile, parseMetadataFile } from '../roles.ts';
import type { TrustHome } from './home.ts';
import { readMetadataFile } from './state.ts';

/**
 * The repository as files on the wire: what `MetadataProvider` of src/serve/content.ts asks for. Names come from URLs
 * and are checked, never trusted. A commit by another process is seen with the next call.
 */
export class RepositoryFiles {
  readonly #home: TrustHome;
  #newestRoot = 0;

  constructor(home: TrustHome) {
    this.#home = home;
  }

  async metadata(name: string): Promise<Uint8Array | undefined> {
    return parseMetadataFile(name) === undefined ? undefined : readMetadataFile(this.#home, name);
  }

  /** Version of the newest root: found step by step, for there is every one from the first. */
  async newestRoot(): Promise<number | undefined> {
    while ((await readMetadataFile(this.#home, metadataFile('root', this.#newestRoot + 1))) !== undefined) this.#newestRoot++;
    return this.#newestRoot === 0 ? undefined : this.#newestRoot;
  }

  async target(path: string): Promise<Uint8Array | undefined> {
    return isTargetPath(path) ? readWhole(this.#home.files, join(this.#home.paths.targets, path), METADATA_MAX_BYTES) : undefined;
  }
}
