import { join, resolve } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { checkManifest } from '../../core/manifest.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';
import { ProcessLock } from '../../store/process-lock.ts';

/** A file as an installation left it. While size and time of change are the same it is taken for what it was. */
export interface PlacedFile {
  readonly path: string;
  readonly size: number;
  /** Last change, milliseconds since the epoch. */
  readonly modified: number;
}

export interface InstalledRelease {
  readonly manifest: ReleaseManifest;
  /** One for each artifact of the manifest. */
  readonly files: readonly PlacedFile[];
}

const MAX_BYTES = 16 * 1024 * 1024;

/**
 * What an agent has installed, by product, across restarts. Says only what need not be looked at again: whoever loses it
 * hashes the files and goes on. One agent at a time has it.
 */
export class DeviceState {
  readonly directory: string;
  readonly #files: Files;
  readonly #lock: ProcessLock;
  readonly #installed: Map<string, InstalledRelease>;

  private constructor(files: Files, directory: string, lock: ProcessLock, installed: Map<string, InstalledRelease>) {
    this.#files = files;
    this.directory = directory;
    this.#lock = lock;
    this.#installed = installed;
  }

  /** Throws `STATE_BUSY` while another agent has it. */
  static async open(files: Files, path: string): Promise<DeviceState> {
    const directory = resolve(path);
    await makeDirectories(files, join(directory, 'pages'));
    const lock = new ProcessLock(join(directory, 'agent.lock'));
    if (!lock.tryAcquire()) throw new ShoalError('STATE_BUSY', `another agent is running on ${directory}`, { ids: { path: directory }, retry: 'again', hint: 'Stop it, or give this one a state directory of its own.' });
    try {
      return new DeviceState(files, directory, lock, parse(await readWhole(files, join(directory, 'installed.json'), MAX_BYTES).catch(() => undefined)));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Where the index pages of an artifact are kept. */
  readonly pagesPath = (root: string): string => join(this.directory, 'pages', root);

  installed(product: string): InstalledRelease | undefined {
    return this.#installed.get(product);
  }

  /** The root of what was installed at `path`, whatever has become of the file since. */
  rootAt(path: string): ObjectId | undefined {
    for (const { files, manifest } of this.#installed.values()) {
      const at = files.findIndex((file) => file.path === path);
      if (at >= 0) return manifest.artifacts[at]?.root;
    }
    return undefined;
  }

  get all(): readonly InstalledRelease[] {
    return [...this.#installed.values()];
  }

  /** Whether the files of `release` are as they were left. */
  async unchanged(release: InstalledRelease): Promise<boolean> {
    for (const { path, size, modified } of release.files) {
      const stat = await this.#files.stat(path);
      if (stat?.kind !== 'file' || stat.size !== size || stat.modified !== modified) return false;
    }
    return true;
  }

  /** Notes durably what lies at `paths` now, and removes the index pages that belong to nothing any more. */
  async note(manifest: ReleaseManifest, paths: readonly string[]): Promise<void> {
    const files = await Promise.all(paths.map(async (path) => {
      const stat = await this.#files.stat(path);
      return { path, size: stat?.size ?? 0, modified: stat?.modified ?? 0 };
    }));
    this.#installed.set(manifest.product, { manifest, files });
    await writeDurably(this.#files, join(this.directory, 'installed.json'), Buffer.from(JSON.stringify({ format: 1, installed: this.all })));
    const live = new Set<string>(this.all.flatMap((each) => each.manifest.artifacts.map(({ root }) => root)));
    for (const name of await this.#files.list(join(this.directory, 'pages'))) if (!live.has(name)) await this.#files.remove(join(this.directory, 'pages', name));
  }

  close(): void {
    this.#lock.release();
  }
}

/** What can be read of it; the rest is hashed again. */
function parse(bytes: Uint8Array | undefined): Map<string, InstalledRelease> {
  const found = new Map<string, InstalledRelease>();
  try {
    const { format, installed } = JSON.parse(Buffer.from(bytes ?? []).toString('utf8')) as { readonly format?: unknown; readonly installed?: unknown };
    for (const each of format === 1 && Array.isArray(installed) ? (installed as readonly { readonly manifest?: unknown; readonly files?: unknown }[]) : []) {
      const manifest = checkManifest(each.manifest);
      if (!Array.isArray(each.files) || each.files.length !== manifest.artifacts.length || !each.files.every(isPlaced)) continue;
      found.set(manifest.product, { manifest, files: each.files });
    }
  } catch {
    // Damaged: what was read before the damage stands.
  }
  return found;
}

function isPlaced(value: unknown): value is PlacedFile {
  const { path, size, modified } = (value ?? {}) as Partial<PlacedFile>;
  return typeof path === 'string' && typeof size === 'number' && typeof modified === 'number';
}
