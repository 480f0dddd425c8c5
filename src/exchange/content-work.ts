import { SPAN_MAX_BYTES } from '../core/limits.ts';
import type { ContentKey } from '../core/wire.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { IndexReader } from '../merkle/reader.ts';
import type { Looker } from './looker.ts';
import type { FailoverPages } from './pages.ts';
import type { Source, SpanSink } from './source.ts';
import type { SpanFill } from './span-fill.ts';

export interface ContentWorkParts {
  readonly key: ContentKey;
  readonly index: IndexReader;
  readonly slot: FileSlot;
  readonly pages: FailoverPages;
  readonly looker: Looker;
  readonly signal: AbortSignal;
}

/** What the one who asked wants to know of a span on its way. */
export interface SpanWatch {
  /** It is on its way to the source itself. */
  readonly passed: boolean;
  /** A sign that the source is at work on it. */
  alive(): void;
  /** So many bytes are asked for. */
  brings(bytes: number): void;
  /** So many of these came, and were right. */
  came(bytes: number): void;
  /** All bytes are here. */
  arrived(): void;
}

/** Brings spans as content: what they consist of, if nobody knows yet; what a base has of it; the rest from a source. */
export class ContentWork {
  readonly #parts: ContentWorkParts;
  readonly #onArrived: (fill: SpanFill, written: number, there: number) => void;
  readonly #broke: (error: unknown) => void;
  /** Memory that spans are received in, used again and again. */
  readonly #buffers: Uint8Array[] = [];
  readonly #looking = new Map<SpanFill, Promise<void>>();

  constructor(parts: ContentWorkParts, onArrived: (fill: SpanFill, written: number, there: number) => void, broke: (error: unknown) => void) {
    this.#parts = parts;
    this.#onArrived = onArrived;
    this.#broke = broke;
  }

  /** Throws what the source throws; what it brought by then is in the slot. */
  async fetch(source: Source, fill: SpanFill, signal: AbortSignal, { alive, arrived, brings, came, passed }: SpanWatch): Promise<void> {
    const buffer = this.#buffers.pop() ?? new Uint8Array(Math.min(SPAN_MAX_BYTES, this.#parts.index.bytes));
    try {
      await this.look(fill, buffer, source);
      if (!fill.wanted) return;
      const request = fill.request();
      brings(request.chunks.reduce((sum, { length }) => sum + length, 0));
      const take: SpanSink['take'] = async (batch, first) => {
        alive();
        came(batch.reduce((sum, { bytes }) => sum + bytes.byteLength, 0));
        if (first + batch.length === request.chunks.length) arrived();
        await this.#ours(async () => {
          this.#onArrived(fill, await fill.take(this.#parts.slot, request, batch, first), 0);
        });
      };
      await source.span(this.#parts.key, request, { buffer, take, alive, soon: passed }, signal);
    } finally {
      this.#buffers.push(buffer);
    }
  }

  /**
   * Finds out what the span consists of, and what of it this device has. Whoever is asked shows the page himself: where two are
   * asked at the same time, neither answers for what the other one sent, nor waits for it.
   */
  async look(fill: SpanFill, buffer: Uint8Array, source: Source): Promise<void> {
    if (fill.chunks !== undefined) return;
    const { index, pages } = this.#parts;
    const { chunks } = index.checkLeaf(fill.place, await pages.pageFrom(source, fill.place.leaf));
    const looking = this.#looking.get(fill) ?? this.#look(fill, chunks, buffer).finally(() => this.#looking.delete(fill));
    this.#looking.set(fill, looking);
    await looking;
  }

  async #look(fill: SpanFill, chunks: readonly ChunkRef[], buffer: Uint8Array): Promise<void> {
    if (fill.chunks !== undefined) return;
    await this.#ours(async () => {
      const { lacking, there } = await this.#parts.looker.look(fill.place, chunks, buffer);
      fill.know(chunks, lacking);
      this.#onArrived(fill, 0, there);
    });
  }

  /** The slot's own failure (a full disk) ends the download; it is nobody's fault out there. */
  async #ours(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#broke(error);
      throw error;
    }
  }
}
