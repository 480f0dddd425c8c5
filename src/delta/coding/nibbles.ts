import type { BitCoder } from './model.ts';

const SEEN = 31;
const BITS = 12;
const HALF = 16;

/** After how many updates a model moves by what share: 2^-this. */
const shiftAfter = (seen: number): number => (seen < 1 ? 1 : seen < 3 ? 2 : seen < SEEN ? 3 : 4);

/** The same of symbols whose likelihood hardly changes. */
const steadyShift = (seen: number): number => 32 - Math.clz32(seen + 1);

export function nibbleModels(count: number): Uint16Array {
  const all = new Uint16Array(count * HALF);
  for (let i = 0; i < all.length; i++) all[i] = (i % HALF) << 12;
  return all;
}

/** How much of 65536 the value takes in the model at `at`. The first value begins at 0: its place counts updates. */
function widthOf(model: Uint16Array, at: number, nibble: number): number {
  const end = nibble === 15 ? 65536 : (model[at + nibble + 1] as number);
  return end - (nibble === 0 ? 0 : (model[at + nibble] as number));
}

function learn(model: Uint16Array, at: number, nibble: number, steady = false): void {
  const seen = model[at] as number;
  const shift = steady ? steadyShift(seen) : shiftAfter(seen);
  for (let i = 1; i < HALF; i++) {
    const to = i > nibble ? 0xffff : 0;
    const x = (model[at + i] as number) ^ to;
    model[at + i] = (x - (x >>> shift)) ^ to;
  }
  model[at] = Math.min(seen + 1, SEEN);
}

const spread = new Uint16Array(HALF);

/** A symbol of 16 values with a model of its own, number `number` of `models`. */
export function nibble(coder: BitCoder, models: Uint16Array, number: number, wanted: number, steady = false): number {
  const model = number * HALF;
  for (let i = 1; i < HALF; i++) {
    const x = models[model + i] as number;
    spread[i] = x - (x >>> 8) + 16 * i;
  }
  let value = wanted;
  if (coder.decodes) {
    const at = coder.peek();
    value = 0;
    for (let i = 1; i < HALF; i++) value += (spread[i] as number) <= at ? 1 : 0;
  }
  coder.take(spread[value] as number, widthOf(spread, 0, value));
  learn(models, model, value, steady);
  return value;
}

/** The same where its likelihood hardly changes. */
export function steadyNibble(coder: BitCoder, models: Uint16Array, number: number, wanted: number): number {
  return nibble(coder, models, number, wanted, true);
}

/** The fast way to code a byte nothing predicts: the twin of native/delta/coding/nibbles.h (docs/delta.md, "Literals"). */
export class NibbleBytes {
  readonly #coder: BitCoder;
  readonly #order1 = nibbleModels(256 * 17);
  readonly #hashed = nibbleModels(1 << BITS);
  /** Of the second, for two halves, by updates. */
  readonly #trust = new Uint16Array(2 * (SEEN + 1)).map((_, i) => (i % (SEEN + 1) === 0 ? 0 : 40000));
  readonly #all = new Uint16Array(HALF);

  constructor(coder: BitCoder) {
    this.#coder = coder;
  }

  byte(recent: number, want: number): number {
    const h = Math.imul((recent >>> 16) + 0x10000, 0x9e37_79b1);
    const order1 = (recent >>> 24) * 17 * HALF;
    const high = this.#half(order1, place(h, 0), 0, want >>> 4);
    const node = 1 + high;
    return (high << 4) | this.#half(order1 + node * HALF, place(h, node), 1, want & 15);
  }

  #half(a: number, b: number, low: number, wanted: number): number {
    const order1 = this.#order1;
    const hashed = this.#hashed;
    const all = this.#all;
    const trust = low * (SEEN + 1) + (hashed[b] as number);
    const wb = this.#trust[trust] as number;
    for (let i = 1; i < HALF; i++) {
      const x = (((order1[a + i] as number) * (65535 - wb)) >>> 16) + (((hashed[b + i] as number) * wb) >>> 16);
      all[i] = x - (x >>> 8) + 16 * i;
    }
    let nibble = wanted;
    if (this.#coder.decodes) {
      const at = this.#coder.peek();
      nibble = 0;
      for (let i = 1; i < HALF; i++) nibble += (all[i] as number) <= at ? 1 : 0;
    }
    this.#coder.take(all[nibble] as number, widthOf(all, 0, nibble));
    this.#judge(trust, widthOf(hashed, b, nibble), widthOf(order1, a, nibble));
    learn(order1, a, nibble);
    learn(hashed, b, nibble);
    return nibble;
  }

  #judge(at: number, width: number, other: number): void {
    if (width === other) return;
    const trust = this.#trust[at] as number;
    this.#trust[at] = trust + (((width > other ? 65535 : 0) - trust) >> 6);
  }
}

/** Where a model begins. */
function place(h: number, node: number): number {
  let x = (h + Math.imul(node, 0x9e37_79b1)) | 0;
  x ^= x >>> 15;
  return (Math.imul(x, 0x2c1b_3c6d) >>> (32 - BITS)) * HALF;
}
