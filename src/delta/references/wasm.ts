/**
 * WebAssembly instructions, as far as is needed to find the numbers in them (WebAssembly Core Specification 2.0, "Binary Format", and the proposals
 * that compilers use: threads, tail calls, exceptions): the twin of native/delta/references/wasm_code.h (docs/delta.md, "References").
 */

/** What a number stands for: which function; i32.const; i64.const; what a load or store adds to an address. */
export const Operand = { FUNCTION: 0, WORD: 1, LONG: 2, OFFSET: 3 } as const;
export type OperandKind = (typeof Operand)[keyof typeof Operand];

/** Seven bits a byte, the lowest first; 128 is added to all but the last. */
export interface Leb {
  readonly length: number;
  /** Exact up to 2^53, and of nine bytes at most. */
  readonly bits: number;
  /** If it is signed. */
  readonly negative: boolean;
}

export type Visit = (what: OperandKind, at: number, number: Leb) => void;

function readLeb(bytes: Uint8Array, at: number, to: number, most: number): Leb | undefined {
  let bits = 0;
  for (let k = 0; k < most && at + k < to; k++) {
    const b = bytes[at + k] as number;
    if (k < 9) bits += (b & 127) * 2 ** (7 * k);
    if (b < 128) return { length: k + 1, bits, negative: (b & 64) !== 0 };
  }
  return undefined;
}

/** The value modulo 2^32 of an operand that maps can say; undefined: it is none of these. */
export function valueOf(what: OperandKind, { length, bits, negative }: Leb): number | undefined {
  if (length > 9) return undefined;
  if (what === Operand.FUNCTION || what === Operand.OFFSET) return bits < 2 ** 32 ? bits : undefined;
  if (what === Operand.LONG) return !negative && bits < 2 ** 32 ? bits : undefined;
  const x = negative ? bits - 2 ** (7 * length) : bits;
  return x >= -(2 ** 31) && x < 2 ** 31 ? x >>> 0 : undefined;
}

/** In the bytes that the number there takes; nothing happens where it takes more. */
export function writeLeb(bytes: Uint8Array, at: number, what: OperandKind, length: number, value: number): void {
  const signed = what === Operand.WORD || what === Operand.LONG;
  const x = what === Operand.WORD ? value | 0 : value;
  const room = 2 ** (7 * length - (signed ? 1 : 0));
  if (x >= room || x < -room) return;
  let rest = x < 0 ? x + 2 ** (7 * length) : x;
  for (let k = 0; k < length; k++, rest = Math.floor(rest / 128)) bytes[at + k] = (rest % 128) | (k + 1 < length ? 128 : 0);
}

const Shape = { ALONE: 0, NUMBER: 1, TWO_NUMBERS: 2, CALL: 3, CONST32: 4, CONST64: 5, MEMORY: 6, BRANCHES: 7, FOUR_BYTES: 8, EIGHT_BYTES: 9, LIST: 10, MORE: 11, VECTOR: 12, ATOMIC: 13, END: 14 } as const;
const SHAPES = ((): Uint8Array => {
  const of = new Uint8Array(256);
  of.fill(Shape.NUMBER, 0x02, 0x0a);
  of[0x05] = Shape.ALONE;
  of[0x0b] = Shape.END;
  of[0x0e] = Shape.BRANCHES;
  for (const op of [0x0c, 0x0d, 0x18, 0x3f, 0x40, 0xd0]) of[op] = Shape.NUMBER;
  for (const op of [0x10, 0x12, 0xd2]) of[op] = Shape.CALL;
  of[0x11] = of[0x13] = Shape.TWO_NUMBERS;
  of[0x1c] = Shape.LIST;
  of.fill(Shape.NUMBER, 0x20, 0x27);
  of.fill(Shape.MEMORY, 0x28, 0x3f);
  of[0x41] = Shape.CONST32;
  of[0x42] = Shape.CONST64;
  of[0x43] = Shape.FOUR_BYTES;
  of[0x44] = Shape.EIGHT_BYTES;
  of[0xfc] = Shape.MORE;
  of[0xfd] = Shape.VECTOR;
  of[0xfe] = Shape.ATOMIC;
  return of;
})();

/** Goes through instructions from `from` on, wherever that is: a place within an instruction is one soon. */
export function walkWasm(bytes: Uint8Array, from: number, to: number, visit: Visit): void {
  const walk = new Walk(bytes, to, visit);
  for (let i = walk.head(from); i < to; ) i = walk.next(i);
}

/** A list of numbers, as of elements: each is one of a function. */
export function walkList(bytes: Uint8Array, from: number, to: number, visit: Visit): void {
  for (let i = from; i < to; ) {
    const n = readLeb(bytes, i, to, 5);
    if (n !== undefined) visit(Operand.FUNCTION, i, n);
    i += n?.length ?? 1;
  }
}

class Walk {
  readonly #bytes: Uint8Array;
  readonly #to: number;
  readonly #visit: Visit;
  #at = 0;

  constructor(bytes: Uint8Array, to: number, visit: Visit) {
    this.#bytes = bytes;
    this.#to = to;
    this.#visit = visit;
  }

  /** The place behind what begins at `i`. What does not fit is no instruction. */
  next(i: number): number {
    this.#at = i + 1;
    return this.#instruction(this.#bytes[i] as number) ? this.#at : i + 1;
  }

  /** Behind the size and the locals of a function, if those are at `at`. */
  head(at: number): number {
    const [bytes, to] = [this.#bytes, this.#to];
    const size = readLeb(bytes, at, to, 5);
    const begin = at + (size?.length ?? 0);
    const groups = readLeb(bytes, begin, to, 1);
    if (size === undefined || groups === undefined || groups.bits > 50) return at;
    let i = begin + groups.length;
    for (let k = 0; k < groups.bits; k++) {
      const count = readLeb(bytes, i, to, 5);
      i += count?.length ?? 0;
      const type = bytes[i] as number;
      if (count === undefined || i >= to || (type !== 0x70 && type !== 0x6f && (type < 0x7b || type > 0x7f))) return at;
      i++;
    }
    if (size.bits <= i - begin) return at;
    // It ends with `end`, if that can be seen.
    const right = size.bits <= to - begin ? bytes[begin + size.bits - 1] === 0x0b : groups.bits > 0;
    return right ? i : at;
  }

  #number(most = 5): Leb | undefined {
    const n = readLeb(this.#bytes, this.#at, this.#to, most);
    this.#at += n?.length ?? 0;
    return n;
  }

  #operand(what: OperandKind, most: number): boolean {
    const n = readLeb(this.#bytes, this.#at, this.#to, most);
    if (n === undefined) return false;
    this.#visit(what, this.#at, n);
    this.#at += n.length;
    return true;
  }

  #skip(count: number): boolean {
    if (count > this.#to - this.#at) return false;
    this.#at += count;
    return true;
  }

  /** Alignment, of which a bit says that the number of a memory follows, and offset. */
  #memory(): boolean {
    const align = this.#number();
    return align !== undefined && (Math.floor(align.bits / 64) % 2 === 0 || this.#number() !== undefined) && this.#operand(Operand.OFFSET, 5);
  }

  #instruction(op: number): boolean {
    switch (SHAPES[op]) {
      case Shape.ALONE:
        return true;
      case Shape.NUMBER:
        return this.#number() !== undefined;
      case Shape.TWO_NUMBERS:
        return this.#number() !== undefined && this.#number() !== undefined;
      case Shape.CALL:
        return this.#operand(Operand.FUNCTION, 5);
      case Shape.CONST32:
        return this.#operand(Operand.WORD, 5);
      case Shape.CONST64:
        return this.#operand(Operand.LONG, 10);
      case Shape.MEMORY:
        return this.#memory();
      case Shape.FOUR_BYTES:
        return this.#skip(4);
      case Shape.EIGHT_BYTES:
        return this.#skip(8);
      case Shape.END:
        this.#at = this.head(this.#at);
        return true;
      case Shape.BRANCHES: {
        const count = readLeb(this.#bytes, this.#at, this.#to, 5);
        if (count === undefined || count.bits >= this.#to - this.#at) return false;
        this.#at += count.length;
        for (let k = 0; k <= count.bits; k++) if (this.#number() === undefined) return false;
        return true;
      }
      case Shape.LIST: {
        const count = this.#number();
        return count !== undefined && this.#skip(count.bits);
      }
      default:
        return this.#prefixed(op);
    }
  }

  #prefixed(op: number): boolean {
    const n = this.#number()?.bits;
    if (n === undefined) return false;
    if (op === 0xfc) return n < 8 || n > 17 || (this.#number() !== undefined && ((n !== 8 && n !== 10 && n !== 12 && n !== 14) || this.#number() !== undefined));
    if (op === 0xfe) return n === 3 ? this.#skip(1) : this.#memory();
    if (n <= 11 || n === 92 || n === 93) return this.#memory();
    if (n === 12 || n === 13) return this.#skip(16);
    if (n >= 84 && n <= 91) return this.#memory() && this.#skip(1);
    return n < 21 || n > 34 || this.#skip(1);
  }
}
