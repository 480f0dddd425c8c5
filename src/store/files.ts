import { constants } from 'node:fs';
import { link, mkdir, open, readdir, readlink, rename, rm, rmdir, stat, statfs, symlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { ShoalError } from '../core/errors.ts';

/**
 * The file layer: everything durable code asks of a file system, and no more. Whatever keeps promises across a power cut
 * takes it as a parameter, so that a test can record what was written and synced and then drop, tear and reorder the rest
 * (test/support/crash-files.ts). Positions and lengths are bytes.
 *
 * Every method throws `NO_SUCH_FILE`, `NOT_A_DIRECTORY`, `FILE_EXISTS`, `DISK_FULL` (retry again) or `FILE_IO`, naming the path.
 */
export interface Files {
  open(path: string, mode: OpenMode, options?: OpenOptions): Promise<OpenFile>;
  /** Replaces `to` at once. Durable only after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; one that is not there is no error. Durable only after `syncDirectory`. */
  remove(path: string): Promise<void>;
  /** Creates one directory; says whether it was not there before. Its parent must exist. Durable after `syncDirectory(parent)`. */
  makeDirectory(path: string): Promise<boolean>;
  /** Makes creations, renames and removals inside `path` durable. */
  syncDirectory(path: string): Promise<void>;
  /** A second name `to` for the file `from`, on the same file system. Durable only after `syncDirectory`. */
  linkFile(from: string, to: string): Promise<void>;
  /** Makes `path` a symbolic link to `target`, at once in place of whatever file or link was there. Durable only after `syncDirectory`. */
  replaceLink(target: string, path: string): Promise<void>;
  /** Where a symbolic link leads, as it was made; undefined when `path` is none. */
  readLink(path: string): Promise<string | undefined>;
  /** Removes an empty directory: `DIRECTORY_NOT_EMPTY` when it is not. Durable only after `syncDirectory` of its parent. */
  removeDirectory(path: string): Promise<void>;
  /** Names of the files and directories in `path`, sorted. */
  list(path: string): Promise<readonly string[]>;
  /** Bytes that can still be written where `path` is, or undefined when that is not known. */
  free(path: string): Promise<number | undefined>;
  /** What is at `path`, or undefined when nothing is. */
  stat(path: string): Promise<FileStat | undefined>;
}

/**
 * - `read`: must exist;
 * - `update`: must exist, read and write;
 * - `create`: read and write, created empty when it is not there;
 * - `replace`: read and write, emptied when it is there;
 * - `exclusive`: read and write, must not be there (`FILE_EXISTS`).
 */
export type OpenMode = 'read' | 'update' | 'create' | 'replace' | 'exclusive';

export interface OpenOptions {
  /** Permission bits of a file that is created, before the umask. Default 0o666; keys want 0o600. */
  readonly permissions?: number;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  /** Last change of the contents, milliseconds since the epoch. */
  readonly modified: number;
}

export interface OpenFile {
  /** Its descriptor, for native kernels that read by themselves; undefined where reads must pass through this layer. */
  readonly fd?: number;
  /** Gives `work` the descriptor, and stays open until it has settled whoever closes the file meanwhile; where `fd` is undefined so is this. */
  direct?<T>(work: (fd: number) => Promise<T>): Promise<T>;
  /** Fills `into` from `position`; returns how many bytes there were: fewer than asked only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Writes all of `bytes`. Durable only after `sync`. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(size: number): Promise<void>;
  /** Returns when contents and size are on the medium. After a failure nothing is known of unsynced writes: do not retry. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

const FLAGS: Readonly<Record<OpenMode, number>> = {
  read: constants.O_RDONLY,
  update: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
  replace: constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC,
  exclusive: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};

const CODES: Readonly<Record<string, readonly [code: string, problem: string]>> = {
  ENOENT: ['NO_SUCH_FILE', 'does not exist'],
  ENOTDIR: ['NO_SUCH_FILE', 'does not exist'],
  EEXIST: ['FILE_EXISTS', 'exists already'],
  ENOTEMPTY: ['DIRECTORY_NOT_EMPTY', 'is not empty'],
  ENOSPC: ['DISK_FULL', 'could not be written: the disk is full'],
  EDQUOT: ['DISK_FULL', 'could not be written: the disk quota is used up'],
  EROFS: ['FILE_IO', 'cannot be written: its file system is read-only'],
  EACCES: ['FILE_IO', 'cannot be used: this user has no permission'],
  EPERM: ['FILE_IO', 'cannot be used: this user has no permission'],
  EISDIR: ['FILE_IO', 'is a directory'],
  ENAMETOOLONG: ['FILE_IO', 'is too long a name'],
  EMFILE: ['FILE_IO', 'cannot be opened: this process has too many files open'],
};

/** Turns what a file call threw into a `ShoalError` that names the path. Errors that have a code of ours pass through. */
export function fileError(cause: unknown, path: string): ShoalError {
  if (cause instanceof ShoalError) return cause;
  const errno = (cause as { readonly code?: unknown }).code;
  const known = typeof errno === 'string' ? CODES[errno] : undefined;
  if (known === undefined) return new ShoalError('FILE_IO', `${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause, ids: { path } });
  const [code, problem] = known;
  return new ShoalError(code, `${path} ${problem}`, {
    cause,
    ids: { path },
    ...(code === 'DISK_FULL' ? { retry: 'again' as const, hint: 'Free some space and try again.' } : {}),
  });
}

/** `UNREADABLE` for a file that somebody named and that cannot be read. `what`: what it was named as ("the trust root"). */
export function unreadable(cause: unknown, path: string, what?: string): ShoalError {
  const why = fileError(cause, path).message;
  return new ShoalError('UNREADABLE', what === undefined ? why : `cannot read ${what}: ${why}`, { cause, ids: { path } });
}

async function at<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw fileError(error, path);
  }
}

class NodeFile implements OpenFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  /** Calls that use the descriptor by themselves: were it closed under them, they might read another file. */
  #direct = 0;
  #quiet: () => void = () => undefined;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  async direct<T>(work: (fd: number) => Promise<T>): Promise<T> {
    this.#direct++;
    try {
      return await work(this.#handle.fd);
    } finally {
      this.#direct--;
      if (this.#direct === 0) this.#quiet();
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.byteLength) {
      const { bytesRead } = await at(this.#path, this.#handle.read(into, done, into.byteLength - done, position + done));
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      done += (await at(this.#path, this.#handle.write(bytes, done, bytes.byteLength - done, position + done))).bytesWritten;
    }
  }

  truncate(size: number): Promise<void> {
    return at(this.#path, this.#handle.truncate(size));
  }

  sync(): Promise<void> {
    return at(this.#path, this.#handle.sync());
  }

  async size(): Promise<number> {
    return (await at(this.#path, this.#handle.stat())).size;
  }

  async close(): Promise<void> {
    if (this.#direct > 0) await new Promise<void>((resolve) => (this.#quiet = resolve));
    await at(this.#path, this.#handle.close());
  }
}

/** The file system of this machine. */
export const nodeFiles: Files = {
  async open(path, mode, options = {}) {
    return new NodeFile(await at(path, open(path, FLAGS[mode], options.permissions ?? 0o666)), path);
  },

  rename: (from, to) => at(from, rename(from, to)),

  remove: (path) => at(path, rm(path, { force: true })),

  async makeDirectory(path) {
    try {
      await mkdir(path);
      return true;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      // Whoever made what is above it would read that the new one does not exist.
      if (code === 'ENOENT') throw new ShoalError('NO_SUCH_FILE', `${path} cannot be made: there is no place for it`, { cause: error, ids: { path } });
      if (code !== 'EEXIST') throw fileError(error, path);
      if ((await this.stat(path))?.kind === 'directory') return false;
      throw new ShoalError('NOT_A_DIRECTORY', `${path} is not a directory`, { cause: error, ids: { path } });
    }
  },

  async syncDirectory(path) {
    const handle = await at(path, open(path, constants.O_RDONLY | constants.O_DIRECTORY));
    try {
      await at(path, handle.sync());
    } finally {
      await handle.close();
    }
  },

  linkFile: (from, to) => at(from, link(from, to)),

  async replaceLink(target, path) {
    const temporary = `${path}.${String(process.pid)}.link`;
    await at(temporary, rm(temporary, { force: true }));
    await at(temporary, symlink(target, temporary));
    await at(path, rename(temporary, path));
  },

  async readLink(path) {
    try {
      return await readlink(path);
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (code === 'EINVAL' || code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw fileError(error, path);
    }
  },

  removeDirectory: (path) => at(path, rmdir(path)),

  async list(path) {
    return (await at(path, readdir(path))).sort();
  },

  async free(path) {
    const { bavail, bsize } = await at(path, statfs(path));
    return bavail * bsize;
  },

  async stat(path) {
    try {
      const found = await stat(path);
      return { kind: found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other', size: found.size, modified: found.mtimeMs };
    } catch (error) {
      const failure = fileError(error, path);
      if (failure.code === 'NO_SUCH_FILE') return undefined;
      throw failure;
    }
  },
};
