import { basename, dirname, join } from 'node:path';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { makeDirectories } from '../store/durable.ts';
import type { Files } from '../store/files.ts';

/**
 * The place of a release of several artifacts: a symbolic link that leads to a directory with all of them, and is replaced
 * at once, so that nobody ever sees some files of one release and some of another.
 */
export class ReleaseDirectory {
  /** The link that is made. */
  readonly path: string;
  /** Where the artifacts of the release are put. */
  readonly place: string;
  readonly #files: Files;
  readonly #releases: string;
  readonly #key: string;

  private constructor(files: Files, path: string, releases: string, key: string) {
    this.#files = files;
    this.path = path;
    this.#releases = releases;
    this.#key = key;
    this.place = join(releases, key);
  }

  /**
   * Makes room for the release `key` of the link `path`. Throws `OUTPUT_TAKEN` when something is at `path` that is neither
   * such a link nor an empty directory: it is not ours to replace.
   */
  static async open(files: Files, path: string, key: string): Promise<ReleaseDirectory> {
    const releases = join(dirname(path), `.${basename(path)}.shoal-releases`);
    const target = await files.readLink(path);
    const stat = target === undefined ? await files.stat(path) : undefined;
    const foreign = target === undefined ? stat !== undefined && (stat.kind !== 'directory' || (await files.list(path)).length > 0) : !target.startsWith(`${basename(releases)}/`);
    if (foreign) {
      throw new ShoalError('OUTPUT_TAKEN', `${path} is there already and was not made by Shoal`, {
        ids: { path },
        hint: 'A release of several artifacts replaces its directory as a whole. Move what is there away, or name another path.',
      });
    }
    const directory = new ReleaseDirectory(files, path, releases, key);
    await makeDirectories(files, directory.place);
    return directory;
  }

  /**
   * Takes over an artifact that the release in place has already, without copying it. Says whether it could: some file
   * systems have no second names.
   */
  async adopt(name: string): Promise<boolean> {
    if ((await this.#files.readLink(this.path)) === this.#target) return true;
    try {
      const to = join(this.place, name);
      await this.#files.remove(to);
      await this.#files.linkFile(join(this.path, name), to);
      return true;
    } catch (error) {
      if (isShoalError(error, 'FILE_IO') || isShoalError(error, 'NO_SUCH_FILE')) return false;
      throw error;
    }
  }

  /** Shows the release, durably and all at once, and removes those before it. Call it when all of it is verified and in its place. */
  async show(): Promise<void> {
    await this.#files.syncDirectory(this.place);
    const shown = await this.#files.readLink(this.path);
    if (shown !== this.#target) {
      // It was empty when it was looked at; one that is not by now is not removed this way.
      if (shown === undefined && (await this.#files.stat(this.path))?.kind === 'directory') await this.#files.removeDirectory(this.path);
      await this.#files.replaceLink(this.#target, this.path);
      await this.#files.syncDirectory(dirname(this.path));
    }
    for (const name of await this.#files.list(this.#releases)) if (name !== this.#key) await this.#remove(join(this.#releases, name));
  }

  async #remove(release: string): Promise<void> {
    for (const name of await this.#files.list(release)) await this.#files.remove(join(release, name));
    await this.#files.removeDirectory(release);
  }

  get #target(): string {
    return `${basename(this.#releases)}/${this.#key}`;
  }
}
