import { SPAN_MAX_BYTES } from '../core/limits.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { IndexReader, Span } from '../merkle/reader.ts';
import { chunkIdOf } from '../merkle/verify.ts';
import { ahead } from './ahead.ts';
import type { LocalChunks } from './local-chunks.ts';

/** Leaf pages asked for at a time: enough to hide a link's delay, few enough to be nothing in memory (36 KiB each). */
const LEAVES_AHEAD = 8;

/** What has become of a span once the slot and the bases were looked through. */
export interface Looked {
  readonly span: Span;
  readonly chunks: readonly ChunkRef[];
  /** Positions of the chunks that neither had. */
  readonly lacking: readonly number[];
  /** Bytes of the chunks that are in the slot now. */
  readonly there: number;
}

/**
 * Goes through all spans of an artifact, from span `begin` on and then those before it. What the slot has already stays as it
 * is, found by its hash; what `local` has is copied there.
 */
export async function* fillFromLocal(index: IndexReader, slot: FileSlot, local: LocalChunks, begin: number, signal: AbortSignal): AsyncGenerator<Looked> {
  const buffer = new Uint8Array(slot.found > 0 ? SPAN_MAX_BYTES : 0);
  for await (const [span, { chunks }] of ahead(around(index, begin), LEAVES_AHEAD, async (each) => [each, await index.leaf(each)] as const)) {
    signal.throwIfAborted();
    const offsets = chunkOffsets(chunks);
    const found = span.offset < slot.found ? await slot.readInto(buffer.subarray(0, span.bytes), span.offset) : new Uint8Array();
    const lacking: number[] = [];
    let there = 0;
    for (const [position, chunk] of chunks.entries()) {
      const offset = offsets[position] ?? 0;
      const bytes = found.subarray(offset, offset + chunk.length);
      if (bytes.byteLength !== chunk.length || chunkIdOf(bytes) !== chunk.id) {
        const copy = local.empty ? undefined : await local.chunk(chunk);
        if (copy === undefined) {
          lacking.push(position);
          continue;
        }
        await slot.write(span.offset + offset, copy);
      }
      there += chunk.length;
    }
    yield { span, chunks, lacking, there };
  }
}

async function* around(index: IndexReader, begin: number): AsyncGenerator<Span> {
  for (let at = 0; at < index.spans; at++) yield await index.span((begin + at) % index.spans);
}
