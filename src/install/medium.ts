import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { ShoalError, messageOf } from '../core/errors.ts';
import type { FileSlot } from './file-slot.ts';

/**
 * Throws `MEDIUM_UNREADABLE` unless what is written to `slot` can be read from the medium itself, past what the system remembers of it:
 * whoever asked for that proof must not get the other one without a word.
 */
export async function checkMedium({ hashesDirectly, partial }: FileSlot): Promise<void> {
  if (process.platform !== 'linux' || !hashesDirectly) {
    throw new ShoalError('MEDIUM_UNREADABLE', 'reading past what the system remembers takes Linux and the native kernel', { hint: '"shoal --version" says what runs here; without --from-medium what is read back may come from memory.' });
  }
  try {
    await (await open(partial, constants.O_RDONLY | constants.O_DIRECT)).close();
  } catch (cause) {
    throw new ShoalError('MEDIUM_UNREADABLE', `the file system of ${partial} does not let the medium itself be read: ${messageOf(cause)}`, {
      cause, ids: { path: partial }, hint: 'Choose a place on another file system, or leave out --from-medium.',
    });
  }
}
