import { dirname, join } from 'node:path';
import { ShoalError, isShoalError } from '../core/errors.ts';
import type { Files, OpenOptions } from './files.ts';

/** Ends the name of a file that is being written and was not renamed yet. What a crash leaves behind means nothing. */
const TEMPORARY = '.tmp';

let written = 0;

/**
 * The one way to replace a small file: temporary file → write → sync → rename → sync the directory. When it returns, the
 * bytes are on the medium under `path`; when it throws, or power fails, `path` is what it was before or the new bytes
 * whole. Several writers of one path do not disturb each other: the last rename stands.
 */
export async function writeDurably(files: Files, path: string, bytes: Uint8Array, options: OpenOptions = {}): Promise<void> {
  const temporary = `${path}.${String(process.pid)}-${String(++written)}${TEMPORARY}`;
  try {
    const file = await files.open(temporary, 'replace', options);
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await files.rename(temporary, path);
  } catch (error) {
    // The failure to report is the first one, and a stray temporary file is harmless.
    await files.remove(temporary).catch(() => undefined);
    throw error;
  }
  await files.syncDirectory(dirname(path));
}

/** Removes a file durably; one that is not there is no error. */
export async function removeDurably(files: Files, path: string): Promise<void> {
  await files.remove(path);
  await files.syncDirectory(dirname(path));
}

/** Creates `path` and whatever is missing above it, durably. */
export async function makeDirectories(files: Files, path: string): Promise<void> {
  const parent = dirname(path);
  if (parent === path || (await files.stat(path))?.kind === 'directory') return;
  await makeDirectories(files, parent);
  if (await files.makeDirectory(path)) await files.syncDirectory(parent);
}

/** All bytes of a small file, or undefined when it is not there. Throws `FILE_TOO_LARGE` above `maxBytes`. */
export async function readWhole(files: Files, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  try {
    const file = await files.open(path, 'read');
    try {
      const size = await file.size();
      if (size > maxBytes) throw new ShoalError('FILE_TOO_LARGE', `${path} has ${String(size)} bytes; at most ${String(maxBytes)} are expected`, { ids: { path } });
      const bytes = new Uint8Array(size);
      return bytes.subarray(0, await file.read(bytes, 0));
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isShoalError(error, 'NO_SUCH_FILE')) return undefined;
    throw error;
  }
}

/** Removes what interrupted writers left in a directory. Only for a directory that nobody else writes to at the time. */
export async function removeTemporaries(files: Files, directory: string): Promise<void> {
  for (const name of await files.list(directory)) if (name.endsWith(TEMPORARY)) await files.remove(join(directory, name));
}
