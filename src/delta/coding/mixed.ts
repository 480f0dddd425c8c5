import { learn, models, squash, stretch } from './model.ts';
import type { BitCoder } from './model.ts';

const LINE_BITS = 12;
const LIMIT = 30;

/** The small way to code a byte nothing predicts: the twin of native/delta/coding/mixed.h (docs/delta.md, "Literals"). */
export class MixedBytes {
  readonly #coder: BitCoder;
  readonly #order1 = models(65536);
  readonly #lines = models(2 * (16 << LINE_BITS));
  readonly #mix = new Int32Array(256 * 3).fill(16384);

  constructor(coder: BitCoder) {
    this.#coder = coder;
  }

  byte(recent: number, want: number): number {
    const h0 = Math.imul((recent >>> 16) + 0x10000, 0x9e37_79b1);
    const h1 = Math.imul((recent >>> 8) + 0x100_0000, 0x85eb_ca6b);
    const order1 = (recent >>> 24) << 8;
    const mix = this.#mix;
    let node = 1;
    for (let half = 4; half >= 0; half -= 4) {
      const spread = Math.imul(node, 0x9e37_79b1);
      const line0 = line((h0 + spread) | 0);
      const line1 = line((h1 + spread) | 0) + (16 << LINE_BITS);
      let sub = 1;
      for (let k = 3; k >= 0; k--) {
        const a = stretch((this.#order1[order1 + node] as number) >>> 16);
        const b = stretch((this.#lines[line0 + sub] as number) >>> 16);
        const c = stretch((this.#lines[line1 + sub] as number) >>> 16);
        const m = node * 3;
        const w0 = mix[m] as number;
        const w1 = mix[m + 1] as number;
        const w2 = mix[m + 2] as number;
        const p = squash(((Math.imul(w0, a) + Math.imul(w1, b) + Math.imul(w2, c)) | 0) >> 16);
        const bit = this.#coder.bit(p, (want >>> (half + k)) & 1);
        const error = (bit << 16) - p;
        mix[m] = w0 + ((a * error + 32768) >> 16);
        mix[m + 1] = w1 + ((b * error + 32768) >> 16);
        mix[m + 2] = w2 + ((c * error + 32768) >> 16);
        learn(this.#order1, order1 + node, bit, LIMIT);
        learn(this.#lines, line0 + sub, bit, LIMIT);
        learn(this.#lines, line1 + sub, bit, LIMIT);
        sub = (sub << 1) | bit;
        node = (node << 1) | bit;
      }
    }
    return node & 0xff;
  }
}

/** Where the 16 models of one half of a byte begin. */
function line(hash: number): number {
  const x = hash ^ (hash >>> 15);
  return (Math.imul(x, 0x2c1b_3c6d) >>> (32 - LINE_BITS)) << 4;
}
