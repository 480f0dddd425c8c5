/** Prefix codes of RFC 1951, with the lengths that zlib and gzip give them: the twin of what native/deflate/blocks.cc builds. */

export const LITERAL_CODES = 286;
export const DISTANCE_CODES = 30;
export const LENGTH_CODES = 19;
/** The symbol that ends a block; lengths of matches follow it. */
export const END = 256;
export const LENGTH_EXTRA: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
export const DISTANCE_EXTRA: readonly number[] = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
/** What symbols begin with, of length − 3 and distance − 1. The longest length has a symbol of its own. */
export const LENGTH_BASE: readonly number[] = LENGTH_EXTRA.map((_, n) => (n === 28 ? 255 : LENGTH_EXTRA.slice(0, n).reduce((sum, extra) => sum + 2 ** extra, 0)));
export const DISTANCE_BASE: readonly number[] = DISTANCE_EXTRA.map((_, n) => DISTANCE_EXTRA.slice(0, n).reduce((sum, extra) => sum + 2 ** extra, 0));

export interface Code {
  readonly lengths: Uint8Array;
  /** Lowest bit first, as they are sent. */
  readonly codes: Uint16Array;
  /** The largest symbol that has a code. */
  readonly last: number;
  /** What all symbols take. */
  readonly bits: number;
}

export const FIXED_LITERALS = withCodes(Uint8Array.from({ length: 288 }, (_, n) => (n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8)), 287, 0);
export const FIXED_DISTANCES = withCodes(new Uint8Array(DISTANCE_CODES).fill(5), DISTANCE_CODES - 1, 0);

/** Codes from lengths (RFC 1951, 3.2.2). */
function withCodes(lengths: Uint8Array, last: number, bits: number): Code {
  const codes = new Uint16Array(lengths.length);
  let code = 0;
  for (let length = 1; length <= 15; length++, code <<= 1) {
    for (let n = 0; n <= last; n++) {
      if (lengths[n] !== length) continue;
      let reversed = 0;
      for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
      codes[n] = reversed;
      code++;
    }
  }
  return { lengths, codes, last, bits };
}

/**
 * Huffman's code for symbols that come so `often`; of equally frequent nodes the one with less depth goes first, and codes above
 * `longest` bits are shortened as zlib does. `extra`: bits that come with a symbol.
 */
export function codeFor(often: Uint32Array, longest: number, extra: (n: number) => number): Code {
  const symbols = often.length;
  const weight = new Float64Array(2 * symbols + 1);
  const depth = new Uint8Array(2 * symbols + 1);
  const parent = new Int32Array(2 * symbols + 1);
  const heap: number[] = [-1];
  let last = -1;
  let bits = 0;
  for (let n = 0; n < symbols; n++) {
    weight[n] = often[n] as number;
    if (often[n] === 0) continue;
    heap.push(n);
    last = n;
  }
  // A code has two symbols at least, or some decoders could not read it. They never come.
  while (heap.length < 3) {
    const n = last < 2 ? ++last : 0;
    heap.push(n);
    weight[n] = 1;
    bits--;
  }
  const before = (n: number, m: number): boolean => (weight[n] as number) < (weight[m] as number) || (weight[n] === weight[m] && (depth[n] as number) <= (depth[m] as number));
  const sink = (place: number): void => {
    const moved = heap[place] as number;
    let k = place;
    for (let j = 2 * k; j < heap.length; j *= 2) {
      if (j + 1 < heap.length && before(heap[j + 1] as number, heap[j] as number)) j++;
      if (before(moved, heap[j] as number)) break;
      heap[k] = heap[j] as number;
      k = j;
    }
    heap[k] = moved;
  };
  for (let n = (heap.length - 1) >> 1; n >= 1; n--) sink(n);
  // By rising weight.
  const taken: number[] = [];
  let node = symbols;
  do {
    const n = heap[1] as number;
    const end = heap.pop() as number;
    heap[1] = end;
    sink(1);
    const m = heap[1];
    taken.push(n, m);
    weight[node] = (weight[n] as number) + (weight[m] as number);
    depth[node] = Math.max(depth[n] as number, depth[m] as number) + 1;
    parent[n] = parent[m] = node;
    heap[1] = node++;
    sink(1);
  } while (heap.length > 2);
  taken.push(heap[1]);
  const lengths = new Uint8Array(2 * symbols + 1);
  const count = new Int32Array(longest + 1);
  let overflow = 0;
  for (let h = taken.length - 2; h >= 0; h--) {
    const n = taken[h] as number;
    let length = (lengths[parent[n] as number] as number) + 1;
    if (length > longest) {
      length = longest;
      overflow++;
    }
    lengths[n] = length;
    if (n >= symbols) continue;
    (count[length] as number)++;
    bits += (weight[n] as number) * (length + extra(n));
  }
  if (overflow > 0) bits += shortened({ lengths, count, taken, weight, longest, symbols }, overflow);
  return withCodes(lengths.subarray(0, symbols), last, bits);
}

interface Lengths {
  readonly lengths: Uint8Array;
  readonly count: Int32Array;
  readonly taken: readonly number[];
  readonly weight: Float64Array;
  readonly longest: number;
  readonly symbols: number;
}

/** Gives codes that were too long other lengths; how many bits more that takes. */
function shortened({ lengths, count, taken, weight, longest, symbols }: Lengths, overflow: number): number {
  for (; overflow > 0; overflow -= 2) {
    let length = longest - 1;
    while (count[length] === 0) length--;
    (count[length] as number)--;
    (count[length + 1] as number) += 2;
    (count[longest] as number)--;
  }
  let more = 0;
  let h = 0;
  for (let length = longest; length !== 0; length--) {
    for (let n = count[length] as number; n !== 0; ) {
      const m = taken[h++] as number;
      if (m >= symbols) continue;
      more += (length - (lengths[m] as number)) * (weight[m] as number);
      lengths[m] = length;
      n--;
    }
  }
  return more;
}
