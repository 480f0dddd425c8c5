import type { Mover, Own } from './mover.ts';

/** References in instructions of x86-64 and i386: the twin of native/delta/references/code_x86.cc (docs/delta.md, "References"). */

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

export function moveX86(m: Mover, own: Own, from: number, to: number): void {
  walk(m, own, from, to, instruction);
}

/** How many bytes the reference at i takes; 0: there is none. */
function instruction(m: Mover, own: Own, i: number, floor: number, to: number): number {
  const p = m.bytes;
  const b = p[i] as number;
  const second = p[i + 1] as number;
  const room = to - i;
  if ((b & 0xfe) === 0xe8) return m.relative(own, i + 1, 4) ? 5 : 0;
  if ((b & 0xf8) === 0xb8 || b === 0x68) return m.absolute(i + 1) ? 5 : 0;
  if (b === 0x0f) return room >= 6 && (second & 0xf0) === 0x80 && m.relative(own, i + 2, 4) ? 6 : 0;
  if ((b & 0xc7) === 0x05) {
    if (i === floor) return 0;
    const op = p[i - 1] as number;
    const behind = BEHIND[op] as number;
    let more = 0;
    if (i >= floor + 2 && p[i - 2] === 0x0f) more = TWO_WITH_BYTE.has(op) ? 1 : 0;
    else if (behind === Behind.NONE) return 0;
    else if (behind === Behind.BYTE || (behind === Behind.TEST_BYTE && b < 0x10)) more = 1;
    else if (behind === Behind.WORD || (behind === Behind.TEST_WORD && b < 0x10)) more = 4;
    return m.relative(own, i + 1, 4 + more) ? 5 : 0;
  }
  if ((b & 0xc7) === 0x04) return room >= 6 && (second & 7) === 5 && i > floor && BEHIND[p[i - 1] as number] !== Behind.NONE && m.absolute(i + 2) ? 6 : 0;
  if (b === 0xc7) {
    if ((second & 0x38) !== 0 || second >= 0xc0 || (second & 0xc7) === 0x05) return 0;
    const at = 2 + ((second & 7) === 4 ? 1 : 0) + (second >= 0x80 ? 4 : second >= 0x40 ? 1 : 0);
    return room >= at + 4 && m.absolute(i + at) ? at + 4 : 0;
  }
  return 0;
}

/** Addresses are whole, and counted from nowhere. */
export function moveI386(m: Mover, own: Own, from: number, to: number): void {
  walk(m, own, from, to, narrow);
}

/** From place to place; behind a reference that was found, what `read` may look back at begins anew. */
function walk(m: Mover, own: Own, from: number, to: number, read: typeof instruction): void {
  let floor = from;
  for (let i = from; i + 5 <= to; ) {
    const length = read(m, own, i, floor, to);
    i += length === 0 ? 1 : length;
    if (length !== 0) floor = i;
  }
}

function narrow(m: Mover, own: Own, i: number, floor: number, to: number): number {
  const p = m.bytes;
  const b = p[i] as number;
  const second = p[i + 1] as number;
  const room = to - i;
  if ((b & 0xfe) === 0xe8) return m.relative(own, i + 1, 4) ? 5 : 0;
  if ((b & 0xf8) === 0xb8 || b === 0x68 || (b & 0xfc) === 0xa0) return m.absolute(i + 1) ? 5 : 0;
  if (b === 0x0f) return room >= 6 && (second & 0xf0) === 0x80 && m.relative(own, i + 2, 4) ? 6 : 0;
  if ((b & 0xc7) === 0x05) return i > floor && m.absolute(i + 1) ? 5 : 0;
  if ((b & 0xc7) === 0x04) return room >= 6 && (second & 7) === 5 && i > floor && m.absolute(i + 2) ? 6 : 0;
  if ((b & 0xc0) === 0x80 && (b & 7) !== 4) return i > floor && BEHIND[p[i - 1] as number] !== Behind.NONE && m.absolute(i + 1) ? 5 : 0;
  return 0;
}
