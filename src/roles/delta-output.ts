import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import { fileError } from '../store/files.ts';

/**
 * Throws `BAD_OUTPUT` unless a file can take its place at `path` and none of `inputs` is there: making it may take an hour, and it
 * comes to its name by a rename, over whatever is there.
 */
export async function checkDeltaOutput(path: string, inputs: readonly string[]): Promise<void> {
  const refuse = (why: string, hint: string): ShoalError => new ShoalError('BAD_OUTPUT', why, { ids: { path }, hint });
  const folder = dirname(path);
  const [there, above] = [await identity(path), await identity(folder)];
  if (above?.directory !== true) throw refuse(`${folder} is not a directory, so ${path} cannot be written`, 'Make the directory first.');
  if (there === undefined) return;
  if (!there.file) throw refuse(`${path} is ${there.directory ? 'a directory' : 'not a plain file'}: nothing can take its place`, 'Name a file, new or old.');
  for (const input of inputs) {
    if ((await identity(input))?.which === there.which) throw refuse(`${path} is what it is to be made from, and would be lost`, 'Name another file to write.');
  }
}

interface Identity {
  readonly file: boolean;
  readonly directory: boolean;
  /** The same for two names of one file. */
  readonly which: string;
}

async function identity(path: string): Promise<Identity | undefined> {
  try {
    const found = await stat(path, { bigint: true });
    return { file: found.isFile(), directory: found.isDirectory(), which: `${String(found.dev)}:${String(found.ino)}` };
  } catch (error) {
    const failure = fileError(error, path);
    if (failure.code === 'NO_SUCH_FILE') return undefined;
    throw failure;
  }
}
