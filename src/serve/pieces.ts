import { CHUNK_MAX_BYTES, SERVE_LARGE_PIECES, SERVE_LARGE_PIECE_BYTES, SERVE_PIECE_BYTES } from '../core/limits.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { readVerified } from '../merkle/verify.ts';
import type { HashableFile } from '../kernel/hash-file.ts';

/**
 * Memory that answers are read into, used again and again: fresh memory costs more, in page faults and garbage, than what
 * goes into it. While few answers are being sent they get large pieces, which cost fewer calls and turns; when there are many,
 * all the others get small ones, so that what slow readers hold stays bounded.
 */
export class PieceBuffers {
  readonly #large: Uint8Array[] = [];
  readonly #small: Uint8Array[] = [];
  #largeOut = 0;

  /** A buffer of `SERVE_LARGE_PIECE_BYTES` or `SERVE_PIECE_BYTES`, with anything in it. Give it back. */
  take(): Uint8Array {
    if (this.#largeOut < SERVE_LARGE_PIECES) {
      this.#largeOut++;
      return this.#large.pop() ?? new Uint8Array(SERVE_LARGE_PIECE_BYTES);
    }
    return this.#small.pop() ?? new Uint8Array(SERVE_PIECE_BYTES);
  }

  give(buffer: Uint8Array): void {
    if (buffer.byteLength === SERVE_LARGE_PIECE_BYTES) {
      this.#largeOut--;
      this.#large.push(buffer);
    } else if (this.#small.length < SERVE_LARGE_PIECES) {
      this.#small.push(buffer);
    }
  }
}

/** A chunk and where it lies. */
export interface PlacedChunk {
  readonly chunk: ChunkRef;
  readonly offset: number;
}

interface Piece {
  readonly bytes: Uint8Array;
  /** The first of `placed` that is not in it. */
  readonly next: number;
}

/**
 * Reads `placed` and hands on pieces of whole chunks, each hashed, in order; neighbours are read in one call. While one is being
 * sent the next is read and hashed. A piece is good until the next is asked for. Throws `CHUNK_MISMATCH`, also where the file
 * ends early, and what `file` throws.
 */
export async function* verifiedPieces(placed: readonly PlacedChunk[], file: HashableFile, buffers: PieceBuffers): AsyncGenerator<Uint8Array> {
  const pooled: Uint8Array[] = [];
  let coming: Promise<Piece> | undefined;
  try {
    for (let at = 0, turn = 0; at < placed.length; turn ^= 1) {
      const piece = await (coming ?? readPiece(placed, at, (pooled[turn] ??= buffers.take()), file));
      at = piece.next;
      coming = at < placed.length ? readPiece(placed, at, (pooled[turn ^ 1] ??= buffers.take()), file) : undefined;
      // It is waited for, and its failure told, when its turn comes.
      coming?.catch(() => undefined);
      yield piece.bytes;
    }
  } finally {
    await coming?.catch(() => undefined);
    for (const buffer of pooled) buffers.give(buffer);
  }
}

async function readPiece(placed: readonly PlacedChunk[], from: number, pooled: Uint8Array, file: HashableFile): Promise<Piece> {
  // A lone chunk may be larger than a small piece.
  const buffer = (placed[from]?.chunk.length ?? 0) > pooled.byteLength ? new Uint8Array(CHUNK_MAX_BYTES) : pooled;
  let filled = 0;
  let at = from;
  while (at < placed.length) {
    const first = at;
    const start = placed[first]?.offset ?? 0;
    let length = 0;
    for (let next = placed[at]; next !== undefined && next.offset === start + length && filled + length + next.chunk.length <= buffer.byteLength; next = placed[++at]) length += next.chunk.length;
    if (at === first) break;
    await readVerified(placed.slice(first, at).map(({ chunk }) => chunk), file, start, buffer.subarray(filled, filled + length));
    filled += length;
  }
  return { bytes: buffer.subarray(0, filled), next: at };
}
