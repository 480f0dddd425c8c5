import { ShoalError } from './errors.ts';
import { ID_BYTES, idFromBytes, idToBytes } from './ids.ts';
import type { ObjectId } from './ids.ts';

/**
 * The canonical byte codec: fixed-width little-endian integers and raw digests, no optional forms, so that one value has
 * one encoding. Everything variable is preceded by a count that the reader's caller bounds before use.
 */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  /** Writes into `memory` as long as that has room, else into its own. */
  constructor(capacity = 256, memory?: Uint8Array) {
    this.#bytes = memory === undefined || memory.byteLength < capacity ? Buffer.allocUnsafe(capacity) : Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
  }

  get length(): number {
    return this.#length;
  }

  /** An unsigned integer of `width` bytes (1 to 6). Throws `ENCODE_RANGE` when the value does not fit. */
  uint(value: number, width: 1 | 2 | 3 | 4 | 5 | 6): this {
    if (!Number.isSafeInteger(value) || value < 0 || value >= 2 ** (8 * width)) {
      throw new ShoalError('ENCODE_RANGE', `${String(value)} does not fit an unsigned field of ${String(width)} bytes`);
    }
    this.#reserve(width);
    this.#bytes.writeUIntLE(value, this.#length, width);
    this.#length += width;
    return this;
  }

  /** An unsigned integer in as few bytes as it needs: seven bits each, the lowest first, 128 added to all but the last (LEB128). */
  number(value: number): this {
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.uint((rest % 128) + 128, 1);
    return this.uint(rest, 1);
  }

  id(id: ObjectId): this {
    return this.raw(idToBytes(id));
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
    return this;
  }

  /** What was written, where it was written: as long as nobody writes there again. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** What was written, as bytes of their own. */
  finish(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, 0, this.#length);
  }

  #reserve(more: number): void {
    const need = this.#length + more;
    if (need <= this.#bytes.byteLength) return;
    const grown = Buffer.allocUnsafe(Math.max(need, this.#bytes.byteLength * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Reads what `ByteWriter` wrote. Every read past the end throws `TRUNCATED`; `end()` refuses trailing bytes. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #offset = 0;

  /** `what` names the thing being read in errors, for example "leaf page". */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get remaining(): number {
    return this.#bytes.byteLength - this.#offset;
  }

  uint(width: 1 | 2 | 3 | 4 | 5 | 6): number {
    const at = this.#take(width);
    return this.#bytes.readUIntLE(at, width);
  }

  /** What `ByteWriter.number` wrote, below 2^49. Throws `ENCODE_RANGE` for longer ones. */
  number(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 42; scale *= 128) {
      const byte = this.uint(1);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new ShoalError('ENCODE_RANGE', `a number in the ${this.#what} is too long`);
  }

  id(): ObjectId {
    return idFromBytes(this.raw(ID_BYTES));
  }

  /** A view of the next `length` bytes, not a copy. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  end(): void {
    if (this.remaining !== 0) {
      throw new ShoalError('TRAILING_BYTES', `${String(this.remaining)} bytes follow the end of the ${this.#what}`);
    }
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw new ShoalError('TRUNCATED', `the ${this.#what} ends after ${String(this.#bytes.byteLength)} bytes, in the middle of a field`);
    }
    const at = this.#offset;
    this.#offset += length;
    return at;
  }
}
