/** Numbers outside the range coder, seven bits a byte, the lowest first: the twin of native/delta/common/numbers.h (docs/delta.md, "Rules"). */
export class Numbers {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number | undefined {
    return this.#bytes[this.at++];
  }

  /** The next bytes; undefined: there are not as many. */
  take(count: number | undefined): Uint8Array | undefined {
    if (count === undefined || count > this.#bytes.length - this.at) return undefined;
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }

  /** A number of at most `digits` bytes and at most `most`; undefined: damaged. */
  number(most: number, digits = 8): number | undefined {
    let v = 0;
    for (let k = 0; k < digits; k++) {
      const b = this.byte();
      if (b === undefined) return undefined;
      v += (b & 127) * 2 ** (7 * k);
      if (b < 128) return v <= most ? v : undefined;
    }
    return undefined;
  }
}
