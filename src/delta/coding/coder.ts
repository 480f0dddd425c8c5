import type { BitCoder } from './model.ts';

/**
 * Range coder with 16-bit probabilities in 48 bits of state, which a JavaScript number holds exactly: the twin of
 * native/delta/coding/range_coder.h (docs/delta.md, "Range coder").
 */
const TOP = 2 ** 48;
const LEAST = 2 ** 32;

export class RangeEncoder implements BitCoder {
  readonly decodes = false;
  #out = new Uint8Array(1024);
  #length = 0;
  #low = 0;
  #range = TOP - 1;

  bit(p: number, bit: number): number {
    const bound = Math.floor(this.#range / 65536) * p;
    if (bit !== 0) {
      this.#range = bound;
    } else {
      this.#low += bound;
      this.#range -= bound;
    }
    if (this.#range < LEAST) this.#shift();
    return bit;
  }

  peek(): number {
    return 0;
  }

  raw(count: number, value: number): number {
    this.#range = Math.floor(this.#range / 2 ** count);
    this.#low += this.#range * value;
    if (this.#range < LEAST) this.#shift();
    return value;
  }

  take(start: number, width: number): void {
    const unit = Math.floor(this.#range / 65536);
    this.#low += unit * start;
    this.#range = unit * width;
    if (this.#range < LEAST) this.#shift();
  }

  /** All bytes. Of the numbers that decode to what was coded, the one with the most zeros at its end: decoders read zeros there. */
  finish(): Uint8Array {
    // Nothing was coded.
    if (this.#range === TOP - 1) return new Uint8Array(0);
    for (let bits = 47; bits >= 0; bits--) {
      const end = Math.floor((this.#low + this.#range - 1) / 2 ** bits) * 2 ** bits;
      if (end < this.#low) continue;
      this.#low = end;
      break;
    }
    for (let i = 0; i < 3; i++) this.#shift();
    while (this.#length > 0 && this.#out[this.#length - 1] === 0) this.#length--;
    return this.#out.slice(0, this.#length);
  }

  #shift(): void {
    if (this.#low >= TOP) {
      for (let i = this.#length - 1; i >= 0; i--) {
        const byte = ((this.#out[i] as number) + 1) & 0xff;
        this.#out[i] = byte;
        if (byte !== 0) break;
      }
      this.#low -= TOP;
    }
    if (this.#length + 2 > this.#out.length) {
      const grown = new Uint8Array(this.#out.length * 2);
      grown.set(this.#out);
      this.#out = grown;
    }
    const high = Math.floor(this.#low / LEAST);
    this.#out[this.#length++] = high >>> 8;
    this.#out[this.#length++] = high;
    this.#low = (this.#low - high * LEAST) * 65536;
    this.#range *= 65536;
  }
}

/** Reads zeros past the end of its input: damaged bytes decode to something wrong, never out of bounds. */
export class RangeDecoder implements BitCoder {
  readonly decodes = true;
  readonly #in: Uint8Array;
  #at = 0;
  #range = TOP - 1;
  #code = 0;

  constructor(bytes: Uint8Array) {
    this.#in = bytes;
    for (let i = 0; i < 3; i++) this.#code = this.#code * 65536 + this.#next();
  }

  bit(p: number, _bit: number): number {
    const bound = Math.floor(this.#range / 65536) * p;
    let bit = 0;
    if (this.#code < bound) {
      this.#range = bound;
      bit = 1;
    } else {
      this.#code -= bound;
      this.#range -= bound;
    }
    if (this.#range < LEAST) this.#shift();
    return bit;
  }

  peek(): number {
    return Math.min(65535, Math.floor(this.#code / Math.floor(this.#range / 65536)));
  }

  raw(count: number, _value: number): number {
    this.#range = Math.floor(this.#range / 2 ** count);
    const value = Math.min(Math.floor(this.#code / this.#range), 2 ** count - 1);
    this.#code -= value * this.#range;
    if (this.#range < LEAST) this.#shift();
    return value;
  }

  take(start: number, width: number): void {
    const unit = Math.floor(this.#range / 65536);
    this.#code -= unit * start;
    this.#range = unit * width;
    if (this.#range < LEAST) this.#shift();
  }

  #shift(): void {
    // Only damaged bytes make a code above the range: it is kept within 48 bits.
    this.#code = (this.#code % LEAST) * 65536 + this.#next();
    this.#range *= 65536;
  }

  #next(): number {
    const high = this.#at < this.#in.length ? (this.#in[this.#at++] as number) : 0;
    const low = this.#at < this.#in.length ? (this.#in[this.#at++] as number) : 0;
    return (high << 8) | low;
  }
}
