import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';
import { nibble, nibbleModels } from './nibbles.ts';

/** How fields change, and numbers: the twin of native/delta/coding/change.h (docs/delta.md, "Changes", "Numbers"). */

export const log2Floor = (v: number): number => 31 - Math.clz32(v);

/** Four bytes, fewer at the end of a stretch, little-endian. */
export class Field {
  /** As predicted. */
  value = 0;
  /** As it is to become: only an encoder knows. */
  want = 0;
  mask = 0;
  room = 0;

  set(coder: BitCoder, predicted: Uint8Array, target: Uint8Array, at: number, end: number): void {
    this.room = Math.min(4, end - at);
    this.mask = this.room === 4 ? 0xffff_ffff : 2 ** (8 * this.room) - 1;
    this.value = this.#read(predicted, at);
    this.want = coder.decodes ? 0 : this.#read(target, at);
  }

  write(into: Uint8Array, at: number, by: number): void {
    const v = (this.value + by) >>> 0;
    for (let k = 0; k < this.room; k++) into[at + k] = v >>> (8 * k);
  }

  #read(from: Uint8Array, at: number): number {
    let v = 0;
    for (let k = 0; k < this.room; k++) v |= (from[at + k] as number) << (8 * k);
    return v >>> 0;
  }
}

/** 256 rows of sites, two of tables. */
export const CHANGE_ROWS = 258;

export class Changes {
  readonly #coder: BitCoder;
  readonly #size = nibbleModels(CHANGE_ROWS);
  readonly #top = nibbleModels(2 * 16);
  readonly #small = nibbleModels(7 * 8);
  readonly #low = nibbleModels(32);

  constructor(coder: BitCoder) {
    this.#coder = coder;
  }

  /**
   * Half of the size class; its other half, the sign and the two bits below the leading one; then the bits that are left.
   * Never 0, modulo 2^32.
   */
  code(row: number, f: Field): number {
    const coder = this.#coder;
    let magnitude = 1;
    let bits = 0;
    let sub = 0;
    if (!coder.decodes) {
      const d = ((f.want - f.value) & f.mask) >>> 0;
      const negative = d > f.mask >>> 1;
      magnitude = negative ? (-d & f.mask) >>> 0 : d;
      bits = log2Floor(magnitude);
      sub = ((bits & 1) << 3) | (negative ? 4 : 0) | (bits >= 2 ? (magnitude >>> (bits - 2)) & 3 : bits === 1 ? (magnitude & 1) << 1 : 0);
    }
    const half = nibble(coder, this.#size, row, bits >>> 1);
    sub = nibble(coder, this.#top, (row >= CHANGE_ROWS - 2 ? 16 : 0) + half, sub);
    bits = (half << 1) | (sub >>> 3);
    const negative = (sub & 4) !== 0;
    let r = bits >= 2 ? 4 | (sub & 3) : bits === 1 ? 2 | ((sub >>> 1) & 1) : 1;
    let left = Math.max(0, bits - 2);
    if (bits <= 6) {
      const mask = (1 << left) - 1;
      if (left > 0) r = (r << left) | (nibble(coder, this.#small, bits * 8 + (sub & 7), magnitude & mask) & mask);
      return (negative ? -r : r) >>> 0;
    }
    while (left > 4) {
      const some = Math.min(left - 4, 16);
      left -= some;
      r = (r << some) | coder.raw(some, (magnitude >>> left) & (2 ** some - 1));
    }
    r = (r << 4) | nibble(coder, this.#low, bits, magnitude & 15);
    return (negative ? -r : r) >>> 0;
  }
}

/** Numbers of 0 to 2^32 - 2 in Elias' gamma code with learned bits; each expects to be about as large as the last. */
export class Gamma {
  readonly #coder: BitCoder;
  readonly #more = models(32 * 32, 0xc000_0000);
  readonly #bits = models(32 * 32);
  #last = 0;

  constructor(coder: BitCoder) {
    this.#coder = coder;
  }

  code(number: number): number {
    const n = number + 1;
    const want = log2Floor(n);
    let size = 0;
    while (size < 31 && plain(this.#coder, this.#more, this.#last * 32 + size, size < want ? 1 : 0) !== 0) size++;
    this.#last = size;
    let r = 1;
    for (let k = size; k-- > 0; ) r = ((r << 1) | plain(this.#coder, this.#bits, size * 32 + k, (n >>> k) & 1)) >>> 0;
    return r - 1;
  }
}

/**
 * Counts how often something happened until the next exception, in a coder of its own: an encoder writes a count when the
 * exception is there, a decoder reads it ahead. Nothing at all stands for no exception: past the end come zeros, which is the
 * largest count.
 */
export class Countdown {
  readonly #numbers: Gamma;
  #left: number;
  #any = false;

  constructor(coder: BitCoder) {
    this.#numbers = new Gamma(coder);
    this.#left = coder.decodes ? this.#numbers.code(0) : 0;
  }

  /** For decoders: how many of the next `most` are as expected; fewer: then comes an exception. */
  take(most: number): number {
    if (this.#left >= most) {
      this.#left -= most;
      return most;
    }
    const n = this.#left;
    this.#left = this.#numbers.code(0);
    return n;
  }

  /** For encoders. */
  add(count: number): void {
    this.#left += count;
  }

  exception(): void {
    this.#numbers.code(this.#left);
    this.#left = 0;
    this.#any = true;
  }

  finish(): void {
    if (this.#any) this.#numbers.code(this.#left);
  }
}
