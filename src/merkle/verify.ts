import { ShoalError } from '../core/errors.ts';
import { idFromBytes, idsFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { blake3, blake3Keyed, blake3Pieces, blake3PiecesLater } from '../kernel/hash.ts';
import { readHashed } from '../kernel/hash-file.ts';
import type { HashableFile } from '../kernel/hash-file.ts';
import { decodePage, encodePage } from './page.ts';
import type { ChunkRef, Page } from './page.ts';

/**
 * Verification is a type: these two classes can be made only in this file, by hashing, and stores, slots and planners
 * accept nothing else. Whoever holds one knows that its bytes are the ones its id names.
 */

const MINT = Symbol('verified');

/** Raw bytes whose BLAKE3-256 is `id`. The bytes may be a view of a pooled buffer: copy them to keep them. */
export class VerifiedChunk {
  readonly id: ObjectId;
  readonly bytes: Uint8Array;

  constructor(mint: typeof MINT, id: ObjectId, bytes: Uint8Array) {
    if (mint !== MINT) throw new TypeError('only verification makes a VerifiedChunk');
    this.id = id;
    this.bytes = bytes;
  }
}

/** An index page whose keyed BLAKE3-256 is `id`, decoded. */
export class VerifiedPage {
  readonly id: ObjectId;
  readonly page: Page;
  readonly encoded: Uint8Array;

  constructor(mint: typeof MINT, id: ObjectId, page: Page, encoded: Uint8Array) {
    if (mint !== MINT) throw new TypeError('only verification makes a VerifiedPage');
    this.id = id;
    this.page = page;
    this.encoded = encoded;
  }
}

/** Keys of BLAKE3's keyed mode (BLAKE3 specification, 2.3): a page can never pass for a chunk, nor a leaf for an inner page. */
const LEAF_KEY = domainKey('shoal index leaf v1');
const INNER_KEY = domainKey('shoal index inner v1');

function domainKey(label: string): Uint8Array {
  const key = new Uint8Array(32);
  key.set(new TextEncoder().encode(label));
  return key;
}

function pageIdOf(page: Page, encoded: Uint8Array): ObjectId {
  return idFromBytes(blake3Keyed(page.level === 0 ? LEAF_KEY : INNER_KEY, encoded));
}

/** The id of a chunk: BLAKE3-256 of its raw bytes. */
export function chunkIdOf(bytes: Uint8Array): ObjectId {
  return idFromBytes(blake3(bytes));
}

/** Hashes bytes of our own (a file being published or scanned) into a chunk. */
export function sealChunk(bytes: Uint8Array): VerifiedChunk {
  return new VerifiedChunk(MINT, chunkIdOf(bytes), bytes);
}

/** Throws `CHUNK_MISMATCH` (retry elsewhere) unless `bytes` is the chunk `id`. */
export function verifyChunk(id: ObjectId, bytes: Uint8Array): VerifiedChunk {
  return matched(id, chunkIdOf(bytes), bytes);
}

/** Throws `CHUNK_MISMATCH` (retry elsewhere) unless `bytes` begins with `chunks`, one after another. */
export function verifyChunks(chunks: readonly ChunkRef[], bytes: Uint8Array): readonly VerifiedChunk[] {
  return allMatched(chunks, bytes, blake3Pieces(bytes, lengthsOf(chunks)));
}

/**
 * The same on a thread of the pool where there is one, so that whoever sends and receives goes on meanwhile. Nobody may write
 * to `bytes` until it settles.
 */
export async function verifyChunksLater(chunks: readonly ChunkRef[], bytes: Uint8Array): Promise<readonly VerifiedChunk[]> {
  return allMatched(chunks, bytes, await blake3PiecesLater(bytes, lengthsOf(chunks)));
}

/** Reads `chunks`, which lie one after another from `position` of `file` on, into `into`, and throws `CHUNK_MISMATCH` unless they are there. */
export async function readVerified(chunks: readonly ChunkRef[], file: HashableFile, position: number, into: Uint8Array): Promise<readonly VerifiedChunk[]> {
  const { read, hashes } = await readHashed(file, into, position, lengthsOf(chunks));
  return allMatched(chunks, into.subarray(0, read), hashes);
}

function lengthsOf(chunks: readonly ChunkRef[]): readonly number[] {
  return chunks.map(({ length }) => length);
}

function allMatched(chunks: readonly ChunkRef[], bytes: Uint8Array, hashes: Uint8Array): readonly VerifiedChunk[] {
  const actual = idsFromBytes(hashes, chunks.length);
  let at = 0;
  return chunks.map(({ id, length }, index) => matched(id, actual[index], bytes.subarray(at, (at += length))));
}

function matched(id: ObjectId, actual: ObjectId | undefined, bytes: Uint8Array): VerifiedChunk {
  if (actual !== id) {
    throw new ShoalError('CHUNK_MISMATCH', `the bytes received for chunk ${id.slice(0, 12)}… are not that chunk`, {
      ids: { expected: id, actual: actual ?? '' },
      retry: 'elsewhere',
    });
  }
  return new VerifiedChunk(MINT, id, bytes);
}

/** Encodes a page of our own and gives it its id. */
export function sealPage(page: Page): VerifiedPage {
  const encoded = encodePage(page);
  return new VerifiedPage(MINT, pageIdOf(page, encoded), page, encoded);
}

/**
 * Throws `PAGE_MISMATCH`, or what `decodePage` throws, unless `encoded` is the page `id`. Keeps its own copy of the bytes. What has
 * been verified before is not decoded and hashed again: pages pass through several hands.
 */
export function verifyPage(id: ObjectId, encoded: Uint8Array | VerifiedPage): VerifiedPage {
  if (encoded instanceof VerifiedPage) return encoded.id === id ? encoded : verifyPage(id, encoded.encoded);
  const own = Uint8Array.prototype.slice.call(encoded);
  const page = decodePage(own);
  const actual = pageIdOf(page, own);
  if (actual !== id) {
    throw new ShoalError('PAGE_MISMATCH', `the bytes received for index page ${id.slice(0, 12)}… are not that page`, {
      ids: { expected: id, actual },
      retry: 'elsewhere',
    });
  }
  return new VerifiedPage(MINT, id, page, own);
}
