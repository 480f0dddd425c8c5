import { Bitmap } from '../core/bitmap.ts';
import type { FileSlot } from '../install/file-slot.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { Want } from '../plan/schedule.ts';
import type { SpanRequest } from './source.ts';

/** The chunks of a span, which of them are written or being written, and which are written. */
interface Known {
  readonly chunks: readonly ChunkRef[];
  readonly offsets: readonly number[];
  readonly taken: Bitmap;
  readonly landed: Bitmap;
}

/**
 * A span on its way into a slot. Chunks are written as they come, whoever they come from; of two that bring the same one,
 * the second comes too late. What a broken connection brought is kept, and only the rest is asked for again. Its chunks
 * need not be known while there is hope that a delta rebuilds it: then its leaf page is never fetched.
 */
export class SpanFill implements Want {
  readonly span: number;
  readonly place: Span;
  /** Sources that are being asked for it now, and since when (`Infinity` while it is being worked on here); `late` when that is longer than `lateMs`, and `overdue` when it is so long that the backhaul is crossed for it. */
  asked: readonly string[] = [];
  since = 0;
  lateMs = 0;
  late = false;
  crawls = false;
  crosses = false;
  overdue = false;
  /** Where its owner has it in a list. */
  position = 0;
  /** Told when more of it is in the slot. */
  onLanded: (() => void) | undefined;
  #known: Known | undefined;
  #lacking: number;
  #writing = 0;

  /** `lacking`: the positions of those of the span's chunks that are not in the slot yet. */
  constructor(place: Span, known?: { readonly chunks: readonly ChunkRef[]; readonly lacking: readonly number[] }) {
    this.span = place.index;
    this.place = place;
    this.#lacking = place.bytes;
    if (known !== undefined) this.know(known.chunks, known.lacking);
  }

  /** Undefined until somebody had its leaf page. */
  get chunks(): readonly ChunkRef[] | undefined {
    return this.#known?.chunks;
  }

  /** Says what it consists of, once. */
  know(chunks: readonly ChunkRef[], lacking: readonly number[]): void {
    if (this.#known !== undefined) return;
    const [taken, landed] = [new Bitmap(chunks.length), new Bitmap(chunks.length)];
    const lacks = new Set(lacking);
    for (const position of chunks.keys()) {
      if (lacks.has(position)) continue;
      taken.add(position);
      landed.add(position);
    }
    this.#known = { chunks, offsets: chunkOffsets(chunks), taken, landed };
    this.#lacking = lacking.reduce((sum, position) => sum + (chunks[position]?.length ?? 0), 0);
  }

  /** Raw bytes that are still to come. */
  get lacking(): number {
    return this.#lacking;
  }

  /** Says whether there is still something to ask for. */
  get wanted(): boolean {
    return this.#known?.taken.complete !== true;
  }

  /** Says whether all of it has been written. */
  get whole(): boolean {
    return this.#known?.taken.complete === true && this.#writing === 0;
  }

  /** Whether the chunk at `position` is in the slot. */
  landed(position: number): boolean {
    return this.#known?.landed.has(position) === true;
  }

  /** What is still to be had. All of a span is asked for as a whole, so that caches between have one entry for it. */
  request(): SpanRequest {
    const { chunks, offsets, taken } = this.#sure();
    const index = this.span;
    const place = (position: number): number => this.place.offset + (offsets[position] ?? 0);
    if (taken.size === 0) return { span: index, positions: undefined, chunks, offsets: [...chunks.keys()].map(place) };
    const positions = [...chunks.keys()].filter((position) => !taken.has(position));
    return { span: index, positions, chunks: positions.flatMap((position) => chunks[position] ?? []), offsets: positions.map(place) };
  }

  /** Writes those of `batch` that nobody brought before; `first` is the place of its first in what `request` asked for. Returns the bytes written. */
  async take(slot: FileSlot, { positions }: Pick<SpanRequest, 'positions'>, batch: readonly VerifiedChunk[], first: number): Promise<number> {
    const { landed, offsets, taken } = this.#sure();
    let bytes = 0;
    this.#writing++;
    for (let at = 0; at < batch.length; ) {
      const run: VerifiedChunk[] = [];
      const start = positions?.[first + at] ?? first + at;
      // Neighbours in the artifact go to the slot together.
      for (let position = start; at < batch.length && position === (positions?.[first + at] ?? first + at) && !taken.has(position); position++) {
        const chunk = batch[at++];
        if (chunk === undefined) break;
        taken.add(position);
        run.push(chunk);
        bytes += chunk.bytes.byteLength;
        this.#lacking -= chunk.bytes.byteLength;
      }
      if (run.length === 0) {
        at++;
        continue;
      }
      await slot.writeRun(this.place.offset + (offsets[start] ?? 0), run);
      for (const position of run.keys()) landed.add(start + position);
      this.onLanded?.();
    }
    this.#writing--;
    return bytes;
  }

  /** Writes all that is still lacking from `chunks`, which are the whole span. Returns the bytes written. */
  async takeWhole(slot: FileSlot, chunks: readonly VerifiedChunk[]): Promise<number> {
    const refs = chunks.map(({ id, bytes }) => ({ id, length: bytes.byteLength }));
    this.know(refs, [...refs.keys()]);
    return this.take(slot, { positions: undefined }, chunks, 0);
  }

  #sure(): Known {
    if (this.#known === undefined) throw new Error('the chunks of the span are not known yet');
    return this.#known;
  }
}
