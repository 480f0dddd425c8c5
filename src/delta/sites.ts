import { learnable } from './site-state.ts';
import type { SiteState } from './site-state.ts';
import { plain } from './model.ts';
import type { BitCoder } from './model.ts';

/** Corrects predicted stretches: the twin of native/delta/sites.h, which says what the idea is (docs/delta.md, "Sites"). */

const { CACHES, CACHE_BITS, TAG_MASK, BUCKET, HOT, COLD_REACH, CLEAN_BLOCK } = learnable;

const log2Floor = (v: number): number => 31 - Math.clz32(v);

export class Sites {
  readonly #coder: BitCoder;
  readonly #s: SiteState;
  readonly #p: Uint8Array;
  readonly #t: Uint8Array;
  #toBase = 0;
  #shift = 0;
  #lastRun = 0;
  /** The field in hand: its value, what it is to become (encoder), the bits of it there are, and its bytes. */
  #value = 0;
  #want = 0;
  #mask = 0;
  #room = 0;
  readonly #key = new Uint32Array(CACHES);
  readonly #sure = new Uint32Array(CACHES);
  readonly #by = new Uint32Array(CACHES);

  /** `bytes`: the target up to where the coder is, the prediction from there. A decoder passes `bytes` as `target` too. */
  constructor(coder: BitCoder, state: SiteState, bytes: Uint8Array, target: Uint8Array) {
    this.#coder = coder;
    this.#s = state;
    this.#p = bytes;
    this.#t = target;
  }

  /** `toBase`: base position minus position in the segment. `shift`: target position minus base position. Both modulo 2^32. */
  run(begin: number, end: number, toBase: number, shift: number): void {
    this.#toBase = toBase >>> 0;
    this.#shift = shift >>> 0;
    const p = this.#p;
    const gate = this.#s.gate;
    let i = begin;
    let cleanFrom = begin;
    let first = true;
    let skipped = false;
    while (i < end) {
      if (!skipped && (first || i - cleanFrom >= CLEAN_BLOCK)) {
        i += CLEAN_BLOCK * this.#cleanBlocks(i, end);
        first = false;
        skipped = true;
        continue;
      }
      const stop = Math.min(end, i + COLD_REACH);
      let j = i;
      let context = this.#before(i);
      while (j < stop && (gate[context] as number) < HOT) {
        context = (context >>> 8) | ((p[j] as number) << 8);
        j++;
      }
      let isCold = false;
      if (j > i) {
        const length = j - i;
        let offset = 0;
        if (!this.#coder.decodes) while (offset < length && p[i + offset] === this.#t[i + offset]) offset++;
        const row = (log2Floor(length) + 1) * 2 + (i - cleanFrom < 32 ? 1 : 0);
        if (plain(this.#coder, this.#s.cold, row, offset < length ? 1 : 0) !== 0) {
          i += this.#coldOffset(length, offset);
          isCold = true;
        } else {
          i = j;
          if (j === stop) continue;
        }
      }
      const width = this.#site(i, end, isCold);
      if (width === 0) {
        i++;
      } else {
        i += width;
        cleanFrom = i;
        skipped = false;
      }
    }
  }

  #before(i: number): number {
    return (i >= 2 ? (this.#p[i - 2] as number) : 0) | (i >= 1 ? (this.#p[i - 1] as number) << 8 : 0);
  }

  #cleanBlocks(i: number, end: number): number {
    const most = Math.floor((end - i) / CLEAN_BLOCK);
    if (most === 0) return 0;
    let n = 1;
    if (!this.#coder.decodes) {
      let k = i;
      const last = i + most * CLEAN_BLOCK;
      while (k < last && this.#p[k] === this.#t[k]) k++;
      n = Math.floor((k - i) / CLEAN_BLOCK) + 1;
    }
    const want = log2Floor(n);
    let bits = 0;
    while (bits < 31 && plain(this.#coder, this.#s.runs, this.#lastRun * 32 + bits, bits < want ? 1 : 0) !== 0) bits++;
    this.#lastRun = Math.min(bits, 7);
    let r = 1;
    for (let k = bits; k-- > 0; ) r = ((r << 1) | plain(this.#coder, this.#s.runBits, bits * 32 + k, (n >>> k) & 1)) >>> 0;
    return Math.min(r - 1, most);
  }

  #coldOffset(length: number, offset: number): number {
    const bits = length > 1 ? log2Floor(length - 1) + 1 : 0;
    let node = 1;
    for (let b = bits; b-- > 0; ) node = (node << 1) | plain(this.#coder, this.#s.coldAt, bits * 64 + node, (offset >>> b) & 1);
    return Math.min(node - (1 << bits), length - 1);
  }

  #read(from: Uint8Array, i: number): number {
    let v = 0;
    for (let k = 0; k < this.#room; k++) v |= (from[i + k] as number) << (8 * k);
    return v >>> 0;
  }

  /** 0: nothing changed here. Else how many bytes were settled. */
  #site(i: number, end: number, isCold: boolean): number {
    const s = this.#s;
    this.#room = Math.min(4, end - i);
    this.#mask = this.#room === 4 ? 0xffff_ffff : 2 ** (8 * this.#room) - 1;
    this.#value = this.#read(this.#p, i);
    this.#want = this.#coder.decodes ? 0 : this.#read(this.#t, i);
    const context = this.#before(i);
    const mixed = Math.imul(context + 1, 0x9e37_79b1) >>> 0;
    const slot = mixed >>> 24;
    const best = s.best[slot] as number;
    const key = this.#setKey(best, i, context, mixed);
    const kept = (best << CACHE_BITS) + (key >>> (32 - CACHE_BITS));
    const sure = this.#confirmations(kept, key);
    const diagonal = best === 0 ? this.#shift : 0;
    const guess = sure === 0 ? 0 : ((s.cacheBy[kept] as number) - diagonal) >>> 0;
    let known = false;
    let by = 0;
    if (!isCold || guess !== 0) {
      const z = (guess === 0 ? 1 : 0) | (sure << 1) | (isCold ? 8 : 0);
      if (plain(this.#coder, s.agrees, (mixed ^ Math.imul(z, 0x85eb_ca6b)) >>> 18, this.#applies(guess)) !== 0) {
        known = true;
        by = guess;
      } else if (guess !== 0 && !isCold) {
        known = plain(this.#coder, s.zero, (mixed >>> 20) ^ sure, this.#applies(0)) !== 0;
      }
    }
    const gate = s.gate[context] as number;
    if (known && by === 0) {
      this.#remember(kept, key, sure, diagonal);
      s.gate[context] = gate - (gate >>> 5);
      return 0;
    }
    for (let c = 0; c < CACHES; c++) if (c !== best) this.#setKey(c, i, context, mixed);
    by = this.#changed(slot, guess, known, by);
    s.gate[context] = gate + ((4095 - gate) >> 2);
    const out = (this.#value + by) >>> 0;
    for (let k = 0; k < this.#room; k++) this.#p[i + k] = out >>> (8 * k);
    return (by & this.#mask) === 0 ? 1 : this.#room;
  }

  #changed(slot: number, guess: number, known: boolean, foreseen: number): number {
    const s = this.#s;
    let by = foreseen;
    let second = 0;
    for (let c = 0; c < CACHES; c++) {
      const key = this.#key[c] as number;
      const kept = (c << CACHE_BITS) + (key >>> (32 - CACHE_BITS));
      const sure = this.#confirmations(kept, key);
      const value = ((s.cacheBy[kept] as number) - (c === 0 ? this.#shift : 0)) >>> 0;
      this.#sure[c] = sure;
      this.#by[c] = value;
      if (sure !== 0 && value !== guess && value !== 0) second = Math.max(second, (((s.rate[slot * CACHES + c] as number) + 4 + (sure << 12)) << 2) | c);
    }
    let settled = known;
    if (!settled && second !== 0) {
      const c = second & 3;
      const value = this.#by[c] as number;
      if (plain(this.#coder, s.second, (c * 4 + (this.#sure[c] as number)) * 32 + ((second >>> 15) & 31), this.#applies(value)) !== 0) {
        settled = true;
        by = value;
      }
    }
    if (!settled) by = this.#explicitly(slot);
    let top = 0;
    for (let c = 0; c < CACHES; c++) {
      const sure = this.#sure[c] as number;
      const key = this.#key[c] as number;
      const at = slot * CACHES + c;
      const rate = s.rate[at] as number;
      const next = rate + (((sure !== 0 && this.#by[c] === by ? 65535 : 0) - rate) >> 5);
      s.rate[at] = next;
      top = Math.max(top, (next << 2) | c);
      this.#remember((c << CACHE_BITS) + (key >>> (32 - CACHE_BITS)), key, sure, (by + (c === 0 ? this.#shift : 0)) >>> 0);
    }
    s.best[slot] = top & 3;
    return by;
  }

  /** A change that no cache foresaw: size class, sign, then its bits, the lowest four last. */
  #explicitly(slot: number): number {
    const s = this.#s;
    const coder = this.#coder;
    let magnitude = 1;
    let negative = 0;
    if (!coder.decodes) {
      const d = ((this.#want - this.#value) & this.#mask) >>> 0;
      negative = d > this.#mask >>> 1 ? 1 : 0;
      magnitude = negative === 0 ? d : (-d & this.#mask) >>> 0;
    }
    const want = log2Floor(magnitude);
    let node = 1;
    for (let b = 5; b-- > 0; ) node = (node << 1) | plain(coder, s.size, slot * 32 + node, (want >>> b) & 1);
    const bits = node & 31;
    negative = plain(coder, s.sign, bits, negative);
    let r = 1;
    if (bits <= 7) {
      for (let k = bits; k-- > 0; ) r = (r << 1) | plain(coder, s.small, (bits + 8 * negative) * 128 + r, (magnitude >>> k) & 1);
    } else {
      let k = bits;
      for (let n = 0; n < 3; n++) {
        k--;
        r = (r << 1) | plain(coder, s.high, bits * 8 + r, (magnitude >>> k) & 1);
      }
      while (k > 4) {
        k--;
        r = (r << 1) | plain(coder, s.middle, bits * 32 + k, (magnitude >>> k) & 1);
      }
      let tail = 1;
      let low = 0;
      for (let b = 0; b < 4; b++) {
        const bit = plain(coder, s.low, bits * 16 + tail, (magnitude >>> b) & 1);
        tail = (tail << 1) | bit;
        low |= bit << b;
      }
      r = (r << 4) | low;
    }
    return (negative === 0 ? r : -r) >>> 0;
  }

  #setKey(c: number, i: number, context: number, mixed: number): number {
    let key = mixed;
    if (c === 0) key = Math.imul(((i + this.#toBase + this.#value) >>> 0) >>> BUCKET, 0x9e37_79b1) >>> 0;
    else if (c === 1) key = Math.imul((((this.#value & 0xffff) << 8) | (context >>> 8)) + 1, 0x85eb_ca6b) >>> 0;
    else if (c === 2) key = Math.imul(this.#value >>> BUCKET, 0xc2b2_ae35) >>> 0;
    this.#key[c] = key;
    return key;
  }

  #confirmations(kept: number, key: number): number {
    const tag = this.#s.cacheTag[kept] as number;
    return ((tag ^ key) & TAG_MASK) === 0 ? tag & 3 : 0;
  }

  #remember(kept: number, key: number, sure: number, by: number): void {
    const same = sure !== 0 && this.#s.cacheBy[kept] === by;
    if (!same && sure < 3) this.#s.cacheBy[kept] = by;
    this.#s.cacheTag[kept] = (key & TAG_MASK) | (same ? Math.min(sure + 1, 3) : 1);
  }

  #applies(by: number): number {
    if (this.#coder.decodes) return 0;
    const same = by === 0 ? ((this.#value ^ this.#want) & 0xff) === 0 : (((this.#value + by) & this.#mask) >>> 0) === this.#want;
    return same ? 1 : 0;
  }
}
