import { HASH_BYTES, blake3PiecesLater, hashesBeside } from './hash.ts';
import { native } from './native.ts';

/** What of an open file is needed to read it and hash what was read: see the file layer (src/store/files.ts). */
export interface HashableFile {
  read(into: Uint8Array, position: number): Promise<number>;
  direct?<T>(work: (fd: number) => Promise<T>): Promise<T>;
}

/** Room in which pieces are read one over the other by who wants their hashes alone: what the native kernel reads at a time, and the largest chunk. */
export const HASHING_ROOM_BYTES = 384 * 1024;

/** Whether the native kernel reads `file` by itself, for `readHashed`. */
export function hashesDirectly(file: HashableFile): boolean {
  return file.direct !== undefined && native !== undefined && hashesBeside && process.platform !== 'win32';
}

/**
 * Reads the pieces of `lengths` bytes that lie one after another from `position` on into `into`, and hashes them: BLAKE3-256, 32
 * bytes each. Where the file ends early they are what there is of them; `read` says how many bytes there were. With the native
 * kernel it is one call on a thread of the pool, and each byte is hashed while it is in the core's own cache; only then may
 * `into` be shorter than all pieces together (not than the largest, nor than `HASHING_ROOM_BYTES`): some are then read over
 * others. Nobody may touch `into` meanwhile. Throws what `file` throws.
 */
export async function readHashed(file: HashableFile, into: Uint8Array, position: number, lengths: readonly number[]): Promise<{ readonly read: number; readonly hashes: Uint8Array }> {
  const addon = native;
  if (addon !== undefined && file.direct !== undefined && hashesDirectly(file)) {
    const hashes = new Uint8Array(lengths.length * HASH_BYTES);
    const read = await file.direct((fd) => addon.walkPieces(fd, position, into, Uint32Array.from(lengths), hashes));
    if (read >= 0) return { read, hashes };
    // The same the ordinary way says why.
  }
  const all = lengths.reduce((sum, length) => sum + length, 0);
  const buffer = into.byteLength < all ? new Uint8Array(all) : into.subarray(0, all);
  const read = await file.read(buffer, position);
  return { read, hashes: await blake3PiecesLater(buffer.subarray(0, read), lengths) };
}
