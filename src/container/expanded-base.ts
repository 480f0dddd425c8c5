import { ShoalError } from '../core/errors.ts';
import { CONTAINER_CACHE_BYTES } from '../core/limits.ts';
import { decodeStream } from './codec.ts';
import type { Streams } from './streams.ts';

/** Bytes of memory that are kept for the next streams. */
const SPARE_BYTES = 2 * 1024 * 1024;

/** Reads up to `length` bytes at `position` into `buffer` from `offset` on; 0 bytes mean the end. */
export interface Reader {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/**
 * A base as deltas with containers see it: the artifact as it is, and behind its end what its streams hold, one after another.
 * Streams are decoded when they are read, one at a time, and the last ones are kept: memory is that and one stream.
 */
export class ExpandedBase implements Reader {
  readonly #base: Reader;
  readonly #size: number;
  readonly #streams: Streams;
  /** Where what each stream holds ends. */
  readonly #ends: Float64Array;
  /** Newest last. */
  readonly #kept = new Map<number, Uint8Array>();
  #keptBytes = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #room = Buffer.alloc(0);
  /** Memory of streams that were let go: nearly all of a file system hold as much. */
  readonly #spare: ArrayBuffer[] = [];

  constructor(base: Reader, size: number, streams: Streams) {
    this.#base = base;
    this.#size = size;
    this.#streams = streams;
    let end = size;
    this.#ends = Float64Array.from(streams.held, (held) => (end += held));
  }

  /** @throws ShoalError `BASE_DRIFTED` when a stream is not what it was; what the base's reader throws */
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }> {
    if (position < this.#size) return this.#base.read(buffer, offset, Math.min(length, this.#size - position), position);
    const reading = this.#turn.then(() => this.#read(buffer, offset, length, position));
    // A failed read is its caller's affair, not that of the next one.
    this.#turn = reading.catch(() => undefined);
    return reading;
  }

  async #read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }> {
    let done = 0;
    for (let n = this.#streamAt(position); n < this.#ends.length && done < length; n++) {
      const begin = (this.#ends[n] as number) - (this.#streams.held[n] as number);
      const content = await this.#content(n);
      const from = position + done - begin;
      const some = content.subarray(from, from + length - done);
      buffer.set(some, offset + done);
      done += some.length;
    }
    return { bytesRead: done };
  }

  /** The stream whose content covers a position. */
  #streamAt(position: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ends[middle] as number) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #content(n: number): Promise<Uint8Array> {
    const kept = this.#kept.get(n);
    if (kept !== undefined) {
      this.#kept.delete(n);
      this.#kept.set(n, kept);
      return kept;
    }
    const content = await this.#decode(n);
    this.#kept.set(n, content);
    this.#keptBytes += content.buffer.byteLength;
    for (const [oldest, bytes] of this.#kept) {
      if (this.#keptBytes <= CONTAINER_CACHE_BYTES || oldest === n) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= bytes.buffer.byteLength;
      this.#spare.push(bytes.buffer as ArrayBuffer);
    }
    return content;
  }

  #memory(held: number): Uint8Array {
    // Not much more than is needed: it counts whole while it is kept.
    const at = this.#spare.findIndex(({ byteLength }) => byteLength >= held && byteLength <= 2 * held);
    const [found] = at < 0 ? [] : this.#spare.splice(at, 1);
    // What is left of old is of sizes that nobody asks for.
    for (let bytes = this.#spare.reduce((sum, { byteLength }) => sum + byteLength, 0); bytes > SPARE_BYTES; ) bytes -= this.#spare.shift()?.byteLength ?? bytes;
    return new Uint8Array(found ?? new ArrayBuffer(held), 0, held);
  }

  async #decode(n: number): Promise<Uint8Array> {
    const [at, size, held] = [this.#streams.at[n] as number, this.#streams.size[n] as number, this.#streams.held[n] as number];
    if (this.#room.length < size) this.#room = Buffer.allocUnsafeSlow(size);
    const bytes = this.#room.subarray(0, size);
    for (let done = 0; done < size; ) {
      const { bytesRead } = await this.#base.read(bytes, done, size - done, at + done);
      if (bytesRead === 0) throw new ShoalError('BASE_TOO_SHORT', `the base ends at ${String(at + done)}, before the delta expects it`);
      done += bytesRead;
    }
    const content = this.#memory(held);
    if (!(await decodeStream(bytes, this.#streams.coding[n] as number, content))) throw drifted(n);
    return content;
  }
}

function drifted(stream: number): ShoalError {
  return new ShoalError('BASE_DRIFTED', `stream ${String(stream)} of the base is not what the delta was made from`, { ids: { stream } });
}
