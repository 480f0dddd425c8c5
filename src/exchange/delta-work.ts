import { ShoalError, isShoalError } from '../core/errors.ts';
import { DELTA_LANES, DELTA_SEGMENT_MAX_BYTES, DELTA_WAITING_BYTES } from '../core/limits.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { Turns } from '../core/turns.ts';
import type { ContentKey } from '../core/wire.ts';
import type { BaseReader } from '../delta/predict.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import { verifyChunks } from '../merkle/verify.ts';
import type { IndexReader } from '../merkle/reader.ts';
import { Serial } from '../store/serial.ts';
import type { DeltaRoad } from './delta-road.ts';
import type { PageShelf } from './pages.ts';
import type { Source } from './source.ts';
import { cutSpan } from './span-cut.ts';
import type { SpanFill } from './span-fill.ts';

export interface DeltaWorkParts {
  readonly key: ContentKey;
  readonly chunking: ChunkingRecord;
  readonly index: IndexReader;
  readonly road: DeltaRoad;
  readonly slot: FileSlot;
  readonly shelf: PageShelf | undefined;
  /** The span, as long as it is missing. */
  readonly missing: (span: number) => SpanFill | undefined;
  /** Whether the span is whole in the slot. */
  readonly whole: (span: number) => boolean;
  /** `there` bytes of the span were in the slot already, `written` came to it now. */
  readonly arrived: (fill: SpanFill, written: number, there: number) => void;
  /** The slot, or something else of ours, failed: that ends the download. */
  readonly broke: (error: unknown) => void;
}

/** What the one who asked wants to know of a segment on its way. */
export interface SegmentWatch {
  /** Bytes came, or a sign that they will. */
  alive(): void;
  /** Everything is here; the rest is work of this device. */
  arrived(): void;
}

/**
 * Rebuilds segments: fetches what is lacking of one, decodes it beside others, cuts the result into its spans and chunks,
 * and writes those to the slot. A chunk goes there only when the signed index names it: the leaf page that the rebuilt span
 * has is the one of the index, or the page is fetched and the chunks are compared. One segment is written at a time, so that
 * a crash leaves at most one in part.
 */
export class DeltaWork {
  readonly #parts: DeltaWorkParts;
  readonly #lanes = new Turns(DELTA_LANES);
  readonly #writing = new Serial();
  readonly #buffers: Uint8Array[] = [];
  readonly #probed = new Set<number>();
  #waiting = 0;

  /** What segments copy from: every byte of it was verified when it came, and what is made of it will be. */
  readonly #earlier: BaseReader;

  constructor(parts: DeltaWorkParts) {
    this.#parts = parts;
    this.#earlier = { read: async (buffer, offset, length, position) => ({ bytesRead: (await parts.slot.readInto(buffer.subarray(offset, offset + length), position)).byteLength }) };
  }

  /** Whether the payload of a segment may be waited for now, beside the others. */
  fits(segment: number): boolean {
    const size = this.#parts.road.segments[segment]?.payload?.size ?? 0;
    return this.#waiting === 0 || this.#waiting + size <= DELTA_WAITING_BYTES;
  }

  /** Fetches a map page. Throws what the source throws. */
  async page(source: Source, page: number, signal: AbortSignal, alive: () => void): Promise<void> {
    const { key, road } = this.#parts;
    const bytes = await source.delta?.(key, road.page(page), signal, alive);
    if (bytes !== undefined) road.keepPage(page, bytes);
  }

  /**
   * Brings a segment into the slot; its payload comes from `source` unless it is here. Throws what the source throws. That
   * the segment does not come out right is no error of the caller's: the road remembers it.
   */
  async segment(segment: number, source: Source | undefined, signal: AbortSignal, watch: SegmentWatch): Promise<void> {
    const { key, road } = this.#parts;
    const payload = road.segments[segment]?.payload;
    const size = payload?.size ?? 0;
    this.#waiting += size;
    try {
      if (payload !== undefined && !road.hasPayload(segment)) {
        // With a base that is not known for sure, what can be known before anything is fetched is found out first.
        if (!road.exact && !this.#probed.has(segment) && !(await this.#attempt(segment, signal, (buffer) => road.applier.probe(segment, buffer)))) return;
        this.#probed.add(segment);
        const bytes = await source?.delta?.(key, payload, signal, watch.alive);
        if (bytes === undefined) return;
        road.keepPayload(payload, bytes);
      }
      if (!road.prepared(segment, this.#parts.whole)) {
        // What it copies from is not there yet: the planner comes back to it.
        if (payload !== undefined) road.holdPayload(payload);
        return;
      }
      watch.arrived();
      await this.#attempt(segment, signal, async (buffer) => {
        const bytes = await road.applier.segment(segment, buffer, this.#earlier);
        await this.#writing.run(() => this.#place(segment, bytes, signal));
        road.succeeded(segment);
      });
      if (payload !== undefined) road.releasePayload(payload);
    } finally {
      this.#waiting -= size;
      if (payload !== undefined) road.forgetPayload(payload);
    }
  }

  /** Runs `work` on one of the lanes. Says whether it went well; the road is told why not. */
  #attempt(segment: number, signal: AbortSignal, work: (buffer: Uint8Array) => Promise<void>): Promise<boolean> {
    return this.#lanes.run(async () => {
      signal.throwIfAborted();
      const buffer = this.#buffers.pop() ?? new Uint8Array(Math.min(DELTA_SEGMENT_MAX_BYTES, this.#parts.index.bytes));
      try {
        await work(buffer);
        return true;
      } catch (error) {
        signal.throwIfAborted();
        // Let go of while it waited: it is asked for again.
        if (!isShoalError(error, 'NOT_HELD')) this.#parts.road.failed(segment, error);
        return false;
      } finally {
        this.#buffers.push(buffer);
      }
    });
  }

  async #place(segment: number, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { arrived, broke, missing, road, slot } = this.#parts;
    let at = 0;
    for (const number of road.spansOf(segment)) {
      const place = missing(number)?.place ?? (await this.#parts.index.span(number));
      const own = bytes.subarray(at, (at += place.bytes));
      if (missing(number) === undefined) continue;
      const chunks = await this.#chunksOf(place, own);
      signal.throwIfAborted();
      // Somebody else may have brought it meanwhile.
      const fill = missing(number);
      if (fill === undefined) continue;
      try {
        const there = await this.#compare(fill, chunks);
        arrived(fill, await fill.takeWhole(slot, chunks), there);
      } catch (error) {
        broke(error);
        throw error;
      }
    }
  }

  /** The chunks of a rebuilt span, each named by the index. Throws `DELTA_WRONG`. */
  async #chunksOf(place: SpanFill['place'], bytes: Uint8Array): Promise<readonly VerifiedChunk[]> {
    const { chunking, index, shelf } = this.#parts;
    const { chunks, leaf } = cutSpan(bytes, chunking);
    if (leaf.id === place.leaf) {
      await shelf?.put(leaf);
      return chunks;
    }
    // Chunks may have been cut in another way than ours: what the index says counts.
    const page = await index.leaf(place);
    try {
      return verifyChunks(page.chunks, bytes);
    } catch (cause) {
      throw new ShoalError('DELTA_WRONG', `the delta makes another span ${String(place.index)} than was signed`, { ids: { span: place.index }, cause, retry: 'elsewhere' });
    }
  }

  /** Notes which chunks an earlier run has left in the slot: they are not written again. Returns their bytes. */
  async #compare(fill: SpanFill, chunks: readonly VerifiedChunk[]): Promise<number> {
    const { slot } = this.#parts;
    const { offset, bytes } = fill.place;
    if (fill.chunks !== undefined || offset >= slot.found) return 0;
    const found = await slot.read(offset, bytes);
    const lacking: number[] = [];
    let [at, there] = [0, 0];
    for (const [position, chunk] of chunks.entries()) {
      const { byteLength } = chunk.bytes;
      if (Buffer.compare(found.subarray(at, at + byteLength), chunk.bytes) === 0) there += byteLength;
      else lacking.push(position);
      at += byteLength;
    }
    fill.know(chunks.map(({ id, bytes: { byteLength } }) => ({ id, length: byteLength })), lacking);
    return there;
  }
}
