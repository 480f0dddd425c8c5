import { moveArm32, moveThumb } from './code-arm32.ts';
import { moveArm64 } from './code-arm64.ts';
import { moveRiscV } from './code-riscv.ts';
import { moveI386, moveX86 } from './code-x86.ts';
import { clearIndexes } from './frame-index.ts';
import { Mover, low32 } from './mover.ts';
import type { Own } from './mover.ts';
import { RELOCATION_BYTES, RuleKind } from './rules.ts';
import type { Rule, ValueMap } from './rules.ts';
import type { Shifts } from './shifts.ts';
import { PieceKind } from '../types.ts';
import type { Pieces } from '../types.ts';
import { Operand, valueOf, walkList, walkWasm, writeLeb } from './wasm.ts';
import type { Visit } from './wasm.ts';

/** Moves references to where what they refer to went: the twin of native/delta/references/references.cc (docs/delta.md, "References"). */

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
      // What comes from an earlier segment has moved already.
      if (base >= shifts.baseSize) continue;
      MOVES[rule.kind]?.(mover, { toBase: base - begin, shift: origin + begin - base, from: begin, to: at }, Math.max(begin, rule.begin), Math.min(at, end));
    }
  }
  clearIndexes(rules, bytes);
}

/** What moves the references of a rule within one piece, by its kind. */
const MOVES: readonly (((m: Mover, own: Own, from: number, to: number) => void) | undefined)[] = [
  moveX86, moveArm64, (m, _own, from, to) => { pointers(m, from, to); }, frames, (m, _own, from, to) => { types(m, from, to); }, (m, _own, from, to) => { relocations(m, from, to); },
  (m, _own, from, to) => { wasm(m, from, to); }, (m, _own, from, to) => { wasm(m, from, to); }, moveRiscV, jumps, undefined, moveArm32, moveThumb, moveI386, places31,
];

function pointers(m: Mover, from: number, to: number): void {
  const { begin, field, stride, width } = m.rule;
  let at = begin + field;
  if (at < from) at += Math.ceil((from - at) / stride) * stride;
  for (; at + width <= to; at += stride) {
    const high = width === 8 ? m.word(at + 4) : 0;
    // No range reaches further, and no double counts further.
    if (high >= 2 ** 21) continue;
    const value = m.word(at) + high * 2 ** 32;
    const by = m.moved(value);
    if (by === undefined || by === 0) continue;
    const next = BigInt.asUintN(64, BigInt(value) + BigInt(by));
    m.store(at, Number(next & 0xffff_ffffn));
    if (width === 8) m.store(at + 4, Number(next >> 32n));
  }
}

/**
 * Records of 32-bit fields, found by what their second one must be: a kind, no bits that nothing uses. What else lies there
 * (the rest of a record that began earlier) does not look like that.
 */
function types(m: Mover, from: number, to: number): void {
  const { begin, ids, strings } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 12 <= to; ) {
    const info = m.word(i + 4);
    const shape = (info & 0x60ff_0000) === 0 ? TYPE_SHAPES[(info >>> 24) & 31] : undefined;
    if (shape === undefined) {
      i += 4;
      continue;
    }
    rename(m, i, strings);
    if (shape.refers) rename(m, i + 8, ids);
    i += 12;
    for (let n = shape.members ? info & 0xffff : 1; n > 0; n--) {
      for (const field of shape.fields) {
        if (i + 4 > to) return;
        if (field === 's') rename(m, i, strings);
        else if (field === 'i') rename(m, i, ids);
        i += 4;
      }
    }
  }
}

function relocations(m: Mover, from: number, to: number): void {
  const { begin, ids, addends, offsets } = m.rule;
  let stretch = 0;
  let end = begin;
  for (let i = begin + Math.ceil((from - begin) / RELOCATION_BYTES) * RELOCATION_BYTES; i + RELOCATION_BYTES <= to; i += RELOCATION_BYTES) {
    while (stretch < offsets.length && i >= end) end += RELOCATION_BYTES * (offsets[stretch++]?.entries ?? 0);
    const map = offsets[stretch - 1]?.map;
    if (i < end && map !== undefined) rename(m, i, map);
    const addend = m.word(i + 20) === 0 ? addends.get(m.word(i + 12)) : undefined;
    if (addend !== undefined) rename(m, i + 16, addend);
    rename(m, i + 12, ids);
  }
}

function wasm(m: Mover, from: number, to: number): void {
  const { kind, ids, strings } = m.rule;
  const visit: Visit = (what, at, number) => {
    const value = valueOf(what, number);
    if (value === undefined) return;
    const now = renamed(value, what === Operand.FUNCTION ? ids : strings);
    if (now !== value) writeLeb(m.bytes, at, what, number.length, now);
  };
  if (kind === RuleKind.WASM_LIST) walkList(m.bytes, from, to, visit);
  else walkWasm(m.bytes, from, to, visit);
}

function rename(m: Mover, at: number, map: ValueMap): void {
  m.store(at, renamed(m.word(at), map));
}

function frames(m: Mover, own: Own, from: number, to: number): void {
  const { begin, home } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 12 <= to; i += 4) {
    const length = m.word(i);
    const back = m.word(i + 4);
    if (length < 12 || length > 0xffff || length % 4 !== 0 || back === 0 || back % 4 !== 0 || back > i + 4 + own.toBase) continue;
    const by = m.moved(m.value(own.toBase + i + 8 + (m.word(i + 8) | 0)));
    if (by === undefined) continue;
    m.store(i + 8, (m.word(i + 8) + low32(by - own.shift - home.drift)) >>> 0);
    m.store(i + 4, (back + low32(own.shift - m.shifts.at(own.toBase + i + 4 - back))) >>> 0);
    i += 8;
  }
}

/** Fields count from the beginning of their table; what lies before the first is none. */
function jumps(m: Mover, own: Own, from: number, to: number): void {
  const { home, ids } = m.rule;
  const { from: starts } = ids;
  const base = home.base ?? 0;
  const last = own.toBase + to - base;
  // What lies before the home is in no table.
  const first = Math.max(0, own.toBase + from - base);
  for (let k = Math.max(0, lastUpTo(starts, first)); k < starts.length && (starts[k] as number) + 4 <= last; k++) {
    const start = starts[k] as number;
    if (start >= home.size) return;
    const stop = Math.min(last, starts[k + 1] ?? last);
    const went = m.shifts.at(base + start) + home.drift;
    for (let at = start + (start < first ? Math.ceil((first - start) / 4) * 4 : 0); at + 4 <= stop; at += 4) {
      const place = at + base - own.toBase;
      const v = m.word(place);
      const by = m.moved(home.begin + start + (v | 0));
      if (by !== undefined && by !== went) m.store(place, (v + low32(by - went)) >>> 0);
    }
  }
}

function places31(m: Mover, own: Own, from: number, to: number): void {
  const { begin } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 4 <= to; i += 4) {
    const v = m.word(i);
    if (v >= 2 ** 31) continue;
    const now = m.farther(own, i, (v << 1) >> 1);
    if (now !== undefined) m.store(i, now & 0x7fff_ffff);
  }
}

/** What a value becomes by a map. */
function renamed(value: number, own: ValueMap): number {
  const map = value < (own.from[0] ?? Infinity) ? own.parent : own;
  if (map === undefined || value < (map.from[0] ?? Infinity)) return value;
  return (value + (map.by[lastUpTo(map.from, value)] as number)) >>> 0;
}

/** Number of the last of ascending values that is not above this one; -1: all are. */
function lastUpTo(values: Uint32Array, value: number): number {
  let low = -1;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((values[middle] as number) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
