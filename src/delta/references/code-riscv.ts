import { PAGE_REACH } from './mover.ts';
import type { Mover, Own } from './mover.ts';

/** References in RISC-V instructions: the twin of native/delta/references/code_riscv.cc (docs/delta.md, "References"). */

export function moveRiscV(m: Mover, own: Own, from: number, to: number): void {
  const { begin } = m.rule;
  for (let i = begin + Math.ceil((from - begin) / 2) * 2; i + 4 <= to; ) {
    const w = m.word(i);
    const op = w & 0x7f;
    if (op === 0x6f) {
      const far = (((w >>> 31) * 0xfff0_0000) | (w & 0xf_f000) | ((w >>> 9) & 0x800) | ((w >>> 20) & 0x7fe)) | 0;
      const now = m.farther(own, i, far);
      if (now !== undefined && now % 2 === 0 && now >= -0x10_0000 && now < 0x10_0000) m.store(i, ((w & 0xfff) | (now & 0xf_f000) | ((now & 0x800) << 9) | ((now & 0x7fe) << 20) | (((now >>> 20) & 1) << 31)) >>> 0);
    } else if (op === 0x63) {
      const far = (((w >>> 31) * 0xffff_f000) | ((w << 4) & 0x800) | ((w >>> 20) & 0x7e0) | ((w >>> 7) & 0x1e)) | 0;
      const now = m.farther(own, i, far);
      if (now !== undefined && now % 2 === 0 && now >= -0x1000 && now < 0x1000) m.store(i, ((w & 0x01ff_f07f) | ((now & 0x800) >>> 4) | ((now & 0x7e0) << 20) | ((now & 0x1e) << 7) | (((now >>> 12) & 1) << 31)) >>> 0);
    } else if (op === 0x17) upper(m, own, i, Math.min(to, i + 4 + 4 * PAGE_REACH), w);
    i += (w & 3) === 3 ? 4 : 2;
  }
}

/** The upper part of an address, and the next instruction that adds the lower one. */
function upper(m: Mover, own: Own, i: number, last: number, w: number): void {
  for (let k = i + 4; k + 4 <= last; ) {
    const u = m.word(k);
    const kind = u & 0x7f;
    const loads = kind === 0x03 || kind === 0x07 || kind === 0x67 || (kind === 0x13 && (u & 0x7000) === 0);
    const stores = kind === 0x23 || kind === 0x27;
    if (((u >>> 15) & 31) !== ((w >>> 7) & 31) || !(loads || stores)) {
      k += (u & 3) === 3 ? 4 : 2;
      continue;
    }
    const low = loads ? u >>> 20 : ((u >>> 20) & 0xfe0) | ((u >>> 7) & 31);
    const now = m.farther(own, i, ((w & 0xffff_f000) + low - (low & 0x800) * 2) | 0);
    if (now === undefined) return;
    m.store(i, ((w & 0xfff) | ((now + 0x800) & 0xffff_f000)) >>> 0);
    m.store(k, (loads ? (u & 0xf_ffff) | ((now & 0xfff) << 20) : (u & 0x01ff_f07f) | ((now & 0xfe0) << 20) | ((now & 31) << 7)) >>> 0);
    return;
  }
}
