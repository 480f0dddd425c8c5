import { findCuts } from '../chunk/cuts.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { makeLeaf } from '../merkle/page.ts';
import { sealChunk, sealPage } from '../merkle/verify.ts';
import type { VerifiedChunk, VerifiedPage } from '../merkle/verify.ts';

/** A span as its bytes make it. */
export interface CutSpan {
  readonly chunks: readonly VerifiedChunk[];
  /** The leaf page that it has: when that is the page the index names, the chunks are those of the artifact. */
  readonly leaf: VerifiedPage;
}

/**
 * Cuts the bytes of a span as a publisher does. Where a chunk ends depends on its own bytes alone, so a span can be cut by
 * itself, and its leaf page need not be fetched to know whether it is the right one. The chunks are views of `bytes`.
 */
export function cutSpan(bytes: Uint8Array, chunking: ChunkingRecord): CutSpan {
  let from = 0;
  const chunks = [...findCuts(bytes, chunking, true)].map((end) => sealChunk(bytes.subarray(from, (from = end))));
  return { chunks, leaf: sealPage(makeLeaf(chunks.map(({ id, bytes: { byteLength } }) => ({ id, length: byteLength })))) };
}
