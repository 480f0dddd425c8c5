import { type ObjectId, idFromBytes } from '../core/ids.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { blake3 } from '../kernel/hash.ts';
import { type Chunk, Chunker } from './chunker.ts';
import type { Scanner } from './cuts.ts';

/** Where bytes come from, in order. A `FileHandle` of node:fs/promises is one. */
export interface ByteReaderAt {
  /** Reads up to `length` bytes at `position` into `buffer` from `offset` on; 0 bytes mean the end. */
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** A chunk and its id: BLAKE3-256 of its bytes. */
export interface HashedChunk extends Chunk {
  readonly id: ObjectId;
}

/**
 * The chunks of a file from its beginning to where reads return nothing, for finding what a local base has. Otherwise
 * as `walkCuts`.
 */
export async function* walkChunks(file: ByteReaderAt, params: ChunkingRecord, scanner?: Scanner): AsyncGenerator<HashedChunk, void, undefined> {
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
