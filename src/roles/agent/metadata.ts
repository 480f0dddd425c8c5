import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DELTA_MANIFEST_MAX_BYTES, METADATA_MAX_BYTES } from '../../core/limits.ts';
import type { MetadataProvider } from '../../serve/content.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import { isTargetPath, parseMetadataFile } from '../../trust/roles.ts';

/** Manifests kept for neighbours: of every product the one in place, the one that comes, and some before them. */
const MANIFESTS_MAX = 64;

/**
 * The trust files of a device, passed on to neighbours: what its own client has verified and persisted, under the names
 * of the wire. A neighbour verifies them all again, so the worst that they can be is old.
 */
export class HeldMetadata implements MetadataProvider {
  readonly #files: Files;
  readonly #directory: string;
  readonly #age: () => number | undefined;

  /** `directory`: where the trust client keeps its files. `age`: seconds since an origin was asked for them. */
  constructor(files: Files, directory: string, age: () => number | undefined = () => undefined) {
    this.#files = files;
    this.#directory = directory;
    this.#age = age;
  }

  age(): number | undefined {
    return this.#age();
  }

  async metadata(name: string): Promise<Uint8Array | undefined> {
    const asked = parseMetadataFile(name);
    if (asked === undefined) return undefined;
    const numbered = asked.role !== 'timestamp' && asked.role !== 'root';
    const bytes = await this.#read(numbered ? `${asked.role}.json` : name, METADATA_MAX_BYTES);
    return bytes === undefined || (numbered && versionOf(bytes) !== asked.version) ? undefined : bytes;
  }

  async target(path: string): Promise<Uint8Array | undefined> {
    const hash = isTargetPath(path) ? /\/([0-9a-f]{64})\.[^/]*$/.exec(path)?.[1] : undefined;
    if (hash === undefined) return undefined;
    const bytes = await this.#read(join('manifests', hash), DELTA_MANIFEST_MAX_BYTES);
    return bytes !== undefined && sha256(bytes) === hash ? bytes : undefined;
  }

  /** Keeps the signed bytes of a release manifest. */
  async keep(manifest: Uint8Array): Promise<void> {
    const directory = join(this.#directory, 'manifests');
    const path = join(directory, sha256(manifest));
    if ((await this.#files.stat(path)) !== undefined) return;
    await makeDirectories(this.#files, directory);
    await writeDurably(this.#files, path, manifest);
    const names = await this.#files.list(directory);
    if (names.length <= MANIFESTS_MAX) return;
    const dated = await Promise.all(names.map(async (name) => ({ name, modified: (await this.#files.stat(join(directory, name)))?.modified ?? 0 })));
    for (const { name } of dated.sort((a, b) => b.modified - a.modified).slice(MANIFESTS_MAX)) await this.#files.remove(join(directory, name));
  }

  async #read(name: string, maxBytes: number): Promise<Uint8Array | undefined> {
    try {
      return await readWhole(this.#files, join(this.#directory, name), maxBytes);
    } catch {
      // Not readable here: a neighbour asks somebody else.
      return undefined;
    }
  }
}

/** What a metadata file says that its version is; nobody has checked it. */
export function versionOf(bytes: Uint8Array): unknown {
  try {
    return (JSON.parse(Buffer.from(bytes).toString('utf8')) as { readonly signed?: { readonly version?: unknown } }).signed?.version;
  } catch {
    return undefined;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
