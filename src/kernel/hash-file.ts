import { ShoalError } from '../core/errors.ts';
import { HASH_BYTES, blake3PiecesLater, hashesBeside } from './hash.ts';
import { native } from './native.ts';

/** What of an open file is needed to read it and hash what was read: see the file layer (src/store/files.ts). */
export interface HashableFile {
  read(into: Uint8Array, position: number): Promise<number>;
  direct?<T>(work: (fd: number) => Promise<T>): Promise<T>;
}

/** What is read from the medium comes in whole blocks, and to where a block of memory begins: so many bytes more than it has. */
const MEDIUM_ROOM_BYTES = 3 * 4096;
/** What the native kernel says of a file that cannot be read: SHOAL_WALK_EREAD. */
const UNREADABLE = -1;
/** What the native kernel reads at a time; the largest chunk fits into it. */
const STEP_BYTES = 384 * 1024;

/** Room in which pieces of `all` bytes are read one over the other by who wants their hashes alone. Bytes. */
export function hashingRoom(all: number): number {
  return Math.min(STEP_BYTES, all) + MEDIUM_ROOM_BYTES;
}

/** Whether the native kernel reads `file` by itself, for `readHashed`. */
export function hashesDirectly(file: HashableFile): boolean {
  return file.direct !== undefined && native !== undefined && hashesBeside && process.platform !== 'win32';
}

/**
 * Reads the pieces of `lengths` bytes that lie one after another from `position` on into `into`, and hashes them: BLAKE3-256, 32
 * bytes each. Where the file ends early they are what there is of them; `read` says how many bytes there were. With the native
 * kernel it is one call on a thread of the pool, and each byte is hashed while it is in the core's own cache; only then may
 * `into` be shorter than all pieces together (not than `hashingRoom` says): some are then read over
 * others. Nobody may touch `into` meanwhile. Throws what `file` throws.
 *
 * With `medium` what is hashed was read from the medium and not from the kernel's memory of what was written, where the native kernel reads,
 * the system is Linux and the file system lets it (O_DIRECT, open(2)); `into` holds anything then.
 */
export async function readHashed(file: HashableFile, into: Uint8Array, position: number, lengths: readonly number[], { medium = false } = {}): Promise<{ readonly read: number; readonly hashes: Uint8Array }> {
  const addon = native;
  if (addon !== undefined && file.direct !== undefined && hashesDirectly(file)) {
    const hashes = new Uint8Array(lengths.length * HASH_BYTES);
    const read = await file.direct((fd) => addon.walkPieces(fd, position, into, Uint32Array.from(lengths), medium, hashes));
    if (read >= 0) return { read, hashes };
    // The same the ordinary way says why.
    if (medium && read === UNREADABLE) {
      await file.read(into.subarray(0, Math.min(into.byteLength, lengths[0] ?? 0)), position);
      throw new ShoalError('FILE_IO', 'what was written cannot be read back from the medium', { ids: { position: String(position) }, retry: 'again', hint: 'The medium may be failing.' });
    }
  }
  const all = lengths.reduce((sum, length) => sum + length, 0);
  const buffer = into.byteLength < all ? new Uint8Array(all) : into.subarray(0, all);
  const read = await file.read(buffer, position);
  return { read, hashes: await blake3PiecesLater(buffer.subarray(0, read), lengths) };
}
