import { Block } from './deflate-blocks.ts';

/**
 * Deflate with the very bytes of GNU gzip, at a level: the twin of what native/deflate does for it (docs/containers.md, "Encoders"). Slow, a
 * place at a time; nothing here is a device's everyday work.
 */

const WINDOW = 32768;
const LEAST_MATCH = 3;
const MOST_MATCH = 258;
/** The buffer of two windows is refilled when fewer bytes than this lie ahead. */
const AHEAD = MOST_MATCH + LEAST_MATCH + 1;
const FARTHEST = WINDOW - AHEAD;
/** Three bytes this far back cost more than three literals. */
const TOO_FAR = 4096;
const KEYS = 32768;
const SYMBOLS = 32767;
/** Levels from here on take a match only when the next byte has no longer one; and from here on blocks may end early. */
const LAZY_LEVEL = 4;
const STOPS_LEVEL = 3;

/** By level: good, lazy, nice, chain (docs/containers.md); native/deflate/effort.h has the same, as a test sees to. */
export const EFFORTS: readonly (readonly [number, number, number, number])[] = [
  [0, 0, 0, 0], [4, 4, 8, 4], [4, 5, 16, 8], [4, 6, 32, 32], [4, 4, 16, 16],
  [8, 16, 32, 32], [8, 16, 128, 128], [8, 32, 128, 256], [32, 128, 258, 1024], [32, 258, 258, 4096],
];

/** Raw deflate of `data`, at most 8 MiB of it, at levels 1 … 9. */
export function gnuDeflate(data: Uint8Array, level: number): Uint8Array {
  return new Encoder(data, level).run();
}

class Encoder {
  readonly #in: Uint8Array;
  readonly #good: number;
  readonly #lazy: number;
  readonly #nice: number;
  readonly #chain: number;
  readonly #level: number;
  readonly #block: Block;
  /** The newest place of each key, plus 1; and the place before each, plus 1. */
  readonly #head = new Int32Array(KEYS);
  readonly #before = new Int32Array(WINDOW);
  #pos = 0;
  #start = 0;
  #base = 0;
  #filled = 0;
  #ended = false;
  #match = 0;

  constructor(data: Uint8Array, level: number) {
    this.#in = data;
    this.#level = level;
    [this.#good, this.#lazy, this.#nice, this.#chain] = EFFORTS[level] ?? [0, 0, 0, 0];
    this.#block = new Block(SYMBOLS);
  }

  run(): Uint8Array {
    this.#fill();
    if (this.#level < LAZY_LEVEL) this.#greedy();
    else this.#lazily();
    this.#flush(true);
    return this.#block.bytes();
  }

  /** Nothing moves here; what the buffer would have forgotten cannot be matched, and a block that began before it cannot be stored. */
  #fill(): void {
    while (this.#filled - this.#pos < AHEAD && !this.#ended) {
      if (this.#pos - this.#base >= WINDOW + FARTHEST) this.#base += WINDOW;
      if (this.#filled === this.#in.length) this.#ended = true;
      this.#filled = Math.min(this.#in.length, this.#base + 2 * WINDOW);
    }
  }

  /** Enters a place and gives the one before it with the same key, −1 if there is none. */
  #insert(place: number): number {
    if (place + LEAST_MATCH > this.#in.length) return -1;
    const key = (((this.#in[place] as number) << 10) ^ ((this.#in[place + 1] as number) << 5) ^ (this.#in[place + 2] as number)) & (KEYS - 1);
    const newest = this.#head[key] as number;
    this.#before[place % WINDOW] = newest;
    this.#head[key] = place + 1;
    return newest - 1;
  }

  /** The longest match longer than `best`, from `place` on backwards; sets `#match`. */
  #longest(place: number, best: number): number {
    const bytes = this.#in;
    const pos = this.#pos;
    const left = bytes.length - pos;
    // Near the end it compares beyond it, where it has put two zeros and then has what its buffer had before.
    const near = left < MOST_MATCH;
    const byte = (place: number): number => bytes[place < bytes.length ? place : place - WINDOW] as number;
    const behind = (place: number): number => (place >= bytes.length && (place - bytes.length < LEAST_MATCH - 1 || this.#base === 0) ? 0 : byte(place));
    let chain = best >= this.#good ? this.#chain >> 2 : this.#chain;
    let at = place;
    do {
      let length = 0;
      if (near) while (length < MOST_MATCH && behind(at + length) === behind(pos + length)) length++;
      else if (bytes[at + best] === bytes[pos + best] && bytes[at + best - 1] === bytes[pos + best - 1]) while (length < MOST_MATCH && bytes[at + length] === bytes[pos + length]) length++;
      if (length > best) {
        this.#match = at;
        best = length;
        if (length >= this.#nice) break;
      }
      at = (this.#before[at % WINDOW] as number) - 1;
    } while (at > this.#limit() && --chain !== 0);
    return Math.min(best, left);
  }

  #limit(): number {
    return this.#pos - this.#base > FARTHEST ? this.#pos - FARTHEST : this.#base;
  }

  #reaches(place: number): boolean {
    return place > this.#base && this.#pos - place <= FARTHEST && this.#pos - this.#base <= WINDOW + FARTHEST;
  }

  #stops(): boolean {
    return this.#level >= STOPS_LEVEL && this.#block.stops(this.#pos - this.#start);
  }

  #flush(last: boolean): void {
    this.#block.finish(this.#start >= this.#base ? this.#in.subarray(this.#start, this.#pos) : undefined, last);
    this.#start = this.#pos;
  }

  #greedy(): void {
    while (this.#pos < this.#in.length) {
      this.#fill();
      const place = this.#insert(this.#pos);
      const length = this.#reaches(place) ? this.#longest(place, LEAST_MATCH - 1) : 0;
      let full: boolean;
      if (length >= LEAST_MATCH) {
        full = this.#block.match(this.#pos - this.#match, length) || this.#stops();
        const left = this.#in.length - this.#pos - length;
        if (length <= this.#lazy && left >= LEAST_MATCH) for (let i = 1; i < length; i++) this.#insert(this.#pos + i);
        this.#pos += length;
      } else {
        full = this.#block.literal(this.#in[this.#pos] as number) || this.#stops();
        this.#pos++;
      }
      if (full) this.#flush(false);
    }
  }

  #lazily(): void {
    let length = LEAST_MATCH - 1;
    let waiting = false;
    for (;;) {
      this.#fill();
      if (this.#pos >= this.#in.length) break;
      const place = this.#insert(this.#pos);
      const [lengthBefore, matchBefore] = [length, this.#match];
      length = LEAST_MATCH - 1;
      if (lengthBefore < this.#lazy && this.#reaches(place)) {
        length = this.#longest(place, lengthBefore);
        if (length === LEAST_MATCH && this.#pos - this.#match > TOO_FAR) length = LEAST_MATCH - 1;
      }
      if (lengthBefore >= LEAST_MATCH && length <= lengthBefore) {
        const full = this.#block.match(this.#pos - 1 - matchBefore, lengthBefore) || this.#stops();
        const after = this.#pos - 1 + lengthBefore;
        while (++this.#pos < after) this.#insert(this.#pos);
        waiting = false;
        length = LEAST_MATCH - 1;
        if (full) this.#flush(false);
      } else {
        if (waiting && (this.#block.literal(this.#in[this.#pos - 1] as number) || this.#stops())) this.#flush(false);
        waiting = true;
        this.#pos++;
      }
    }
    if (waiting) this.#block.literal(this.#in[this.#pos - 1] as number);
  }
}
