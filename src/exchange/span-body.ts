import { ShoalError } from '../core/errors.ts';
import { zstdDecompressAsync } from '../kernel/zstd.ts';
import { zstdFrames } from '../kernel/zstd-frame.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunksLater } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';

/** Chunks that can be kept together, and the frame they came in when it holds exactly them. */
export interface Group {
  readonly chunks: readonly VerifiedChunk[];
  readonly frame?: Uint8Array;
}

/** Most bytes that `rawLength` bytes may take on the wire: raw zstd blocks cost 3 bytes in 128 KiB, frames some 20. */
export function mostEncoded(rawLength: number, chunks: number): number {
  return rawLength + Math.ceil(rawLength / 1024) + 64 * (chunks + 1);
}

/** Decodes and verifies what an upstream sent for `chunks`. Throws `CHUNK_MISMATCH`, `HTTP_BODY` or `ZSTD_…` (retry elsewhere). */
export async function verifiedGroups(body: Uint8Array, coding: string | undefined, chunks: readonly ChunkRef[]): Promise<readonly Group[]> {
  const rawLength = lengthOf(chunks);
  if (coding === undefined || coding === 'identity') return [{ chunks: await verifyAll(body, chunks) }];
  if (coding !== 'zstd') throw new ShoalError('HTTP_BODY', `the answer has the coding "${coding.slice(0, 40)}", which nobody asked for`, { retry: 'elsewhere' });
  const groups: Group[] = [];
  const frames = zstdFrames(body);
  let at = 0;
  for (const { start, end, contentSize } of frames) {
    const first = at;
    let size = 0;
    while (at < chunks.length && size < (contentSize ?? Infinity)) size += chunks[at++]?.length ?? 0;
    if (size !== contentSize) {
      // Frames that end inside a chunk, or do not say where, are lawful: decode it all and keep the chunks alone.
      return [{ chunks: await verifyAll(await zstdDecompressAsync(body, rawLength), chunks) }];
    }
    const frame = body.subarray(start, end);
    const mine = chunks.slice(first, at);
    groups.push({ chunks: await verifyAll(await zstdDecompressAsync(frame, size), mine), frame });
  }
  if (at !== chunks.length) throw short(at, chunks.length);
  return groups;
}

async function verifyAll(raw: Uint8Array, chunks: readonly ChunkRef[]): Promise<readonly VerifiedChunk[]> {
  if (raw.byteLength !== lengthOf(chunks)) throw short(raw.byteLength, lengthOf(chunks));
  return verifyChunksLater(chunks, raw);
}

function lengthOf(chunks: readonly ChunkRef[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}

function short(got: number, wanted: number): ShoalError {
  return new ShoalError('HTTP_BODY', 'the answer is not as long as the index says', { ids: { got, wanted }, retry: 'elsewhere' });
}
