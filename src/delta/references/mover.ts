import type { Range, Rule } from './rules.ts';
import type { Shifts } from './shifts.ts';

/** What moves the references of one rule: the twin of native/delta/references/mover.h (docs/delta.md, "References"). */

/** Instructions within which the rest of an address is looked for. */
export const PAGE_REACH = 8;

/** Of the piece that something lies in: base position of byte 0 of the segment, target minus base position modulo 2^32, its stretch. */
export interface Own {
  readonly toBase: number;
  readonly shift: number;
  readonly from: number;
  readonly to: number;
}

export class Mover {
  readonly rule: Rule;
  readonly shifts: Shifts;
  readonly bytes: Uint8Array;

  constructor(rule: Rule, shifts: Shifts, bytes: Uint8Array) {
    this.rule = rule;
    this.shifts = shifts;
    this.bytes = bytes;
  }

  half(at: number): number {
    return (this.bytes[at] as number) | ((this.bytes[at + 1] as number) << 8);
  }

  storeHalf(at: number, half: number): void {
    this.bytes[at] = half;
    this.bytes[at + 1] = half >>> 8;
  }

  word(at: number): number {
    const p = this.bytes;
    return ((p[at] as number) | ((p[at + 1] as number) << 8) | ((p[at + 2] as number) << 16) | ((p[at + 3] as number) << 24)) >>> 0;
  }

  store(at: number, word: number): void {
    for (let k = 0; k < 4; k++) this.bytes[at + k] = word >>> (8 * k);
  }

  /** By how much what the value names moved; undefined: it names nothing that is known. */
  moved(value: number): number | undefined {
    for (const { begin, size, base, drift } of this.rule.space) {
      if (value < begin || value - begin >= size) continue;
      return drift + (base === undefined ? 0 : this.shifts.at(base + (value - begin)));
    }
    return undefined;
  }

  value(position: number): number {
    const home: Range = this.rule.home;
    return position - (home.base ?? 0) + home.begin;
  }

  /** A field whose value counts from `next` bytes behind its beginning. */
  relative(own: Own, field: number, next: number): boolean {
    const v = this.word(field);
    const to = field + next + (v | 0);
    // What it refers to lies in the same stretch: both went the same way.
    if (to >= own.from && to < own.to) return true;
    const by = this.moved(this.value(own.toBase + to));
    if (by === undefined) return false;
    this.store(field, (v + low32(by - own.shift - this.rule.home.drift)) >>> 0);
    return true;
  }

  absolute(field: number): boolean {
    const v = this.word(field);
    const by = this.moved(v);
    if (by === undefined) return false;
    this.store(field, (v + low32(by)) >>> 0);
    return true;
  }

  /** The distance (signed, 32 bits) from an instruction to what lies so far, if it changes and that is known. */
  farther(own: Own, i: number, far: number): number | undefined {
    if (i + far >= own.from && i + far < own.to) return undefined;
    const by = this.moved(this.value(own.toBase + i + far));
    if (by === undefined) return undefined;
    const change = low32(by - own.shift - this.rule.home.drift);
    return change === 0 ? undefined : (far + change) | 0;
  }
}

/** Modulo 2^32. */
export function low32(v: number): number {
  return ((v % 2 ** 32) + 2 ** 32) % 2 ** 32;
}
