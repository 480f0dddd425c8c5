/**
 * Adaptive bit models and the logistic squash, in 32-bit integers: the twin of native/delta/coding/model.h (docs/delta.md,
 * "Models"). A model is one element of a `Uint32Array`: the probability of a one in the upper 16 bits, how often it was
 * updated in the lower 16.
 */

/** A model that knows nothing yet. */
export const EVEN = 0x8000_0000;

/** 65536 / (1 + exp(-x)) at x = -8, -7.5 … 8; straight lines between them. */
const KNOTS = [22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514];

function squashAt(x: number): number {
  const i = (x + 2048) >> 7;
  const w = (x + 2048) & 127;
  return ((KNOTS[i] ?? 0) * (128 - w) + (KNOTS[i + 1] ?? 0) * w) >> 7;
}

const SQUASH = Uint16Array.from({ length: 4096 }, (_, i) => squashAt(i - 2048));

const STRETCH = ((): Int16Array => {
  const table = new Int16Array(4096);
  let x = -2048;
  for (let i = 0; i < 4096; i++) {
    while (x < 2047 && squashAt(x) < i * 16 + 8) x++;
    table[i] = x;
  }
  return table;
})();

const RATE = Int32Array.from({ length: 128 }, (_, n) => Math.floor(65536 / (2 * n + 3)));

/** ln(p/(1-p)) · 256 of a probability of 65536. */
export function stretch(p: number): number {
  return STRETCH[p >>> 4] as number;
}

/** The inverse of `stretch`; 22 … 65514. */
export function squash(x: number): number {
  return SQUASH[(x < -2048 ? -2048 : x > 2047 ? 2047 : x) + 2048] as number;
}

/** Moves a model towards `bit`, fast while it is new. `limit` (below 128) is how many updates count. */
export function learn(models: Uint32Array, at: number, bit: number, limit: number): void {
  const state = models[at] as number;
  const n = state & 0xffff;
  const p = state >>> 16;
  const next = p + ((((bit === 0 ? 0 : 65535) - p) * (RATE[n] as number)) >> 15);
  models[at] = ((next << 16) | (n < limit ? n + 1 : n)) >>> 0;
}

/** Codes or decodes bits and symbols: one model code, two directions. */
export interface BitCoder {
  readonly decodes: boolean;
  /** `p`: probability of a one, 1 … 65535 of 65536. `bit` is what to encode; a decoder ignores it. Returns the bit. */
  bit(p: number, bit: number): number;
  /** Where in 65536 the next symbol lies, for a decoder; `take` then says which one it was, or encodes it. */
  peek(): number;
  /** `count` bits, 1 … 16, that are as likely zeros as ones. */
  raw(count: number, value: number): number;
  take(start: number, width: number): void;
}

const PLAIN_LIMIT = 60;

/** A bit with a model of its own. */
export function plain(coder: BitCoder, models: Uint32Array, at: number, bit: number): number {
  const p = (models[at] as number) >>> 16;
  const got = coder.bit(p === 0 ? 1 : p, bit);
  learn(models, at, got, PLAIN_LIMIT);
  return got;
}

/** `count` models that all start as `state`. */
export function models(count: number, state: number = EVEN): Uint32Array {
  return new Uint32Array(count).fill(state);
}
