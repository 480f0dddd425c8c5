import type { BitCoder } from './model.ts';

/** Binary range coder with 16-bit probabilities: the twin of native/delta/range_coder.h (docs/delta.md, "Range coder"). */
export class RangeEncoder implements BitCoder {
  readonly decodes = false;
  #out = new Uint8Array(1024);
  #length = 0;
  #low = 0;
  #range = 0xffff_ffff;
  #pending = 0;
  #cache = 0;
  #started = false;

  bit(p: number, bit: number): number {
    const bound = (this.#range >>> 16) * p;
    if (bit !== 0) {
      this.#range = bound;
    } else {
      this.#low += bound;
      this.#range -= bound;
    }
    while (this.#range < 0x0100_0000) {
      this.#shiftLow();
      this.#range *= 256;
    }
    return bit;
  }

  /** All bytes; a decoder reads zeros past the end, so none is kept there. */
  finish(): Uint8Array {
    for (let i = 0; i < 5; i++) this.#shiftLow();
    while (this.#length > 0 && this.#out[this.#length - 1] === 0) this.#length--;
    return this.#out.slice(0, this.#length);
  }

  #shiftLow(): void {
    if (this.#low < 0xff00_0000 || this.#low >= 0x1_0000_0000) {
      const carry = this.#low >= 0x1_0000_0000 ? 1 : 0;
      if (this.#started) this.#push(this.#cache + carry);
      this.#started = true;
      for (; this.#pending > 0; this.#pending--) this.#push(0xff + carry);
      this.#cache = Math.floor(this.#low / 0x0100_0000) & 0xff;
    } else {
      this.#pending++;
    }
    this.#low = (this.#low % 0x0100_0000) * 256;
  }

  #push(byte: number): void {
    if (this.#length === this.#out.length) {
      const grown = new Uint8Array(this.#out.length * 2);
      grown.set(this.#out);
      this.#out = grown;
    }
    this.#out[this.#length++] = byte;
  }
}

/** Reads zeros past the end of its input: damaged bytes decode to something wrong, never out of bounds. */
export class RangeDecoder implements BitCoder {
  readonly decodes = true;
  readonly #in: Uint8Array;
  #at = 0;
  #range = 0xffff_ffff;
  #code = 0;

  constructor(bytes: Uint8Array) {
    this.#in = bytes;
    for (let i = 0; i < 4; i++) this.#code = ((this.#code << 8) | this.#next()) >>> 0;
  }

  bit(p: number, _bit: number): number {
    const bound = (this.#range >>> 16) * p;
    let bit = 0;
    if (this.#code < bound) {
      this.#range = bound;
      bit = 1;
    } else {
      this.#code -= bound;
      this.#range -= bound;
    }
    while (this.#range < 0x0100_0000) {
      this.#code = ((this.#code << 8) | this.#next()) >>> 0;
      this.#range *= 256;
    }
    return bit;
  }

  #next(): number {
    return this.#at < this.#in.length ? (this.#in[this.#at++] as number) : 0;
  }
}
