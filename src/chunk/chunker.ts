import { ShoalError } from '../core/errors.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { SCAN_MAX_BYTES, type Scanner, defaultScanner, findCuts } from './cuts.ts';
import { checkChunking } from './params.ts';

/** A chunk of a stream. */
export interface Chunk {
  /** Of the first byte, in the stream. */
  readonly offset: number;
  readonly length: number;
  /** A view of a buffer that is used again: valid until the iterator that gave it is asked for the next chunk. */
  readonly bytes: Uint8Array;
}

/** Bytes scanned at a time: fits a core's second-level cache together with what hashing needs. */
export const WINDOW_BYTES = 1024 * 1024;

/**
 * Cuts a stream that comes in pieces of any size. How the stream is divided into pieces makes no difference to the
 * chunks. Memory: one buffer of `WINDOW_BYTES` and two chunks of the greatest size, whatever is pushed.
 */
export class Chunker {
  readonly #params: ChunkingRecord;
  readonly #scanner: Scanner;
  readonly #buffer: Buffer;
  #from = 0;
  #to = 0;
  #offset = 0;
  #ended = false;

  /** @throws ShoalError as `checkChunking` does */
  constructor(params: ChunkingRecord, scanner: Scanner = defaultScanner) {
    this.#params = checkChunking(params);
    this.#scanner = scanner;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(SCAN_MAX_BYTES, WINDOW_BYTES + 2 * params.max));
  }

  /** Bytes of the stream in chunks that were given out. */
  get offset(): number {
    return this.#offset;
  }

  /** Takes `data` and gives out the chunks that are complete. To be iterated to the end before the next call. */
  *push(data: Uint8Array): Generator<Chunk, void, undefined> {
    for (let taken = 0; taken < data.length; ) {
      const space = this.space();
      const some = data.subarray(taken, taken + space.length);
      space.set(some);
      taken += some.length;
      yield* this.advance(some.length);
    }
  }

  /** Where the next bytes may be written directly: never empty. Announce them with `advance`. */
  space(): Uint8Array {
    if (this.#ended) throw new ShoalError('CHUNKER_ENDED', 'the stream has ended; a chunker takes no further bytes');
    if (this.#from > 0) {
      this.#buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    return this.#buffer.subarray(this.#to);
  }

  /**
   * Says that `length` bytes were written to the front of `space()`. Gives out chunks once enough has come for a scan
   * to be worth while: bytes that arrive one by one are scanned only a few times over.
   */
  *advance(length: number): Generator<Chunk, void, undefined> {
    if (!Number.isSafeInteger(length) || length < 0 || length > this.#buffer.length - this.#to) {
      throw new ShoalError('CHUNKER_SPACE', `${String(length)} bytes do not fit the space of a chunker`);
    }
    this.#to += length;
    if (this.#to - this.#from >= this.#params.max + WINDOW_BYTES / 2) yield* this.#cut(false);
  }

  /** Ends the stream and gives out the rest. */
  *end(): Generator<Chunk, void, undefined> {
    if (this.#ended) throw new ShoalError('CHUNKER_ENDED', 'the stream has ended already');
    this.#ended = true;
    yield* this.#cut(true);
  }

  *#cut(final: boolean): Generator<Chunk, void, undefined> {
    const begin = this.#from;
    for (const cut of findCuts(this.#buffer.subarray(begin, this.#to), this.#params, final, this.#scanner)) {
      const bytes = this.#buffer.subarray(this.#from, begin + cut);
      const offset = this.#offset;
      // Moved on first, so that a consumer that stops early leaves the chunker consistent.
      this.#from = begin + cut;
      this.#offset += bytes.length;
      yield { offset, length: bytes.length, bytes };
    }
  }
}
