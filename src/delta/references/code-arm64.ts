import { PAGE_REACH, low32 } from './mover.ts';
import type { Mover, Own } from './mover.ts';

/** References in AArch64 instructions: the twin of native/delta/references/code_arm64.cc (docs/delta.md, "References"). */

export function moveArm64(m: Mover, own: Own, from: number, to: number): void {
  const { begin, home } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 4) * 4; i + 4 <= to; i += 4) {
    const w = m.word(i);
    const pc = m.value(own.toBase + i);
    if ((w & 0x7c00_0000) === 0x1400_0000) {
      const far = (w << 6) >> 4;
      if (i + far >= own.from && i + far < own.to) continue;
      const by = m.moved(pc + far);
      if (by === undefined) continue;
      const change = low32(by - own.shift - home.drift);
      if ((change & 3) === 0) m.store(i, ((w & 0xfc00_0000) | ((w + (change >>> 2)) & 0x03ff_ffff)) >>> 0);
    } else if ((w & 0x9f00_0000) >>> 0 === 0x9000_0000) page(m, own, i, Math.min(to, i + 4 + 4 * PAGE_REACH), w, pc);
  }
}

/** The page of an address, and the next instruction that adds the rest. */
function page(m: Mover, own: Own, i: number, last: number, w: number, pc: number): void {
  const far = ((((w >>> 5) & 0x7_ffff) << 13) | (((w >>> 29) & 3) << 11)) * 2;
  const first = pc - (((pc % 4096) + 4096) % 4096) + far;
  for (let k = i + 4; k + 4 <= last; k += 4) {
    const u = m.word(k);
    if (((u >>> 5) & 31) !== (w & 31)) continue;
    let scale: number;
    if ((u & 0xffc0_0000) >>> 0 === 0x9100_0000) scale = 0;
    else if ((u & 0x3b00_0000) === 0x3900_0000) scale = (u & 0x0480_0000) === 0x0480_0000 ? 4 : u >>> 30;
    else continue;
    const value = first + ((u >>> 10) & 0xfff) * 2 ** scale;
    const by = m.moved(value);
    if (by === undefined) return;
    const now = BigInt(value + by);
    // Positions are known modulo 2^32, pages of code lie closer.
    const place = BigInt(pc) + BigInt(own.shift) + BigInt(m.rule.home.drift);
    const pages = Number(BigInt.asUintN(21, (now >> 12n) - (place >> 12n)));
    const rest = Number(BigInt.asUintN(12, now));
    if (rest % 2 ** scale !== 0) return;
    m.store(i, ((w & 0x9f00_001f) | ((pages & 3) << 29) | ((pages >>> 2) << 5)) >>> 0);
    m.store(k, ((u & ~0x003f_fc00) | ((rest >>> scale) << 10)) >>> 0);
    return;
  }
}
