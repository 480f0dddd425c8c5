import type { Mover, Own } from './mover.ts';

/** References in 32-bit Arm instructions, of both instruction sets: the twin of native/delta/references/code_arm32.cc (docs/delta.md, "References"). */

/** Bytes within which halves of an address follow each other, and the instruction that adds its own place. */
const REACH = 32;
const ADD_REACH = 96;

/**
 * What a value becomes that lies in a pool or in two halves, and that the instruction at `add` (0: none) adds to its own place + ahead; undefined:
 * it stays.
 */
function changed(m: Mover, own: Own, v: number, add: number, ahead: number): number | undefined {
  if (add !== 0) {
    const now = m.farther(own, add, (v + ahead) | 0);
    return now === undefined ? undefined : (now - ahead) >>> 0;
  }
  // What can be loaded anywhere begins at 0, and holds no addresses.
  if (m.rule.space[0]?.begin === 0) return undefined;
  const by = m.moved(v);
  return by === undefined ? undefined : (((v + by) % 2 ** 32) + 2 ** 32) % 2 ** 32;
}

/** A word that instructions load from a pool near them. */
function pool(m: Mover, own: Own, at: number, add: number, ahead: number): void {
  if (at < own.from || at + 4 > own.to) return;
  const now = changed(m, own, m.word(at), add, ahead);
  if (now !== undefined) m.store(at, now);
}

/** The next instruction that adds a register to its own place, or loads from there. */
function addsA32(m: Mover, i: number, to: number, reg: number): number {
  const last = Math.min(to, i + ADD_REACH);
  for (let k = i; k + 4 <= last; k += 4) {
    const w = m.word(k);
    const kind = w & 0x0fff_0ff0;
    if ((w & 15) === reg && (kind === 0x008f_0000 || kind === 0x079f_0000)) return k;
  }
  return 0;
}

const halfA32 = (w: number): number => ((w >>> 4) & 0xf000) | (w & 0xfff);
const withHalfA32 = (w: number, v: number): number => ((w & 0xfff0_f000) | ((v & 0xf000) << 4) | (v & 0xfff)) >>> 0;

export function moveArm32(m: Mover, own: Own, from: number, to: number): void {
  const { begin } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 4 <= to; i += 4) {
    const w = m.word(i);
    const reg = (w >>> 12) & 15;
    if ((w & 0x0e00_0000) === 0x0a00_0000) {
      const far = (((w << 8) >> 6) + 8) | 0;
      const now = m.farther(own, i, far);
      if (now !== undefined && (now - far) % 4 === 0) m.store(i, ((w & 0xff00_0000) | (((now - 8) >> 2) & 0x00ff_ffff)) >>> 0);
    } else if ((w & 0x0ff0_0000) === 0x0300_0000) {
      const last = Math.min(to, i + 4 + REACH);
      for (let k = i + 4; k + 4 <= last; k += 4) {
        const u = m.word(k);
        if ((u & 0x0ff0_f000) !== (0x0340_0000 | (reg << 12))) continue;
        const now = changed(m, own, (halfA32(w) | (halfA32(u) << 16)) >>> 0, addsA32(m, k + 4, to, reg), 8);
        if (now !== undefined) {
          m.store(i, withHalfA32(w, now & 0xffff));
          m.store(k, withHalfA32(u, now >>> 16));
        }
        break;
      }
    } else if ((w & 0x0f7f_0000) === 0x051f_0000) {
      const add = addsA32(m, i + 4, to, reg);
      if (add !== 0) pool(m, own, i + 8 + ((w & 0x0080_0000) === 0 ? -(w & 0xfff) : w & 0xfff), add, 8);
    }
  }
}

const isWide = (first: number): boolean => first >= 0xe800;
const lengthAt = (m: Mover, at: number): number => (isWide(m.half(at)) ? 4 : 2);

function addsT32(m: Mover, i: number, to: number, reg: number): number {
  const last = Math.min(to, i + ADD_REACH);
  for (let k = i; k + 4 <= last; k += lengthAt(m, k)) {
    const h = m.half(k);
    if ((h & 0xff78) === 0x4478 && (((h >>> 4) & 8) | (h & 7)) === reg) return k;
  }
  return 0;
}

const halfT32 = (first: number, second: number): number => ((first & 15) << 12) | (((first >>> 10) & 1) << 11) | (((second >>> 12) & 7) << 8) | (second & 0xff);

function storeHalfT32(m: Mover, at: number, v: number): void {
  m.storeHalf(at, (m.half(at) & 0xfbf0) | ((v >>> 12) & 15) | (((v >>> 11) & 1) << 10));
  m.storeHalf(at + 2, (m.half(at + 2) & 0x8f00) | (((v >>> 8) & 7) << 12) | (v & 0xff));
}

export function moveThumb(m: Mover, own: Own, from: number, to: number): void {
  const { begin } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 2) * 2; i + 4 <= to; ) {
    const at = i;
    const first = m.half(at);
    const second = m.half(at + 2);
    // Counted from a multiple of four in memory, as the stretch begins at one.
    const even = at - ((at - begin) % 4);
    i += isWide(first) ? 4 : 2;
    if (!isWide(first)) {
      if ((first & 0xf800) !== 0x4800) continue;
      const add = addsT32(m, i, to, (first >>> 8) & 7);
      if (add !== 0) pool(m, own, even + 4 + (first & 0xff) * 4, add, 4);
    } else if ((first & 0xf800) === 0xf000 && (second & 0x8000) !== 0) branch(m, own, at, even, first, second);
    else if ((first & 0xfbf0) === 0xf240 && (second & 0x8000) === 0) halves(m, own, at, to, first, second);
    else if ((first & 0xff7f) === 0xf85f) {
      const add = addsT32(m, i, to, (second >>> 12) & 15);
      if (add !== 0) pool(m, own, even + 4 + ((first & 0x80) === 0 ? -(second & 0xfff) : second & 0xfff), add, 4);
    }
  }
}

function branch(m: Mover, own: Own, at: number, even: number, first: number, second: number): void {
  const s = (first >>> 10) & 1;
  const j1 = (second >>> 13) & 1;
  const j2 = (second >>> 11) & 1;
  if ((second & 0xd000) === 0x8000) {
    // On a condition: 20 bits.
    if ((first & 0x0380) === 0x0380) return;
    const far = ((s === 0 ? 0 : 0xfff0_0000) | (j2 << 19) | (j1 << 18) | ((first & 0x3f) << 12) | ((second & 0x7ff) << 1)) | 0;
    const moved = m.farther(own, at, (far + 4) | 0);
    if (moved === undefined) return;
    const now = (moved - 4) | 0;
    if (now % 2 !== 0 || now < -0x10_0000 || now >= 0x10_0000) return;
    m.storeHalf(at, (first & 0xfbc0) | (((now >>> 20) & 1) << 10) | ((now >>> 12) & 0x3f));
    m.storeHalf(at + 2, (second & 0xd000) | (((now >>> 18) & 1) << 13) | (((now >>> 19) & 1) << 11) | ((now >>> 1) & 0x7ff));
    return;
  }
  const exchanges = (second & 0xd001) === 0xc000;
  if ((second & 0xd000) === 0xc000 && !exchanges) return;
  const far = ((s === 0 ? 0 : 0xff00_0000) | ((j1 ^ s ^ 1) << 23) | ((j2 ^ s ^ 1) << 22) | ((first & 0x3ff) << 12) | ((second & 0x7ff) << 1)) | 0;
  const moved = m.farther(own, exchanges ? even : at, (far + 4) | 0);
  if (moved === undefined) return;
  const now = (moved - 4) | 0;
  if (now % (exchanges ? 4 : 2) !== 0 || now < -0x100_0000 || now >= 0x100_0000) return;
  const sign = (now >>> 24) & 1;
  m.storeHalf(at, (first & 0xf800) | (sign << 10) | ((now >>> 12) & 0x3ff));
  m.storeHalf(at + 2, (second & 0xd000) | ((((now >>> 23) & 1) ^ sign ^ 1) << 13) | ((((now >>> 22) & 1) ^ sign ^ 1) << 11) | ((now >>> 1) & 0x7ff));
}

function halves(m: Mover, own: Own, at: number, to: number, first: number, second: number): void {
  const reg = (second >>> 8) & 15;
  const last = Math.min(to, at + 4 + REACH);
  for (let k = at + 4; k + 4 <= last; k += lengthAt(m, k)) {
    const a = m.half(k);
    const b = m.half(k + 2);
    if ((a & 0xfbf0) !== 0xf2c0 || (b & 0x8f00) !== reg << 8) continue;
    const now = changed(m, own, (halfT32(first, second) | (halfT32(a, b) << 16)) >>> 0, addsT32(m, k + 4, to, reg), 4);
    if (now !== undefined) {
      storeHalfT32(m, at, now & 0xffff);
      storeHalfT32(m, k, now >>> 16);
    }
    return;
  }
}
