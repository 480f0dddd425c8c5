import { MixedBytes } from './mixed.ts';
import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';
import { NibbleBytes } from './nibbles.ts';

/** Codes stretches that nothing predicts: the twin of native/delta/coding/literals.h (docs/delta.md, "Literals"). */

const LITERAL_BLOCK = 1024;
const LEAST_RANDOM = 192;
const LEAST_REPEAT = 5;
const SEEN_BITS = 13;

/** How bytes are coded that follow nothing. */
export const LiteralWay = { MIXED: 0, NIBBLES: 1 } as const;

/** Bytes that pass beside the coder: an encoder collects them, a decoder takes them. Past their end come zeros. */
export class Aside {
  readonly taken: Uint8Array[] = [];
  readonly #given: Uint8Array;
  #at = 0;

  constructor(given: Uint8Array = new Uint8Array(0)) {
    this.#given = given;
  }

  next(length: number): Uint8Array {
    const piece = this.#given.subarray(this.#at, this.#at + length);
    this.#at += piece.length;
    return piece;
  }
}

export class Literals {
  readonly #coder: BitCoder;
  readonly #p: Uint8Array;
  readonly #t: Uint8Array;
  readonly #aside: Aside;
  readonly #random = models(1);
  readonly #repeats = models(64, 0xc000_0000);
  readonly #seen = new Uint32Array(1 << SEEN_BITS);
  readonly #bytes: MixedBytes | NibbleBytes;
  #last = 0;
  #from = 0;
  #repeated = 0;

  constructor(coder: BitCoder, bytes: Uint8Array, target: Uint8Array, aside: Aside, way: number) {
    this.#bytes = way === LiteralWay.MIXED ? new MixedBytes(coder) : new NibbleBytes(coder);
    this.#coder = coder;
    this.#p = bytes;
    this.#t = target;
    this.#aside = aside;
  }

  run(begin: number, end: number): void {
    for (let at = begin; at < end; at += LITERAL_BLOCK) {
      const size = Math.min(end - at, LITERAL_BLOCK);
      let random = 0;
      if (size >= LEAST_RANDOM) {
        if (!this.#coder.decodes) random = looksRandom(this.#t.subarray(at, at + size)) ? 1 : 0;
        random = plain(this.#coder, this.#random, 0, random);
      }
      if (random === 0) this.#modelled(at, at + size);
      else this.#pass(at, size);
    }
  }

  #pass(begin: number, size: number): void {
    if (this.#coder.decodes) {
      const piece = this.#aside.next(size);
      this.#p.set(piece, begin);
      this.#p.fill(0, begin + piece.length, begin + size);
    } else {
      const piece = this.#t.slice(begin, begin + size);
      this.#aside.taken.push(piece);
      this.#p.set(piece, begin);
    }
  }

  #modelled(begin: number, end: number): void {
    const p = this.#p;
    let from = this.#last === begin ? this.#from : 0;
    for (let i = begin; i < end; i++) {
      const recent = i >= 4 ? ((p[i - 4] as number) | ((p[i - 3] as number) << 8) | ((p[i - 2] as number) << 16) | ((p[i - 1] as number) << 24)) >>> 0 : 0;
      const fifth = i >= 5 ? (p[i - 5] as number) : 0;
      const at = Math.imul((recent + Math.imul(fifth, 0x9e37_79b1)) | 0, 0x85eb_ca6b) >>> (32 - SEEN_BITS);
      const seen = this.#seen[at] as number;
      if (from === 0 && seen !== 0) {
        const n = this.#common(seen, i);
        if (n >= LEAST_REPEAT) {
          from = seen;
          this.#repeated = n - LEAST_REPEAT + 1;
        }
      }
      this.#seen[at] = i;
      const want = this.#coder.decodes ? 0 : (this.#t[i] as number);
      if (from !== 0) {
        const guess = p[from] as number;
        if (plain(this.#coder, this.#repeats, Math.min(this.#repeated, 63), guess === want ? 1 : 0) !== 0) {
          p[i] = guess;
          from++;
          this.#repeated++;
          continue;
        }
        from = 0;
      }
      p[i] = this.#bytes.byte(recent, want);
    }
    this.#from = from;
    this.#last = end;
  }

  #common(a: number, b: number): number {
    let n = 0;
    while (n < 16 && n < a && this.#p[a - 1 - n] === this.#p[b - 1 - n]) n++;
    return n;
  }
}

function looksRandom(bytes: Uint8Array): boolean {
  const count = new Uint32Array(256);
  for (const byte of bytes) count[byte] = (count[byte] as number) + 1;
  let squares = 0;
  for (const c of count) squares += c * c;
  const size = bytes.length;
  // Sum of squares: size + size*(size-1)/256 when uniform.
  return (squares - size) * 256 < Math.floor((size * size * 7) / 4);
}
