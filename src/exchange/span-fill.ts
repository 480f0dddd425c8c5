import { Bitmap } from '../core/bitmap.ts';
import type { FileSlot } from '../install/file-slot.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { Want } from '../plan/schedule.ts';
import type { SpanRequest } from './source.ts';

/**
 * A span on its way into a slot. Chunks are written as they come, whoever they come from; of two that bring the same one,
 * the second comes too late. What a broken connection brought is kept, and only the rest is asked for again.
 */
export class SpanFill implements Want {
  readonly span: number;
  readonly place: Span;
  /** Sources that are being asked for it now, and since when; `late` when that is too long. */
  asked: readonly string[] = [];
  since = 0;
  late = false;
  /** Where its owner has it in a list. */
  position = 0;
  readonly chunks: readonly ChunkRef[];
  readonly #offsets: readonly number[];
  /** Written, or being written. */
  readonly #taken: Bitmap;
  #writing = 0;

  /** `lacking`: the positions of those of the span's chunks that are not in the slot yet. */
  constructor(place: Span, chunks: readonly ChunkRef[], lacking: readonly number[]) {
    this.span = place.index;
    this.place = place;
    this.chunks = chunks;
    this.#offsets = chunkOffsets(chunks);
    this.#taken = new Bitmap(chunks.length);
    for (const position of chunks.keys()) this.#taken.add(position);
    for (const position of lacking) this.#taken.delete(position);
  }

  /** Says whether there is still something to ask for. */
  get wanted(): boolean {
    return !this.#taken.complete;
  }

  /** Says whether all of it has been written. */
  get whole(): boolean {
    return this.#taken.complete && this.#writing === 0;
  }

  /** What is still to be had. All of a span is asked for as a whole, so that caches between have one entry for it. */
  request(): SpanRequest {
    const index = this.span;
    if (this.#taken.size === 0) return { span: index, positions: undefined, chunks: this.chunks };
    const positions = [...this.chunks.keys()].filter((position) => !this.#taken.has(position));
    return { span: index, positions, chunks: positions.flatMap((position) => this.chunks[position] ?? []) };
  }

  /** Writes those of `batch` that nobody brought before; `first` is the place of its first in what `request` asked for. Returns the bytes written. */
  async take(slot: FileSlot, { positions }: SpanRequest, batch: readonly VerifiedChunk[], first: number): Promise<number> {
    let bytes = 0;
    this.#writing++;
    for (let at = 0; at < batch.length; ) {
      const run: VerifiedChunk[] = [];
      const start = positions?.[first + at] ?? first + at;
      // Neighbours in the artifact go to the slot together.
      for (let position = start; at < batch.length && position === (positions?.[first + at] ?? first + at) && !this.#taken.has(position); position++) {
        const chunk = batch[at++];
        if (chunk === undefined) break;
        this.#taken.add(position);
        run.push(chunk);
        bytes += chunk.bytes.byteLength;
      }
      if (run.length === 0) at++;
      else await slot.writeRun(this.place.offset + (this.#offsets[start] ?? 0), run);
    }
    this.#writing--;
    return bytes;
  }
}
