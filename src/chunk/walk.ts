import { ShoalError } from '../core/errors.ts';
import { type ObjectId, idFromBytes } from '../core/ids.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { HASH_BYTES, blake3, hashesBeside } from '../kernel/hash.ts';
import { native } from '../kernel/native.ts';
import { type Chunk, Chunker } from './chunker.ts';
import type { Scanner } from './cuts.ts';
import { checkChunking } from './params.ts';

/** Where bytes come from, in order. A `FileHandle` of node:fs/promises is one. */
export interface ByteReaderAt {
  /** The open file's descriptor, where the native kernel may read by itself (POSIX). */
  readonly fd?: number;
  /** Reads up to `length` bytes at `position` into `buffer` from `offset` on; 0 bytes mean the end. */
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** A chunk and its id: BLAKE3-256 of its bytes. */
export interface HashedChunk extends Chunk {
  readonly id: ObjectId;
}

/** Bytes read by one call of the native kernel, on a thread of the pool: few enough calls that they cost nothing. */
const WALK_BYTES = 4 * 1024 * 1024;

/**
 * The chunks of a file from its beginning to where reads return nothing. Bounded memory. `bytes` of a chunk is valid until the
 * next one is asked for. The file must stay open until the iterator has ended. Errors of `read` pass through.
 */
export function walkChunks(file: ByteReaderAt, params: ChunkingRecord, scanner?: Scanner): AsyncGenerator<HashedChunk, void, undefined> {
  if (scanner === undefined && file.fd !== undefined && native !== undefined && hashesBeside && process.platform !== 'win32') return walkNatively(file, file.fd, params, native);
  return walkHashing(file, params, scanner);
}

async function* walkHashing(file: ByteReaderAt, params: ChunkingRecord, scanner: Scanner | undefined): AsyncGenerator<HashedChunk, void, undefined> {
  for await (const chunk of walkCuts(file, params, scanner)) yield { ...chunk, id: idFromBytes(blake3(chunk.bytes)) };
}

/**
 * The same chunks without their ids, for who copies and then hashes them. Bounded memory; reads of about a MiB straight
 * into the scan's buffer. `bytes` of a chunk is valid until the next one is asked for. Errors of `read` pass through.
 */
export async function* walkCuts(file: ByteReaderAt, params: ChunkingRecord, scanner?: Scanner): AsyncGenerator<Chunk, void, undefined> {
  const chunker = new Chunker(params, scanner);
  let position = 0;
  for (;;) {
    const space = chunker.space();
    const { bytesRead } = await file.read(space, 0, space.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    yield* chunker.advance(bytesRead);
  }
  yield* chunker.end();
}

/** Reads, cuts and hashes in one native call, each byte while it is in the core's own cache. */
async function* walkNatively(file: ByteReaderAt, fd: number, params: ChunkingRecord, addon: NonNullable<typeof native>): AsyncGenerator<HashedChunk, void, undefined> {
  const { min, avg, max } = checkChunking(params);
  const buffer = Buffer.allocUnsafeSlow(WALK_BYTES + max);
  const most = Math.floor(buffer.length / min) + 1;
  const cuts = new Uint32Array(most);
  const hashes = new Uint8Array(most * HASH_BYTES);
  let read = 0;
  for (let filled = 0, offset = 0; ; ) {
    const walked = await addon.walkChunks(fd, read, buffer, filled, min, avg, max, cuts, hashes);
    if (typeof walked === 'number') {
      // The same read the ordinary way says why.
      await file.read(buffer, 0, 1, read);
      throw new ShoalError('FILE_IO', `the file could not be read at ${String(read)}`, { retry: 'again' });
    }
    const [end = 0, count = 0, ended = 0] = walked;
    read += end - filled;
    let at = 0;
    for (let index = 0; index < count; index++) {
      const cut = cuts[index] ?? at;
      const bytes = buffer.subarray(at, cut);
      yield { offset, length: bytes.length, bytes, id: idFromBytes(hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)) };
      offset += bytes.length;
      at = cut;
    }
    if (ended !== 0) return;
    buffer.copyWithin(0, at, end);
    filled = end - at;
  }
}
