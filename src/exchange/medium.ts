import { availableParallelism } from 'node:os';
import { ShoalError } from '../core/errors.ts';
import { idFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { SPAN_MAX_BYTES } from '../core/limits.ts';
import type { FileSlot } from '../install/file-slot.ts';
import { HASH_BYTES } from '../kernel/hash.ts';
import { HashThread } from '../kernel/hash-thread.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { Span } from '../merkle/reader.ts';
import { chunkIdOf } from '../merkle/verify.ts';

/** Spans are brought to the medium when they make this many bytes: often enough to leave little for the end. */
const FLUSH_BYTES = 32 * 1024 * 1024;

interface Written {
  readonly span: Span;
  readonly chunks: readonly ChunkRef[];
}

/**
 * Proves a slot against the root: every span is brought to the medium, read back and hashed, while others still arrive.
 * What is about to become active is what is there, not what was sent to it. Spans may come in any order; nothing may write
 * to one once it was added.
 */
export class MediumCheck {
  readonly #slot: FileSlot;
  #waiting: Written[] = [];
  #waitingBytes = 0;
  #proved = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  /** One is read into while the other is hashed. */
  readonly #buffers: Uint8Array[] = [];
  /** Hashes beside what is being received. Started only for what is large enough, and where there is a second core. */
  #thread: HashThread | undefined;
  readonly #cores: number;

  constructor(slot: FileSlot, cores = availableParallelism()) {
    this.#slot = slot;
    this.#cores = cores;
  }

  /** `span` has been written whole. */
  add(span: Span, chunks: readonly ChunkRef[]): void {
    this.#waiting.push({ span, chunks });
    this.#waitingBytes += span.bytes;
    if (this.#waitingBytes < FLUSH_BYTES || this.#failure !== undefined) return;
    if (this.#cores > 1) this.#thread ??= new HashThread();
    this.#running ??= this.#round(() => this.#slot.flush()).finally(() => {
      this.#running = undefined;
    });
  }

  /** Ends it: waits until nothing is read or synced any more, whatever became of it. */
  async close(): Promise<void> {
    await this.#running;
    await this.#thread?.close();
  }

  /**
   * Cuts the slot to `size`, brings the rest to the medium and proves it. Throws `MEDIUM_MISMATCH` (retry again) naming the
   * span that reads back as other bytes, `INCOMPLETE_SLOT` unless all `spans` were added, or what the slot throws.
   */
  async finish(size: number, spans: number): Promise<void> {
    await this.#running;
    await this.#round(() => this.#slot.sync(size));
    if (this.#failure !== undefined) throw this.#failure.error instanceof Error ? this.#failure.error : new Error(String(this.#failure.error));
    if (this.#proved !== spans) throw new ShoalError('INCOMPLETE_SLOT', `${String(this.#proved)} of ${String(spans)} spans are in ${this.#slot.partial}`, { ids: { path: this.#slot.path } });
  }

  /** After a failed sync nothing is known of what was written: no second one may hide it. */
  async #round(sync: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      const batch = this.#waiting;
      this.#waiting = [];
      this.#waitingBytes = 0;
      await sync();
      let next = this.#read(batch[0]);
      for (const [at, written] of batch.entries()) {
        const bytes = await next;
        next = this.#read(batch[at + 1]);
        // It may fail while this one is hashed; it is reported when its turn comes.
        next.catch(() => undefined);
        await this.#prove(written, bytes);
      }
    } catch (error) {
      this.#failure = { error };
    }
  }

  async #read(written: Written | undefined): Promise<Uint8Array> {
    if (written === undefined) return new Uint8Array();
    const { offset, bytes } = written.span;
    const buffer = this.#buffers.pop() ?? new Uint8Array(SPAN_MAX_BYTES);
    return this.#slot.readInto(buffer.subarray(0, bytes), offset);
  }

  async #prove({ span, chunks }: Written, bytes: Uint8Array): Promise<void> {
    const actual = await this.#ids(bytes, chunks);
    let at = 0;
    for (const [index, { id, length }] of chunks.entries()) {
      if (actual[index] !== id) {
        throw new ShoalError('MEDIUM_MISMATCH', `${this.#slot.partial} reads back as other bytes than were written, at ${String(span.offset + at)}`, {
          ids: { path: this.#slot.path, span: span.index, expected: id, actual: actual[index] ?? '' },
          retry: 'again',
          hint: 'The medium may be failing, or something else wrote to the file. Run it again: damaged chunks are fetched anew.',
        });
      }
      at += length;
    }
    this.#proved++;
  }

  /** The ids of what lies in `bytes` where `chunks` should; gives the buffer back. */
  async #ids(bytes: Uint8Array, chunks: readonly ChunkRef[]): Promise<readonly ObjectId[]> {
    if (this.#thread === undefined) {
      let at = 0;
      const ids = chunks.map(({ length }) => chunkIdOf(bytes.subarray(at, (at += length))));
      this.#buffers.push(new Uint8Array(bytes.buffer));
      return ids;
    }
    const done = await this.#thread.hash(bytes, chunks.map(({ length }) => length));
    this.#buffers.push(new Uint8Array(done.bytes.buffer));
    return chunks.map((_, index) => idFromBytes(done.hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)));
  }
}
