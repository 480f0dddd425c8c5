import type { ChunkingRecord } from '../core/manifest.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { IndexReader, Span } from '../merkle/reader.ts';
import { chunkIdOf } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { LocalChunks } from './local-chunks.ts';
import type { PageShelf } from './pages.ts';
import { cutSpan } from './span-cut.ts';

/** What has become of a span once the slot and the bases were looked through. */
export interface Looked {
  readonly span: Span;
  readonly chunks: readonly ChunkRef[];
  /** Positions of the chunks that neither had. */
  readonly lacking: readonly number[];
  /** Bytes of the chunks that are in the slot now. */
  readonly there: number;
}

/** Finds what the slot and the bases have. What the slot has stays as it is, what a base has is copied there. */
export class Looker {
  readonly #slot: FileSlot;
  readonly #local: LocalChunks;
  readonly #chunking: ChunkingRecord;
  readonly #shelf: PageShelf | undefined;

  constructor(slot: FileSlot, local: LocalChunks, chunking: ChunkingRecord, shelf: PageShelf | undefined) {
    this.#slot = slot;
    this.#local = local;
    this.#chunking = chunking;
    this.#shelf = shelf;
  }

  /** Chunk by chunk. `buffer` is free, and as long as the span. */
  async look(span: Span, chunks: readonly ChunkRef[], buffer: Uint8Array): Promise<Looked> {
    const offsets = chunkOffsets(chunks);
    const found = await this.#found(span, buffer);
    const lacking: number[] = [];
    let there = 0;
    for (const [position, chunk] of chunks.entries()) {
      const offset = offsets[position] ?? 0;
      const bytes = found.subarray(offset, offset + chunk.length);
      if (bytes.byteLength !== chunk.length || chunkIdOf(bytes) !== chunk.id) {
        const copy = this.#local.empty ? undefined : await this.#local.chunk(chunk);
        if (copy === undefined) {
          lacking.push(position);
          continue;
        }
        await this.#slot.write(span.offset + offset, copy);
      }
      there += chunk.length;
    }
    return { span, chunks, lacking, there };
  }

  /**
   * The same without a leaf page: finds a span that the slot or a base has as a whole, and one whose page is here already.
   * Undefined when its page is needed to say more. Pages that were found this way are kept.
   */
  async lookWithoutPage(index: IndexReader, span: Span, buffer: Uint8Array): Promise<Looked | undefined> {
    const kept = await this.#shelf?.get(span.leaf);
    if (kept !== undefined) return this.look(span, index.checkLeaf(span, kept).chunks, buffer);
    const found = await this.#found(span, buffer);
    const there = await this.#asSpan(span, found);
    if (there !== undefined) return whole(span, there);
    const chunks = await this.#asSpan(span, (await this.#local.span(span.leaf, buffer)) ?? new Uint8Array());
    if (chunks === undefined) return undefined;
    await this.#slot.writeRun(span.offset, chunks);
    return whole(span, chunks);
  }

  /** What an earlier run left where the span belongs. */
  async #found(span: Span, buffer: Uint8Array): Promise<Uint8Array> {
    return span.offset < this.#slot.found ? this.#slot.readInto(buffer.subarray(0, span.bytes), span.offset) : new Uint8Array();
  }

  /** The chunks of the span, if it is these bytes. */
  async #asSpan(span: Span, bytes: Uint8Array): Promise<readonly VerifiedChunk[] | undefined> {
    if (bytes.byteLength !== span.bytes) return undefined;
    const { chunks, leaf } = cutSpan(bytes, this.#chunking);
    if (leaf.id !== span.leaf) return undefined;
    await this.#shelf?.put(leaf);
    return chunks;
  }
}

function whole(span: Span, chunks: readonly VerifiedChunk[]): Looked {
  return { span, chunks: chunks.map(({ id, bytes }) => ({ id, length: bytes.byteLength })), lacking: [], there: span.bytes };
}
