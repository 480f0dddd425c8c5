/**
 * Compressed streams inside an artifact: where each lies, what it holds, and how its bytes are made from that. In columns, since
 * a file system has a hundred thousand.
 */
export interface Streams {
  /** Where each begins, ascending; none overlaps the one before. */
  readonly at: Float64Array;
  /** Compressed bytes. */
  readonly size: Uint32Array;
  /** Bytes it holds. */
  readonly held: Uint32Array;
  /** See `Coding` for those below 128, `coding.ts` for others. */
  readonly coding: Uint32Array;
}

/**
 * How a deflate stream is coded, in one byte below 128: bits 0 … 3 the level, 1 … 9, or 0 where it can be read and not made; bit 4: memory level 9
 * rather than 8; bit 5: with zlib's head and checksum (RFC 1950), otherwise plain deflate (RFC 1951); bit 6: as GNU gzip does, not zlib.
 */
export interface Coding {
  readonly level: number;
  readonly memory: 8 | 9;
  readonly zlib: boolean;
  /** Memory level 8, without zlib's head. */
  readonly gnu?: boolean;
}

const GNU_BIT = 64;

export function codingByte({ level, memory, zlib, gnu = false }: Coding): number {
  return level | (memory === 9 ? 16 : 0) | (zlib ? 32 : 0) | (gnu ? GNU_BIT : 0);
}

/** Undefined for what no coding of deflate in this version has. */
export function codingOf(byte: number): Coding | undefined {
  const level = byte & 15;
  if (byte >= 2 * GNU_BIT || level > 9 || (byte >= GNU_BIT && ((byte & 48) !== 0 || level === 0))) return undefined;
  return { level, memory: (byte & 16) === 0 ? 8 : 9, zlib: (byte & 32) !== 0, gnu: byte >= GNU_BIT };
}

/** No coding: the same as an artifact without containers. */
export const NO_STREAMS: Streams = { at: new Float64Array(0), size: new Uint32Array(0), held: new Uint32Array(0), coding: new Uint32Array(0) };

/** Gathers streams one by one. */
export class StreamList {
  readonly #rows: [number, number, number, number][] = [];

  add(at: number, size: number, held: number, coding: number): void {
    this.#rows.push([at, size, held, coding]);
  }

  get length(): number {
    return this.#rows.length;
  }

  end(): Streams {
    return {
      at: Float64Array.from(this.#rows, ([at]) => at),
      size: Uint32Array.from(this.#rows, ([, size]) => size),
      held: Uint32Array.from(this.#rows, ([, , held]) => held),
      coding: Uint32Array.from(this.#rows, ([, , , coding]) => coding),
    };
  }
}

/** Those of which `wanted` holds. */
export function pick(streams: Streams, wanted: (n: number) => boolean): Streams {
  const list = new StreamList();
  for (let n = 0; n < streams.at.length; n++) if (wanted(n)) list.add(streams.at[n] as number, streams.size[n] as number, streams.held[n] as number, streams.coding[n] as number);
  return list.end();
}

/** The first stream that ends after `at`; their number where there is none. */
export function streamAfter({ at, size }: Streams, place: number): number {
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at[middle] as number) + (size[middle] as number) <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function heldBytes({ held }: Streams): number {
  let sum = 0;
  for (const bytes of held) sum += bytes;
  return sum;
}
