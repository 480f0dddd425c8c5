import { join } from 'node:path';
import { METADATA_MAX_BYTES } from '../../src/core/limits.ts';
import { isName } from '../../src/core/names.ts';
import { readWhole } from '../../src/store/durable.ts';
import type { Files } from '../../src/store/files.ts';
import { ByteLru } from '../../src/store/lru.ts';
import type { MetadataProvider } from '../../src/serve/content.ts';

/** Numbered files and targets never change: they are kept in memory within this bound. */
const MEMORY_BYTES = 16 * 1024 * 1024;

interface File {
  readonly bytes: Uint8Array;
  readonly byteLength: number;
}

/** A TUF repository as it lies in a directory: `metadata/` and `targets/` (docs/trust.md), served without a home. */
export class DirectoryMetadata implements MetadataProvider {
  readonly #files: Files;
  readonly #directory: string;
  readonly #memory = new ByteLru<string, File>(MEMORY_BYTES);

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  metadata(name: string): Promise<Uint8Array | undefined> {
    if (!isName(name) || !name.endsWith('.json')) return Promise.resolve(undefined);
    return this.#read(join('metadata', name), /^[0-9]+\./.test(name));
  }

  target(path: string): Promise<Uint8Array | undefined> {
    const segments = path.split('/');
    if (!segments.every((segment) => segment.length <= 255 && /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(segment) && !segment.includes('..'))) return Promise.resolve(undefined);
    return this.#read(join('targets', ...segments), true);
  }

  async #read(path: string, immutable: boolean): Promise<Uint8Array | undefined> {
    const known = this.#memory.get(path);
    if (known !== undefined) return known.bytes;
    const whole = join(this.#directory, path);
    if ((await this.#files.stat(whole))?.kind !== 'file') return undefined;
    const bytes = await readWhole(this.#files, whole, METADATA_MAX_BYTES);
    if (bytes !== undefined && immutable) this.#memory.set(path, { bytes, byteLength: bytes.byteLength });
    return bytes;
  }
}
