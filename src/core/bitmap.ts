import { ShoalError } from './errors.ts';
import { ARTIFACT_MAX_SPANS } from './limits.ts';

/**
 * A fixed number of bits, bit `i` in byte `i >> 3` at position `i & 7` (least significant first). The wire form is the
 * bytes alone; bits past the count are zero, so one set of bits has one encoding. Used for the spans a source holds.
 */
export class Bitmap {
  readonly count: number;
  readonly #bytes: Uint8Array;
  #set = 0;

  constructor(count: number) {
    if (!Number.isSafeInteger(count) || count < 0 || count > ARTIFACT_MAX_SPANS) {
      throw new ShoalError('BAD_BITMAP', `a bitmap of ${String(count)} bits is out of range`);
    }
    this.count = count;
    this.#bytes = new Uint8Array((count + 7) >> 3);
  }

  /** Reads the wire form of a bitmap of `count` bits. Throws `BAD_BITMAP` on another length or set padding. */
  static decode(bytes: Uint8Array, count: number): Bitmap {
    const bitmap = new Bitmap(count);
    if (bytes.byteLength !== bitmap.#bytes.byteLength) {
      throw new ShoalError('BAD_BITMAP', `a bitmap of ${String(count)} bits takes ${String(bitmap.#bytes.byteLength)} bytes, not ${String(bytes.byteLength)}`);
    }
    const spare = count & 7;
    if (spare !== 0 && (bytes.at(-1) ?? 0) >> spare !== 0) {
      throw new ShoalError('BAD_BITMAP', 'the padding bits of a bitmap must be zero');
    }
    bitmap.#bytes.set(bytes);
    for (let index = 0; index < count; index++) if (bitmap.has(index)) bitmap.#set++;
    return bitmap;
  }

  /** How many bits are set. */
  get size(): number {
    return this.#set;
  }

  get complete(): boolean {
    return this.#set === this.count;
  }

  has(index: number): boolean {
    return index >= 0 && index < this.count && ((this.#bytes[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  add(index: number): void {
    this.#check(index);
    if (this.has(index)) return;
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] ?? 0) | (1 << (index & 7));
    this.#set++;
  }

  delete(index: number): void {
    this.#check(index);
    if (!this.has(index)) return;
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] ?? 0) & ~(1 << (index & 7));
    this.#set--;
  }

  encode(): Uint8Array {
    return this.#bytes.slice();
  }

  #check(index: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.count) {
      throw new ShoalError('BAD_BITMAP', `bit ${String(index)} is outside a bitmap of ${String(this.count)} bits`);
    }
  }
}
