import { Countdown, Field, Gamma } from './change.ts';
import type { Changes } from './change.ts';
import { plain } from './model.ts';
import type { BitCoder } from './model.ts';
import { learnable, newSiteState } from './site-state.ts';
import type { SiteState } from './site-state.ts';

/** Corrects predicted stretches: the twin of native/delta/coding/sites.h, which says what the idea is (docs/delta.md, "Sites"). */

const { CACHES, CACHE_BITS, TAG_MASK, BUCKET, PAIRS, OPEN, COLD_REACH, CLEAN_BLOCK } = learnable;

export class Sites {
  readonly #coder: BitCoder;
  readonly #s: SiteState = newSiteState();
  readonly #changes: Changes;
  readonly #blocks: Gamma;
  readonly #p: Uint8Array;
  readonly #t: Uint8Array;
  #toBase = 0;
  #shift = 0;
  /** Positions without a gate until one changes; confirmed answers until one is wrong, of changes and of none. */
  readonly #cold: Countdown;
  readonly #trust: readonly [Countdown, Countdown];
  readonly #field = new Field();
  readonly #key = new Uint32Array(CACHES);
  readonly #sure = new Uint32Array(CACHES);
  readonly #by = new Uint32Array(CACHES);

  /**
   * `bytes`: the target up to where the coder is, the prediction from there. A decoder passes `bytes` as `target` too.
   * `counts`: three coders for what is counted until an exception.
   */
  constructor(coder: BitCoder, counts: readonly [BitCoder, BitCoder, BitCoder], changes: Changes, bytes: Uint8Array, target: Uint8Array) {
    this.#coder = coder;
    this.#changes = changes;
    this.#blocks = new Gamma(coder);
    this.#cold = new Countdown(counts[0]);
    this.#trust = [new Countdown(counts[1]), new Countdown(counts[2])];
    this.#p = bytes;
    this.#t = target;
  }

  /** After the last stretch. */
  finish(): void {
    if (this.#coder.decodes) return;
    this.#cold.finish();
    for (const trust of this.#trust) trust.finish();
  }

  /** `toBase`: base position minus position in the segment. `shift`: target position minus base position. Both modulo 2^32. */
  run(begin: number, end: number, toBase: number, shift: number): void {
    this.#toBase = toBase >>> 0;
    this.#shift = shift >>> 0;
    let i = begin;
    let cleanFrom = begin;
    let first = true;
    let skipped = false;
    while (i < end) {
      if (!skipped && (first || i - cleanFrom >= CLEAN_BLOCK)) {
        i += CLEAN_BLOCK * this.#cleanBlocks(i, end, first);
        first = false;
        skipped = true;
        continue;
      }
      const stop = Math.min(end, i + COLD_REACH);
      const j = this.#nextGate(i, stop, end);
      let isCold = false;
      if (j > i) {
        const offset = this.#coldChange(i, j - i);
        i += offset;
        isCold = i < j;
      }
      if (!isCold && i === stop) continue;
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

  /** Two bytes of zeros or of ones say little: which bytes of the field are zeros and how it lies in the base say more. */
  #contextAt(pair: number, i: number, end: number): number {
    if (pair !== 0 && pair !== 0xffff) return pair;
    const p = this.#p;
    let used = 0;
    if (i + 4 <= end) for (let k = 0; k < 4; k++) if (p[i + k] !== 0) used |= 1 << k;
    return PAIRS + ((pair & 1) | (used << 1) | (((i + this.#toBase) & 3) << 5));
  }

  /** The first position from i on whose gate is open; `stop` if there is none before. */
  #nextGate(i: number, stop: number, end: number): number {
    const gate = this.#s.gate;
    let pair = this.#before(i);
    let j = i;
    for (; j < stop; j++) {
      const next = this.#p[j] as number;
      // After zeros or ones, not where the field begins with them too: there is no end to zeros.
      const shut = (pair === 0 || pair === 0xffff) && next === (pair & 0xff);
      if (!shut && (gate[this.#contextAt(pair, j, end)] as number) >= OPEN) break;
      pair = (pair >>> 8) | (next << 8);
    }
    return j;
  }

  /** How many of `length` positions without a gate come before a change there. */
  #coldChange(i: number, length: number): number {
    if (this.#coder.decodes) return this.#cold.take(length);
    let offset = 0;
    while (offset < length && this.#p[i + offset] === this.#t[i + offset]) offset++;
    this.#cold.add(offset);
    if (offset < length) this.#cold.exception();
    return offset;
  }

  #cleanBlocks(i: number, end: number, first: boolean): number {
    const most = Math.floor((end - i) / CLEAN_BLOCK);
    if (most === 0) return 0;
    let n = 0;
    if (!this.#coder.decodes) {
      let k = i;
      const last = i + most * CLEAN_BLOCK;
      while (k < last && this.#p[k] === this.#t[k]) k++;
      n = Math.floor((k - i) / CLEAN_BLOCK);
    }
    if (plain(this.#coder, this.#s.rest, first ? 1 : 0, n === most ? 1 : 0) !== 0) return most;
    return Math.min(this.#blocks.code(n), most);
  }

  /** 0: nothing changed here. Else how many bytes were settled. */
  #site(i: number, end: number, isCold: boolean): number {
    const s = this.#s;
    const f = this.#field;
    f.set(this.#coder, this.#p, this.#t, i, end);
    const pair = this.#before(i);
    const context = this.#contextAt(pair, i, end);
    const mixed = Math.imul(context + 1, 0x9e37_79b1) >>> 0;
    const slot = mixed >>> 24;
    const best = s.best[slot] as number;
    const key = this.#setKey(best, i, pair, mixed);
    const kept = (best << CACHE_BITS) + (key >>> (32 - CACHE_BITS));
    const sure = this.#confirmations(kept, key);
    const diagonal = best === 0 ? this.#shift : 0;
    const guess = sure === 0 ? 0 : ((s.cacheBy[kept] as number) - diagonal) >>> 0;
    let known = false;
    let by = 0;
    if (!isCold || guess !== 0) {
      if (sure === 3 && !isCold) {
        known = this.#trusted(guess);
      } else {
        const z = (guess === 0 ? 1 : 0) | (sure << 1) | (isCold ? 8 : 0);
        known = plain(this.#coder, s.agrees, (mixed ^ Math.imul(z, 0x85eb_ca6b)) >>> 18, this.#applies(guess)) !== 0;
      }
      if (known) {
        by = guess;
      } else if (guess !== 0 && !isCold) {
        known = plain(this.#coder, s.zero, (mixed >>> 20) ^ sure, this.#applies(0)) !== 0;
      }
    }
    if (known) this.#remember(kept, key, sure, (by + diagonal) >>> 0);
    const gate = s.gate[context] as number;
    if (known && by === 0) {
      s.gate[context] = gate - Math.max(gate >>> 5, Math.min(gate, 1));
      return 0;
    }
    if (!known) {
      for (let c = 0; c < CACHES; c++) if (c !== best) this.#setKey(c, i, pair, mixed);
      by = this.#changed(slot, guess);
    }
    s.gate[context] = gate + ((258 - gate) >> 2);
    f.write(this.#p, i, by);
    return (by & f.mask) === 0 ? 1 : f.room;
  }

  #trusted(guess: number): boolean {
    const trust = this.#trust[guess === 0 ? 1 : 0];
    if (this.#coder.decodes) return trust.take(1) === 1;
    const right = this.#applies(guess) !== 0;
    if (right) trust.add(1);
    else trust.exception();
    return right;
  }

  /** What the first cache did not foresee: all of them learn. */
  #changed(slot: number, guess: number): number {
    const s = this.#s;
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
    const other = second & 3;
    const value = this.#by[other] as number;
    const settled = second !== 0 && plain(this.#coder, s.second, (other * 4 + (this.#sure[other] as number)) * 32 + ((second >>> 15) & 31), this.#applies(value)) !== 0;
    const by = settled ? value : this.#changes.code(slot, this.#field);
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

  #setKey(c: number, i: number, pair: number, mixed: number): number {
    let key = mixed;
    if (c === 0) key = Math.imul(((i + this.#toBase + this.#field.value) >>> 0) >>> BUCKET, 0x9e37_79b1) >>> 0;
    else if (c === 1) key = Math.imul((((this.#field.value & 0xffff) << 8) | (pair >>> 8)) + 1, 0x85eb_ca6b) >>> 0;
    else if (c === 2) key = Math.imul(this.#field.value >>> BUCKET, 0xc2b2_ae35) >>> 0;
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
    const same = by === 0 ? ((this.#field.value ^ this.#field.want) & 0xff) === 0 : (((this.#field.value + by) & this.#field.mask) >>> 0) === this.#field.want;
    return same ? 1 : 0;
  }
}
