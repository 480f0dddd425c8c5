import { availableParallelism } from 'node:os';
import { ShoalError } from '../core/errors.ts';
import { idsFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { SPAN_MAX_BYTES } from '../core/limits.ts';
import type { FileSlot } from '../install/file-slot.ts';
import { hashesBeside } from '../kernel/hash.ts';
import { HashThread } from '../kernel/hash-thread.ts';
import type { ChunkRef } from '../merkle/page.ts';
import type { Span } from '../merkle/reader.ts';
import { hashingRoom } from '../kernel/hash-file.ts';
import { ahead } from './ahead.ts';

/** Spans are brought to the medium when they make this many bytes; towards the end sooner, so that little is left for it. */
const FLUSH_MOST_BYTES = 32 * 1024 * 1024;
const FLUSH_LEAST_BYTES = 4 * 1024 * 1024;
/** Spans read back at a time: one is hashed while others are read. Each has `SPAN_MAX_BYTES` of memory at most. */
const PROVE_AHEAD = 3;

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
  readonly #fromMedium: boolean;
  /** What the largest span may need. */
  readonly #largest: number;
  #waiting: Written[] = [];
  #waitingBytes = 0;
  /** Bytes that have not been added yet. */
  #expected: number;
  #proved = 0;
  /** One batch is brought to the medium while the one before is proved. */
  #syncing: Promise<void> | undefined;
  #proving: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  readonly #buffers: Uint8Array[] = [];
  /** Hashes beside what is being received, where the pool cannot. Started only for what is large enough, and where there is a second core. */
  #thread: HashThread | undefined;
  #start: () => HashThread | undefined;

  /** `size` is that of the artifact; `fromMedium` as in `DownloadOptions`. Where `start` gives no thread, everything is hashed in this one. */
  constructor(slot: FileSlot, size: number, fromMedium = false, start: () => HashThread | undefined = () => (!hashesBeside && availableParallelism() > 1 ? new HashThread() : undefined)) {
    this.#slot = slot;
    this.#fromMedium = fromMedium;
    this.#expected = size;
    this.#largest = Math.min(SPAN_MAX_BYTES, size);
    this.#start = start;
  }

  /** `span` has been written whole. */
  add(span: Span, chunks: readonly ChunkRef[]): void {
    this.#waiting.push({ span, chunks });
    this.#waitingBytes += span.bytes;
    this.#expected -= span.bytes;
    const enough = Math.min(FLUSH_MOST_BYTES, Math.max(FLUSH_LEAST_BYTES, this.#expected / 2));
    if (this.#waitingBytes < enough || this.#failure !== undefined) return;
    if (this.#expected + this.#waitingBytes > FLUSH_MOST_BYTES) this.#thread ??= this.#start();
    this.#syncing ??= this.#bring(() => this.#slot.flush()).finally(() => {
      this.#syncing = undefined;
    });
  }

  /** Ends it: waits until nothing is read or synced any more, whatever became of it. */
  async close(): Promise<void> {
    await this.#syncing;
    await this.#proving;
    await this.#thread?.close();
  }

  /**
   * Cuts the slot to `size`, brings the rest to the medium and proves it. Throws `MEDIUM_MISMATCH` (retry again) naming the
   * span that reads back as other bytes, `INCOMPLETE_SLOT` unless all `spans` were added, or what the slot throws.
   */
  async finish(size: number, spans: number): Promise<void> {
    await this.#syncing;
    await this.#bring(() => this.#slot.sync(size));
    await this.#proving;
    if (this.#failure !== undefined) throw this.#failure.error instanceof Error ? this.#failure.error : new Error(String(this.#failure.error));
    if (this.#proved !== spans) throw new ShoalError('INCOMPLETE_SLOT', `${String(this.#proved)} of ${String(spans)} spans are in ${this.#slot.partial}`, { ids: { path: this.#slot.path } });
  }

  /** Syncs what is waiting, and has it proved. After a failed sync nothing is known of what was written: no second one may hide it. */
  async #bring(sync: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      await sync();
    } catch (error) {
      this.#failure = { error };
      return;
    }
    this.#proving = this.#proving.then(() => this.#prove(batch));
  }

  async #prove(batch: readonly Written[]): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      for await (const [written, ids] of ahead(batch, PROVE_AHEAD, async (each) => [each, await this.#ids(each)] as const)) await this.#compare(written, ids);
    } catch (error) {
      this.#failure = { error };
    }
  }

  async #read({ span: { offset, bytes } }: Written): Promise<Uint8Array> {
    return this.#slot.readInto(this.#buffer().subarray(0, bytes), offset);
  }

  #buffer(): Uint8Array {
    return this.#buffers.pop() ?? new Uint8Array(this.#slot.hashesDirectly ? hashingRoom(this.#largest) : this.#largest);
  }

  async #compare({ span, chunks }: Written, actual: readonly ObjectId[]): Promise<void> {
    let at = 0;
    for (const [index, { id, length }] of chunks.entries()) {
      if (actual[index] !== id) {
        if (this.#fromMedium) await this.#slot.spoil(span.offset + at);
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

  /** The ids of what is read back where the chunks should be. */
  async #ids(written: Written): Promise<readonly ObjectId[]> {
    const lengths = written.chunks.map(({ length }) => length);
    const thread = this.#thread;
    if (thread !== undefined) {
      const bytes = await this.#read(written);
      try {
        const done = await thread.hash(bytes, lengths);
        this.#buffers.push(new Uint8Array(done.bytes.buffer));
        return idsFromBytes(done.hashes, lengths.length);
      } catch {
        // A thread that does not start or dies (little memory) is done without; it took the buffer with it.
        this.#start = () => undefined;
        this.#thread = undefined;
      }
    }
    const room = this.#buffer();
    const ids = idsFromBytes(await this.#slot.hashes(written.span.offset, lengths, room, this.#fromMedium), lengths.length);
    this.#buffers.push(room);
    return ids;
  }
}
