import { codeFor, DISTANCE_BASE, DISTANCE_CODES, DISTANCE_EXTRA, END, FIXED_DISTANCES, FIXED_LITERALS, LENGTH_BASE, LENGTH_CODES, LENGTH_EXTRA, LITERAL_CODES } from './deflate-codes.ts';
import type { Code } from './deflate-codes.ts';

/** How a run of symbols becomes a block of RFC 1951: the twin of native/deflate/blocks.cc. */

const REPEAT_EXTRA: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];
/** The order in which the lengths of the code for code lengths are sent (RFC 1951, 3.2.7). */
const ORDER: readonly number[] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const REPEAT = 16;
const ZEROS = 17;
const MANY_ZEROS = 18;
const REPEATS_LONGEST = 7;
const LONGEST = 15;
/** Symbols between two looks whether the block had better end. */
const STOPS_EVERY = 4096;

/** Of length − 3; the longest has a code of its own. */
const LENGTH_SYMBOL = Uint8Array.from({ length: 256 }, (_, length) => LENGTH_BASE.findLastIndex((base) => base <= length));

function distanceSymbol(distance: number): number {
  let symbol = DISTANCE_CODES - 1;
  while ((DISTANCE_BASE[symbol] as number) > distance) symbol--;
  return symbol;
}

/** Gathers symbols, and writes them as blocks. */
export class Block {
  readonly #most: number;
  readonly #symbols: Uint32Array;
  #count = 0;
  readonly #literals = new Uint32Array(LITERAL_CODES);
  readonly #distances = new Uint32Array(DISTANCE_CODES);
  #out = new Uint8Array(65536);
  #size = 0;
  #bits = 0;
  #bitCount = 0;

  /** @param most symbols that end a block */
  constructor(most: number) {
    this.#most = most;
    this.#symbols = new Uint32Array(most);
    this.#clear();
  }

  /** What was written. */
  bytes(): Uint8Array {
    return this.#out.subarray(0, this.#size);
  }

  /** Whether the block is full with this. */
  literal(byte: number): boolean {
    (this.#literals[byte] as number)++;
    this.#symbols[this.#count++] = byte;
    return this.#count === this.#most;
  }

  /** Whether the block is full with this. */
  match(distance: number, length: number): boolean {
    (this.#literals[END + 1 + (LENGTH_SYMBOL[length - 3] as number)] as number)++;
    (this.#distances[distanceSymbol(distance - 1)] as number)++;
    this.#symbols[this.#count++] = (distance << 16) | (length - 3);
    return this.#count === this.#most;
  }

  /** Whether GNU gzip ends the block here, after `size` bytes. */
  stops(size: number): boolean {
    if (this.#count % STOPS_EVERY !== 0) return false;
    let bits = 8 * this.#count;
    let matches = 0;
    for (const [symbol, often] of this.#distances.entries()) {
      bits += often * (5 + (DISTANCE_EXTRA[symbol] as number));
      matches += often;
    }
    return matches < Math.floor(this.#count / 2) && Math.floor(bits / 8) < Math.floor(size / 2);
  }

  /** Writes the block and begins a new one. `bytes` is what it stands for; undefined where it may not be stored. */
  finish(bytes: Uint8Array | undefined, last: boolean): void {
    const literals = codeFor(this.#literals, LONGEST, (n) => (n > END ? (LENGTH_EXTRA[n - END - 1] as number) : 0));
    const distances = codeFor(this.#distances, LONGEST, (n) => DISTANCE_EXTRA[n] as number);
    const repeats: [symbol: number, value: number, bits: number][] = [];
    for (const { lengths, last: end } of [literals, distances]) inRuns(lengths, end, (symbol, value, bits) => repeats.push([symbol, value, bits]));
    const often = new Uint32Array(LENGTH_CODES);
    for (const [symbol] of repeats) (often[symbol] as number)++;
    const lengths = codeFor(often, REPEATS_LONGEST, (n) => REPEAT_EXTRA[n] as number);
    let codes = LENGTH_CODES - 1;
    while (codes >= 3 && lengths.lengths[ORDER[codes] as number] === 0) codes--;
    const own = literals.bits + distances.bits + lengths.bits + 3 * (codes + 1) + 14;
    const fixed = this.#fixedBits();
    const ownBytes = Math.floor((own + 10) / 8);
    const fixedBytes = Math.floor((fixed + 10) / 8);
    const least = Math.min(ownBytes, fixedBytes);
    const end = last ? 1 : 0;
    if (bytes !== undefined && bytes.length + 4 <= least) {
      this.#put(end, 3);
      this.#align();
      for (const value of [bytes.length & 255, bytes.length >> 8, ~bytes.length & 255, (~bytes.length >> 8) & 255]) this.#byte(value);
      for (const byte of bytes) this.#byte(byte);
    } else if (fixedBytes === least) {
      this.#put(2 | end, 3);
      this.#send(FIXED_LITERALS, FIXED_DISTANCES);
    } else {
      this.#put(4 | end, 3);
      this.#put(literals.last + 1 - 257, 5);
      this.#put(distances.last, 5);
      this.#put(codes + 1 - 4, 4);
      for (const symbol of ORDER.slice(0, codes + 1)) this.#put(lengths.lengths[symbol] as number, 3);
      for (const [symbol, value, bits] of repeats) {
        this.#symbol(lengths, symbol);
        if (bits > 0) this.#put(value, bits);
      }
      this.#send(literals, distances);
    }
    this.#clear();
    if (last) this.#align();
  }

  #clear(): void {
    this.#literals.fill(0);
    this.#distances.fill(0);
    this.#literals[END] = 1;
    this.#count = 0;
  }

  #fixedBits(): number {
    let bits = 0;
    for (const [n, often] of this.#literals.entries()) bits += often * ((FIXED_LITERALS.lengths[n] as number) + (n > END ? (LENGTH_EXTRA[n - END - 1] as number) : 0));
    for (const [n, often] of this.#distances.entries()) bits += often * (5 + (DISTANCE_EXTRA[n] as number));
    return bits;
  }

  #send(literals: Code, distances: Code): void {
    for (const word of this.#symbols.subarray(0, this.#count)) {
      const distance = (word >>> 16) - 1;
      const value = word & 0xffff;
      if (distance < 0) {
        this.#symbol(literals, value);
        continue;
      }
      const length = LENGTH_SYMBOL[value] as number;
      this.#symbol(literals, END + 1 + length);
      this.#put(value - (LENGTH_BASE[length] as number), LENGTH_EXTRA[length] as number);
      const far = distanceSymbol(distance);
      this.#symbol(distances, far);
      this.#put(distance - (DISTANCE_BASE[far] as number), DISTANCE_EXTRA[far] as number);
    }
    this.#symbol(literals, END);
  }

  #symbol({ codes, lengths }: Code, n: number): void {
    this.#put(codes[n] as number, lengths[n] as number);
  }

  /** At most 15 bits, the lowest first. */
  #put(value: number, bits: number): void {
    this.#bits |= value << this.#bitCount;
    this.#bitCount += bits;
    for (; this.#bitCount >= 8; this.#bitCount -= 8) {
      this.#byte(this.#bits & 255);
      this.#bits >>>= 8;
    }
  }

  #align(): void {
    if (this.#bitCount > 0) this.#byte(this.#bits & 255);
    this.#bits = 0;
    this.#bitCount = 0;
  }

  #byte(value: number): void {
    if (this.#size === this.#out.length) {
      const longer = new Uint8Array(2 * this.#size);
      longer.set(this.#out);
      this.#out = longer;
    }
    this.#out[this.#size++] = value;
  }
}

/** The lengths of a code in runs: what is said of each, by RFC 1951, 3.2.7, as zlib and gzip do. */
function inRuns(lengths: Uint8Array, last: number, say: (symbol: number, value: number, bits: number) => void): void {
  let before = -1;
  let next = lengths[0] as number;
  let count = 0;
  let most = next === 0 ? 138 : 7;
  let least = next === 0 ? 3 : 4;
  for (let n = 0; n <= last; n++) {
    const now = next;
    next = n === last ? -1 : (lengths[n + 1] as number);
    if (++count < most && now === next) continue;
    if (count < least) {
      for (let i = 0; i < count; i++) say(now, 0, 0);
    } else if (now !== 0) {
      if (now !== before) {
        say(now, 0, 0);
        count--;
      }
      say(REPEAT, count - 3, 2);
    } else if (count <= 10) say(ZEROS, count - 3, 3);
    else say(MANY_ZEROS, count - 11, 7);
    count = 0;
    before = now;
    most = next === 0 ? 138 : now === next ? 6 : 7;
    least = next === 0 || now === next ? 3 : 4;
  }
}
