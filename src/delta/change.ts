import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';

/** How fields change, and numbers: the twin of native/delta/change.h (docs/delta.md, "Changes", "Numbers"). */

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
  readonly #size = models(CHANGE_ROWS * 32);
  readonly #sign = models(32);
  readonly #small = models(16 * 128);
  readonly #high = models(32 * 8);
  readonly #low = models(32 * 16);

  constructor(coder: BitCoder) {
    this.#coder = coder;
  }

  /** Size class, sign, then the bits, the lowest four last. Never 0, modulo 2^32. */
  code(row: number, f: Field): number {
    const coder = this.#coder;
    let magnitude = 1;
    let negative = 0;
    if (!coder.decodes) {
      const d = ((f.want - f.value) & f.mask) >>> 0;
      negative = d > f.mask >>> 1 ? 1 : 0;
      magnitude = negative === 0 ? d : (-d & f.mask) >>> 0;
    }
    const want = log2Floor(magnitude);
    let node = 1;
    for (let b = 5; b-- > 0; ) node = (node << 1) | plain(coder, this.#size, row * 32 + node, (want >>> b) & 1);
    const bits = node & 31;
    negative = plain(coder, this.#sign, bits, negative);
    let r = 1;
    if (bits <= 7) {
      for (let k = bits; k-- > 0; ) r = (r << 1) | plain(coder, this.#small, (bits + 8 * negative) * 128 + r, (magnitude >>> k) & 1);
      return (negative === 0 ? r : -r) >>> 0;
    }
    let k = bits;
    for (let n = 0; n < 3; n++) {
      k--;
      r = (r << 1) | plain(coder, this.#high, bits * 8 + r, (magnitude >>> k) & 1);
    }
    while (k > 4) {
      const some = Math.min(k - 4, 16);
      k -= some;
      r = (r << some) | coder.raw(some, (magnitude >>> k) & (2 ** some - 1));
    }
    let tail = 1;
    let low = 0;
    for (let b = 0; b < 4; b++) {
      const bit = plain(coder, this.#low, bits * 16 + tail, (magnitude >>> b) & 1);
      tail = (tail << 1) | bit;
      low |= bit << b;
    }
    r = (r << 4) | low;
    return (negative === 0 ? r : -r) >>> 0;
  }
}

/** Numbers of 0 to 2^32 - 2 in Elias' gamma code with learned bits; each expects to be about as large as the last. */
export class Gamma {
  readonly #coder: BitCoder;
  readonly #more = models(32 * 32);
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
