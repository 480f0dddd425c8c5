import { RELOCATION_BYTES, RuleKind } from './rules.ts';
import type { Range, Rule, ValueMap } from './rules.ts';
import type { Shifts } from './shifts.ts';
import { PieceKind } from './types.ts';
import type { Pieces } from './types.ts';
import { Operand, valueOf, walkList, walkWasm, writeLeb } from './wasm.ts';
import type { Visit } from './wasm.ts';

/** Moves references to where what they refer to went: the twin of native/delta/references.cc (docs/delta.md, "References"). */

/** What comes behind the operand of an opcode whose ModRM byte addresses memory: nothing, a byte, a word; the last two where it is a test. */
const Behind = { NONE: 0, NOTHING: 1, BYTE: 2, WORD: 3, TEST_BYTE: 4, TEST_WORD: 5 } as const;
const BEHIND = ((): Uint8Array => {
  const table = new Uint8Array(256);
  for (const op of [0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x63, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xfe, 0xff]) table[op] = Behind.NOTHING;
  for (const op of [0x6b, 0x80, 0x83, 0xc0, 0xc1, 0xc6]) table[op] = Behind.BYTE;
  for (const op of [0x69, 0x81, 0xc7]) table[op] = Behind.WORD;
  table[0xf6] = Behind.TEST_BYTE;
  table[0xf7] = Behind.TEST_WORD;
  return table;
})();
/** Opcodes of two bytes with a byte behind their operand. */
const TWO_WITH_BYTE = new Set([0xba, 0xc2, 0xc6, 0x70, 0xa4, 0xac]);
/**
 * What follows the first three fields of a record of .BTF (Linux, Documentation/bpf/btf.rst), by kind: once, or for each member; s: offset of a
 * string, i: number of a type, -: neither. `refers`: the third field is the number of a type.
 */
const TYPE_SHAPES = ((): readonly ({ readonly refers: boolean; readonly members: boolean; readonly fields: string } | undefined)[] => {
  const one = (fields: string): { refers: boolean; members: boolean; fields: string } => ({ refers: false, members: false, fields });
  const each = (fields: string): { refers: boolean; members: boolean; fields: string } => ({ refers: false, members: true, fields });
  const refers = { refers: true, members: false, fields: '' };
  return [
    undefined, one('-'), refers, one('ii-'), each('si-'), each('si-'), each('s-'), one(''), refers, refers,
    refers, refers, refers, { refers: true, members: true, fields: 'si' }, { refers: true, members: false, fields: '-' },
    each('i--'), one(''), { refers: true, members: false, fields: '-' }, refers, each('s--'),
  ];
})();
/** Instructions within which the rest of an address is looked for. */
const PAGE_REACH = 8;

/** `bytes`: the prediction of a segment that begins at target position `origin` (modulo 2^32). */
export function moveReferences(rules: readonly Rule[], shifts: Shifts, bytes: Uint8Array, origin: number, pieces: Pieces): void {
  for (const rule of rules) {
    const mover = new Mover(rule, shifts, bytes);
    const end = rule.begin + rule.size;
    let at = 0;
    for (let i = 0; i < pieces.length && at < end; i += 4) {
      const begin = at;
      at += pieces[i] as number;
      if (pieces[i + 1] !== PieceKind.BASE || at <= rule.begin) continue;
      const base = (pieces[i + 2] as number) + (pieces[i + 3] as number) * 2 ** 32;
      mover.run(Math.max(begin, rule.begin), Math.min(at, end), { toBase: base - begin, shift: origin + begin - base, from: begin, to: at });
    }
  }
}

/** Of the piece that something lies in: base position of byte 0 of the segment, target minus base position modulo 2^32, its stretch. */
interface Own {
  readonly toBase: number;
  readonly shift: number;
  readonly from: number;
  readonly to: number;
}

class Mover {
  readonly #rule: Rule;
  readonly #shifts: Shifts;
  readonly #bytes: Uint8Array;

  constructor(rule: Rule, shifts: Shifts, bytes: Uint8Array) {
    this.#rule = rule;
    this.#shifts = shifts;
    this.#bytes = bytes;
  }

  run(from: number, to: number, own: Own): void {
    const { kind } = this.#rule;
    if (kind === RuleKind.X86) this.#x86(own, from, to);
    else if (kind === RuleKind.ARM64) this.#arm64(own, from, to);
    else if (kind === RuleKind.POINTERS) this.#pointers(from, to);
    else if (kind === RuleKind.TYPES) this.#types(from, to);
    else if (kind === RuleKind.RELOCATIONS) this.#relocations(from, to);
    else if (kind === RuleKind.WASM_CODE || kind === RuleKind.WASM_LIST) this.#wasm(from, to);
    else if (kind === RuleKind.RISC_V) this.#riscV(own, from, to);
    else this.#frames(own, from, to);
  }

  #word(at: number): number {
    const p = this.#bytes;
    return ((p[at] as number) | ((p[at + 1] as number) << 8) | ((p[at + 2] as number) << 16) | ((p[at + 3] as number) << 24)) >>> 0;
  }

  #store(at: number, word: number): void {
    for (let k = 0; k < 4; k++) this.#bytes[at + k] = word >>> (8 * k);
  }

  /** By how much what the value names moved; undefined: it names nothing that is known. */
  #moved(value: number): number | undefined {
    for (const { begin, size, base, drift } of this.#rule.space) {
      if (value < begin || value - begin >= size) continue;
      return drift + (base === undefined ? 0 : this.#shifts.at(base + (value - begin)));
    }
    return undefined;
  }

  #value(position: number): number {
    const home: Range = this.#rule.home;
    return position - (home.base ?? 0) + home.begin;
  }

  #pointers(from: number, to: number): void {
    const { begin, field, stride, width } = this.#rule;
    let at = begin + field;
    if (at < from) at += Math.ceil((from - at) / stride) * stride;
    for (; at + width <= to; at += stride) {
      const high = width === 8 ? this.#word(at + 4) : 0;
      // No range reaches further, and no double counts further.
      if (high >= 2 ** 21) continue;
      const value = this.#word(at) + high * 2 ** 32;
      const by = this.#moved(value);
      if (by === undefined || by === 0) continue;
      const next = BigInt.asUintN(64, BigInt(value) + BigInt(by));
      this.#store(at, Number(next & 0xffff_ffffn));
      if (width === 8) this.#store(at + 4, Number(next >> 32n));
    }
  }

  /** A field whose value counts from `next` bytes behind its beginning. */
  #relative(own: Own, field: number, next: number): boolean {
    const v = this.#word(field);
    const to = field + next + (v | 0);
    // What it refers to lies in the same stretch: both went the same way.
    if (to >= own.from && to < own.to) return true;
    const by = this.#moved(this.#value(own.toBase + to));
    if (by === undefined) return false;
    this.#store(field, (v + low32(by - own.shift - this.#rule.home.drift)) >>> 0);
    return true;
  }

  #absolute(field: number): boolean {
    const v = this.#word(field);
    const by = this.#moved(v);
    if (by === undefined) return false;
    this.#store(field, (v + low32(by)) >>> 0);
    return true;
  }

  #x86(own: Own, from: number, to: number): void {
    let floor = from;
    for (let i = from; i + 5 <= to; ) {
      const length = this.#instruction(own, i, floor, to);
      i += length === 0 ? 1 : length;
      if (length !== 0) floor = i;
    }
  }

  /** How many bytes the reference at i takes; 0: there is none. */
  #instruction(own: Own, i: number, floor: number, to: number): number {
    const p = this.#bytes;
    const b = p[i] as number;
    const second = p[i + 1] as number;
    const room = to - i;
    if ((b & 0xfe) === 0xe8) return this.#relative(own, i + 1, 4) ? 5 : 0;
    if ((b & 0xf8) === 0xb8 || b === 0x68) return this.#absolute(i + 1) ? 5 : 0;
    if (b === 0x0f) return room >= 6 && (second & 0xf0) === 0x80 && this.#relative(own, i + 2, 4) ? 6 : 0;
    if ((b & 0xc7) === 0x05) {
      if (i === floor) return 0;
      const op = p[i - 1] as number;
      const behind = BEHIND[op] as number;
      let more = 0;
      if (i >= floor + 2 && p[i - 2] === 0x0f) more = TWO_WITH_BYTE.has(op) ? 1 : 0;
      else if (behind === Behind.NONE) return 0;
      else if (behind === Behind.BYTE || (behind === Behind.TEST_BYTE && b < 0x10)) more = 1;
      else if (behind === Behind.WORD || (behind === Behind.TEST_WORD && b < 0x10)) more = 4;
      return this.#relative(own, i + 1, 4 + more) ? 5 : 0;
    }
    if ((b & 0xc7) === 0x04) return room >= 6 && (second & 7) === 5 && i > floor && BEHIND[p[i - 1] as number] !== Behind.NONE && this.#absolute(i + 2) ? 6 : 0;
    if (b === 0xc7) {
      if ((second & 0x38) !== 0 || second >= 0xc0 || (second & 0xc7) === 0x05) return 0;
      const at = 2 + ((second & 7) === 4 ? 1 : 0) + (second >= 0x80 ? 4 : second >= 0x40 ? 1 : 0);
      return room >= at + 4 && this.#absolute(i + at) ? at + 4 : 0;
    }
    return 0;
  }

  #arm64(own: Own, from: number, to: number): void {
    const { begin, home } = this.#rule;
    for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 4 <= to; i += 4) {
      const w = this.#word(i);
      const pc = this.#value(own.toBase + i);
      if ((w & 0x7c00_0000) === 0x1400_0000) {
        const far = (w << 6) >> 4;
        if (i + far >= own.from && i + far < own.to) continue;
        const by = this.#moved(pc + far);
        if (by === undefined) continue;
        const change = low32(by - own.shift - home.drift);
        if ((change & 3) === 0) this.#store(i, ((w & 0xfc00_0000) | ((w + (change >>> 2)) & 0x03ff_ffff)) >>> 0);
      } else if ((w & 0x9f00_0000) >>> 0 === 0x9000_0000) this.#page(own, i, Math.min(to, i + 4 + 4 * PAGE_REACH), w, pc);
    }
  }

  #riscV(own: Own, from: number, to: number): void {
    const { begin } = this.#rule;
    for (let i = begin + Math.ceil((from - begin) / 2) * 2; i + 4 <= to; ) {
      const w = this.#word(i);
      const op = w & 0x7f;
      if (op === 0x6f) {
        const far = (((w >>> 31) * 0xfff0_0000) | (w & 0xf_f000) | ((w >>> 9) & 0x800) | ((w >>> 20) & 0x7fe)) | 0;
        const now = this.#farther(own, i, far);
        if (now !== undefined && now % 2 === 0 && now >= -0x10_0000 && now < 0x10_0000) this.#store(i, ((w & 0xfff) | (now & 0xf_f000) | ((now & 0x800) << 9) | ((now & 0x7fe) << 20) | (((now >>> 20) & 1) << 31)) >>> 0);
      } else if (op === 0x63) {
        const far = (((w >>> 31) * 0xffff_f000) | ((w << 4) & 0x800) | ((w >>> 20) & 0x7e0) | ((w >>> 7) & 0x1e)) | 0;
        const now = this.#farther(own, i, far);
        if (now !== undefined && now % 2 === 0 && now >= -0x1000 && now < 0x1000) this.#store(i, ((w & 0x01ff_f07f) | ((now & 0x800) >>> 4) | ((now & 0x7e0) << 20) | ((now & 0x1e) << 7) | (((now >>> 12) & 1) << 31)) >>> 0);
      } else if (op === 0x17) this.#upper(own, i, Math.min(to, i + 4 + 4 * PAGE_REACH), w);
      i += (w & 3) === 3 ? 4 : 2;
    }
  }

  /** The upper part of an address, and the next instruction that adds the lower one. */
  #upper(own: Own, i: number, last: number, w: number): void {
    for (let k = i + 4; k + 4 <= last; ) {
      const u = this.#word(k);
      const kind = u & 0x7f;
      const loads = kind === 0x03 || kind === 0x07 || kind === 0x67 || (kind === 0x13 && (u & 0x7000) === 0);
      const stores = kind === 0x23 || kind === 0x27;
      if (((u >>> 15) & 31) !== ((w >>> 7) & 31) || !(loads || stores)) {
        k += (u & 3) === 3 ? 4 : 2;
        continue;
      }
      const low = loads ? u >>> 20 : ((u >>> 20) & 0xfe0) | ((u >>> 7) & 31);
      const now = this.#farther(own, i, ((w & 0xffff_f000) + low - (low & 0x800) * 2) | 0);
      if (now === undefined) return;
      this.#store(i, ((w & 0xfff) | ((now + 0x800) & 0xffff_f000)) >>> 0);
      this.#store(k, (loads ? (u & 0xf_ffff) | ((now & 0xfff) << 20) : (u & 0x01ff_f07f) | ((now & 0xfe0) << 20) | ((now & 31) << 7)) >>> 0);
      return;
    }
  }

  /** The distance (signed, 32 bits) from an instruction to what lies so far, if it changes and that is known. */
  #farther(own: Own, i: number, far: number): number | undefined {
    if (i + far >= own.from && i + far < own.to) return undefined;
    const by = this.#moved(this.#value(own.toBase + i + far));
    if (by === undefined) return undefined;
    const change = low32(by - own.shift - this.#rule.home.drift);
    return change === 0 ? undefined : (far + change) | 0;
  }

  /** The page of an address, and the next instruction that adds the rest. */
  #page(own: Own, i: number, last: number, w: number, pc: number): void {
    const far = ((((w >>> 5) & 0x7_ffff) << 13) | (((w >>> 29) & 3) << 11)) * 2;
    const page = pc - (((pc % 4096) + 4096) % 4096) + far;
    for (let k = i + 4; k + 4 <= last; k += 4) {
      const u = this.#word(k);
      if (((u >>> 5) & 31) !== (w & 31)) continue;
      let scale: number;
      if ((u & 0xffc0_0000) >>> 0 === 0x9100_0000) scale = 0;
      else if ((u & 0x3b00_0000) === 0x3900_0000) scale = (u & 0x0480_0000) === 0x0480_0000 ? 4 : u >>> 30;
      else continue;
      const value = page + ((u >>> 10) & 0xfff) * 2 ** scale;
      const by = this.#moved(value);
      if (by === undefined) return;
      const now = BigInt(value + by);
      // Positions are known modulo 2^32, pages of code lie closer.
      const place = BigInt(pc) + BigInt(own.shift) + BigInt(this.#rule.home.drift);
      const pages = Number(BigInt.asUintN(21, (now >> 12n) - (place >> 12n)));
      const rest = Number(BigInt.asUintN(12, now));
      if (rest % 2 ** scale !== 0) return;
      this.#store(i, ((w & 0x9f00_001f) | ((pages & 3) << 29) | ((pages >>> 2) << 5)) >>> 0);
      this.#store(k, ((u & ~0x003f_fc00) | ((rest >>> scale) << 10)) >>> 0);
      return;
    }
  }

  /**
   * Records of 32-bit fields, found by what their second one must be: a kind, no bits that nothing uses. What else lies there
   * (the rest of a record that began earlier) does not look like that.
   */
  #types(from: number, to: number): void {
    const { begin, ids, strings } = this.#rule;
    for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 12 <= to; ) {
      const info = this.#word(i + 4);
      const shape = (info & 0x60ff_0000) === 0 ? TYPE_SHAPES[(info >>> 24) & 31] : undefined;
      if (shape === undefined) {
        i += 4;
        continue;
      }
      this.#rename(i, strings);
      if (shape.refers) this.#rename(i + 8, ids);
      i += 12;
      for (let n = shape.members ? info & 0xffff : 1; n > 0; n--) {
        for (const field of shape.fields) {
          if (i + 4 > to) return;
          if (field === 's') this.#rename(i, strings);
          else if (field === 'i') this.#rename(i, ids);
          i += 4;
        }
      }
    }
  }

  #relocations(from: number, to: number): void {
    const { begin, ids, addends, offsets } = this.#rule;
    let stretch = 0;
    let end = begin;
    for (let i = begin + Math.ceil((from - begin) / RELOCATION_BYTES) * RELOCATION_BYTES; i + RELOCATION_BYTES <= to; i += RELOCATION_BYTES) {
      while (stretch < offsets.length && i >= end) end += RELOCATION_BYTES * (offsets[stretch++]?.entries ?? 0);
      const map = offsets[stretch - 1]?.map;
      if (i < end && map !== undefined) this.#rename(i, map);
      const addend = this.#word(i + 20) === 0 ? addends.get(this.#word(i + 12)) : undefined;
      if (addend !== undefined) this.#rename(i + 16, addend);
      this.#rename(i + 12, ids);
    }
  }

  #wasm(from: number, to: number): void {
    const { kind, ids, strings } = this.#rule;
    const visit: Visit = (what, at, number) => {
      const value = valueOf(what, number);
      if (value === undefined) return;
      const now = renamed(value, what === Operand.FUNCTION ? ids : strings);
      if (now !== value) writeLeb(this.#bytes, at, what, number.length, now);
    };
    if (kind === RuleKind.WASM_LIST) walkList(this.#bytes, from, to, visit);
    else walkWasm(this.#bytes, from, to, visit);
  }

  #rename(at: number, map: ValueMap): void {
    this.#store(at, renamed(this.#word(at), map));
  }

  #frames(own: Own, from: number, to: number): void {
    const { begin, home } = this.#rule;
    for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 12 <= to; i += 4) {
      const length = this.#word(i);
      const back = this.#word(i + 4);
      if (length < 12 || length > 0xffff || length % 4 !== 0 || back === 0 || back % 4 !== 0 || back > i + 4 + own.toBase) continue;
      const by = this.#moved(this.#value(own.toBase + i + 8 + (this.#word(i + 8) | 0)));
      if (by === undefined) continue;
      this.#store(i + 8, (this.#word(i + 8) + low32(by - own.shift - home.drift)) >>> 0);
      this.#store(i + 4, (back + low32(own.shift - this.#shifts.at(own.toBase + i + 4 - back))) >>> 0);
      i += 8;
    }
  }
}

/** What a value becomes by a map. */
function renamed(value: number, own: ValueMap): number {
  const map = value < (own.from[0] ?? Infinity) ? own.parent : own;
  if (map === undefined || value < (map.from[0] ?? Infinity)) return value;
  let low = 0;
  let high = map.from.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((map.from[middle] as number) <= value) low = middle;
    else high = middle - 1;
  }
  return (value + (map.by[low] as number)) >>> 0;
}

/** Modulo 2^32. */
function low32(v: number): number {
  return ((v % 2 ** 32) + 2 ** 32) % 2 ** 32;
}
