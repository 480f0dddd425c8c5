import { RangeDecoder, RangeEncoder } from './coder.ts';
import { learn, models, plain, squash, stretch } from './model.ts';
import type { BitCoder } from './model.ts';
import { BASE, TABLE } from '../types.ts';
import type { Cover } from '../types.ts';

/** Pages of the alignment map: the twin of native/delta/coding/map.cc (docs/delta.md, "Map pages"). */

const LIMIT = 60;
const TABLE_BITS = 16;
/** Pages of more covers are coded a quicker way. */
const QUICK_COVERS = 8192;
/** Twice the largest base or target: no diagonal moves further. */
const MOST_MOVE = 2 ** 38;

interface Fields {
  gap: number;
  length: number;
  magnitude: number;
  byte: number;
  negative: number;
  fill: number;
  back: number;
  table: number;
}

const fields = (): Fields => ({ gap: 0, length: 0, magnitude: 0, byte: 0, negative: 0, fill: 0, back: 0, table: 0 });

const log2Floor = (v: number): number => (v < 2 ** 31 ? 31 - Math.clz32(v) : bitLength(v) - 1);

function bitLength(v: number): number {
  let bits = 0;
  for (let rest = v; rest >= 1; rest /= 2) bits++;
  return bits;
}

const bitAt = (v: number, k: number): number => Math.floor(v / 2 ** k) % 2;

/** Exact when small, its size class and next two bits when large (the next bit, in the quick way). Below 1024. */
function near(v: number, quick: boolean): number {
  if (v < (quick ? 12 : 64)) return v;
  if (quick) {
    const bits = log2Floor(v);
    return 12 + 2 * bits + (Math.floor(v / 2 ** (bits - 1)) % 2);
  }
  const bits = log2Floor(v);
  return 64 + bits * 4 + (Math.floor(v / 2 ** (bits - 2)) % 4);
}

class MapCoder {
  readonly #coder: BitCoder;
  readonly #quick: boolean;
  readonly #own = models(16 * 1024);
  readonly #hashed = models(3 << TABLE_BITS);
  readonly #rest = models(16 * 64 * 64);
  readonly #mix = new Int32Array(16 * 64 * 4).fill(16384);
  #field = 0;
  #a = 0;
  #b = 0;
  #c = 0;
  #last = fields();
  #before = fields();

  constructor(coder: BitCoder, covers: number) {
    this.#coder = coder;
    this.#quick = covers > QUICK_COVERS;
  }

  run(f: Fields): void {
    const quick = this.#quick;
    const last = this.#last;
    const before = this.#before;
    const g1 = near(last.gap, quick);
    const l1 = near(last.length, quick);
    const l2 = near(before.length, quick);
    const m1 = (near(last.magnitude, quick) << 1) | last.negative;
    const m2 = (near(before.magnitude, quick) << 1) | before.negative;
    this.#set(0, last.fill, 0, 0, 0);
    f.fill = this.#bit(1, f.fill);
    this.#set(1, l1, (g1 << 10) | m1, (l1 << 11) | m1, (g1 << 10) | near(before.gap, quick));
    f.gap = this.#number(f.gap);
    if (f.fill !== 0) {
      this.#set(2, 0, 0, 0, 0);
      f.length = this.#number(f.length);
      this.#set(3, 0, 0, 0, 0);
      f.byte = this.#number(f.byte);
      return;
    }
    const g0 = near(f.gap, quick);
    this.#set(4, (g0 << 10) | l1, (l1 << 10) | l2, (g0 << 11) | m1, (l1 << 10) | l2);
    f.length = this.#number(f.length);
    const l0 = near(f.length, quick);
    this.#set(5, (g0 << 10) | last.back, (m1 << 10) | l0, (g0 << 11) | m1, (l0 << 11) | (g1 << 1) | last.back);
    f.back = this.#bit(1, f.back);
    if (f.back !== 0) {
      f.negative = 0;
      f.magnitude = 0;
    } else {
      this.#set(6, m1, (m2 << 1) | last.back, (m1 << 11) | m2, (g0 << 11) | (l0 << 1) | last.back);
      f.negative = this.#bit(1, f.negative);
      this.#set(7 + f.negative, (m1 << 1) | last.back, (g0 << 10) | l0, (m1 << 11) | m2, (g0 << 11) | (l0 << 1) | last.back);
      f.magnitude = this.#number(f.magnitude);
    }
    this.#set(9, last.table, 0, 0, 0);
    f.table = this.#bit(1, f.table);
    this.#before = last;
    this.#last = { ...f };
  }

  #set(field: number, a: number, b: number, c: number, d: number): void {
    this.#field = field;
    this.#a = Math.imul(a * 16 + field + 1, 0x9e37_79b1);
    this.#b = Math.imul(b * 16 + field + 1, 0x85eb_ca6b);
    this.#c = Math.imul(Math.imul(c * 16 + field + 1, 0xc2b2_ae35) ^ d, 0x27d4_eb2f);
  }

  #bit(node: number, value: number): number {
    const hashed = this.#hashed;
    const own = this.#field * 1024 + node;
    const a = slot(this.#a, node);
    const b = slot(this.#b, node) + (1 << TABLE_BITS);
    const c = slot(this.#c, node) + (2 << TABLE_BITS);
    const i0 = stretch((this.#own[own] as number) >>> 16);
    const i1 = stretch((hashed[a] as number) >>> 16);
    const i2 = stretch((hashed[b] as number) >>> 16);
    const i3 = stretch((hashed[c] as number) >>> 16);
    const mix = this.#mix;
    const m = (this.#field * 64 + (node < 64 ? node : 0)) * 4;
    const w0 = mix[m] as number;
    const w1 = mix[m + 1] as number;
    const w2 = mix[m + 2] as number;
    const w3 = mix[m + 3] as number;
    const p = squash(((Math.imul(w0, i0) + Math.imul(w1, i1) + Math.imul(w2, i2) + Math.imul(w3, i3)) | 0) >> 16);
    const got = this.#coder.bit(p, value);
    const error = (got << 16) - p;
    mix[m] = w0 + ((i0 * error + 32768) >> 16);
    mix[m + 1] = w1 + ((i1 * error + 32768) >> 16);
    mix[m + 2] = w2 + ((i2 * error + 32768) >> 16);
    mix[m + 3] = w3 + ((i3 * error + 32768) >> 16);
    learn(this.#own, own, got, LIMIT);
    learn(hashed, a, got, LIMIT);
    learn(hashed, b, got, LIMIT);
    learn(hashed, c, got, LIMIT);
    return got;
  }

  /** `count` bits, each by half of either of two models; they share lines of eight. */
  #three(node: number, value: number, count: number): number {
    const hashed = this.#hashed;
    const x = slot(this.#a, node) & ~7;
    const y = (slot(this.#b, node) & ~7) + (1 << TABLE_BITS);
    let sub = 1;
    for (let k = count; k-- > 0; ) {
      const p = (((hashed[x + sub] as number) >>> 16) + ((hashed[y + sub] as number) >>> 16)) >> 1;
      const got = this.#coder.bit(p === 0 ? 1 : p, bitAt(value, k));
      learn(hashed, x + sub, got, LIMIT);
      learn(hashed, y + sub, got, LIMIT);
      sub = (sub << 1) | got;
    }
    return sub - (1 << count);
  }

  #quickNumber(v: number): number {
    const n = v + 1;
    const want = log2Floor(n);
    const high = this.#three(1, want >> 3, 3);
    const bits = (high << 3) | this.#three(8 + high, want & 7, 3);
    const top = Math.min(bits, 3);
    let r = 2 ** top + this.#three(64 + bits, Math.floor(n / 2 ** (bits - top)) % 2 ** top, top);
    for (let k = bits - top; k > 0; ) {
      const some = Math.min(k, 16);
      k -= some;
      r = r * 2 ** some + this.#coder.raw(some, Math.floor(n / 2 ** k) % 2 ** some);
    }
    return r - 1;
  }

  /** Exact up to 2^53; a larger one, which only damage makes, stays large. */
  #number(v: number): number {
    if (this.#quick) return this.#quickNumber(v);
    const n = v + 1;
    const want = log2Floor(n);
    let node = 1;
    for (let k = 6; k-- > 0; ) node = (node << 1) | this.#bit(node, bitAt(want, k));
    const bits = node & 63;
    let r = 1;
    let k = bits;
    for (let top = 1; top < 8 && k > 0; ) {
      k--;
      const bit = this.#bit(64 + bits * 8 + top, bitAt(n, k));
      r = r * 2 + bit;
      top = (top << 1) | bit;
    }
    while (k > 0) {
      k--;
      r = r * 2 + plain(this.#coder, this.#rest, (this.#field * 64 + bits) * 64 + k, bitAt(n, k));
    }
    return r - 1;
  }
}

function slot(h: number, node: number): number {
  let x = ((h ^ (h >>> 15)) + Math.imul(node, 0x9e37_79b1)) | 0;
  x ^= x >>> 15;
  return Math.imul(x, 0x2c1b_3c6d) >>> (32 - TABLE_BITS);
}

/** `covers` lie from `begin` on, in order, without overlap. */
export function encodeMapPage(covers: readonly Cover[], begin: number): Uint8Array {
  const coder = new RangeEncoder();
  const map = new MapCoder(coder, covers.length);
  let at = begin;
  let diagonal = 0;
  let before = 0;
  for (const { target, length, base, fill } of covers) {
    const f = fields();
    f.gap = target - at;
    f.length = length;
    at = target + length;
    if (fill >= 0) {
      f.fill = 1;
      f.byte = fill;
      map.run(f);
      continue;
    }
    f.table = fill === TABLE ? 1 : 0;
    const here = base - target;
    const move = here - diagonal;
    f.back = here === before ? 1 : 0;
    f.negative = move < 0 ? 1 : 0;
    f.magnitude = Math.abs(move);
    map.run(f);
    before = diagonal;
    diagonal = here;
  }
  return coder.finish();
}

/** Exactly `count` covers, each checked against [begin, end) and the base; undefined when the page is damaged. */
export function decodeMapPage(page: Uint8Array, begin: number, end: number, baseSize: number, count: number): Cover[] | undefined {
  const map = new MapCoder(new RangeDecoder(page), count);
  const covers: Cover[] = [];
  let at = begin;
  let diagonal = 0;
  let before = 0;
  for (let i = 0; i < count; i++) {
    const f = fields();
    map.run(f);
    if (f.gap > end - at || f.length === 0 || f.length > end - at - f.gap) return undefined;
    const target = at + f.gap;
    at = target + f.length;
    if (f.fill !== 0) {
      if (f.byte > 255) return undefined;
      covers.push({ target, length: f.length, base: 0, fill: f.byte });
      continue;
    }
    if (f.magnitude > MOST_MOVE) return undefined;
    const here = f.back !== 0 ? before : f.negative !== 0 ? diagonal - f.magnitude : diagonal + f.magnitude;
    const base = target + here;
    if (base < 0 || base > baseSize || f.length > baseSize - base) return undefined;
    covers.push({ target, length: f.length, base, fill: f.table !== 0 ? TABLE : BASE });
    before = diagonal;
    diagonal = here;
  }
  return covers;
}
