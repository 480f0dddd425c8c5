import { log2Floor, Gamma } from './change.ts';
import { RangeDecoder, RangeEncoder } from './coder.ts';
import { LiteralWay } from './literals.ts';
import { MixedBytes } from './mixed.ts';
import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';
import { NibbleBytes, nibbleModels, steadyNibble } from './nibbles.ts';

/** Payloads that are made of passages: the twin of native/delta/coding/passages.h (docs/delta.md, "Passages"). */

/** First bytes of such payloads: this or one more. */
export const PASSAGES_HEAD = 254;
const STATES = 9;
const KNOWN = 4;
const LEAST_NEW = 2;
/** Longer than any segment. */
const LONGEST = 8 * 1024 * 1024;

/** What comes next: a byte, `length` bytes from a new `distance`, or from the distance known as number `kind` − KNOWN_FIRST. */
export const Step = { BYTE: 0, NEW: 1, KNOWN_FIRST: 2 } as const;

export interface Passage {
  kind: number;
  length: number;
  /** Back in the prediction followed by the segment. */
  distance: number;
  /** Of kind BYTE. */
  byte: number;
}

/** Lengths and magnitudes. */
class Sizes {
  readonly #coder: BitCoder;
  readonly #size = nibbleModels(4);
  readonly #top = nibbleModels(4 * 7);
  readonly #rest: Gamma;
  readonly #far = nibbleModels(2 * 4);
  readonly #below = nibbleModels(2 * 16);
  readonly #low = nibbleModels(2);

  constructor(coder: BitCoder) {
    this.#coder = coder;
    this.#rest = new Gamma(coder);
  }

  /** `v`: a length minus the least there can be. */
  length(which: number, v: number): number {
    const bits = v < 8 ? 0 : log2Floor(v);
    const half = steadyNibble(this.#coder, this.#size, which, v < 8 ? v : Math.min(8 + bits - 3, 15));
    if (half < 8) return half;
    if (half === 15) return 1024 + Math.min(this.#rest.code(v - 1024), LONGEST);
    const k = half - 8 + 3;
    const top = 8 | (steadyNibble(this.#coder, this.#top, which * 7 + half - 8, (v >>> (k - 3)) & 7) & 7);
    return k > 3 ? (top << (k - 3)) | this.#coder.raw(k - 3, v & ((1 << (k - 3)) - 1)) : top;
  }

  /** `v`: 1 … 2^25 − 1, a step between distances into the prediction if `ahead` is 1, else a distance back in the segment. */
  far(ahead: number, length: number, v: number): number {
    const coder = this.#coder;
    const bits = coder.decodes ? 0 : log2Floor(v);
    const three = bits >= 3 ? (v >>> (bits - 3)) & 7 : (v << (3 - bits)) & 7;
    const half = steadyNibble(coder, this.#far, ahead * 4 + Math.min(length - LEAST_NEW, 3), bits >>> 1);
    const sub = steadyNibble(coder, this.#below, ahead * 16 + half, ((bits & 1) << 3) | three);
    const k = (half << 1) | (sub >>> 3);
    let r = 8 | (sub & 7);
    if (k <= 3) return r >>> (3 - k);
    let left = k - 3;
    while (left > 4) {
      const some = Math.min(left - 4, 16);
      left -= some;
      r = ((r << some) | coder.raw(some, (v >>> left) & (2 ** some - 1))) >>> 0;
    }
    const mask = (1 << left) - 1;
    return ((r << left) | (left === 4 ? steadyNibble(coder, this.#low, ahead, v & mask) & mask : coder.raw(left, v & mask))) >>> 0;
  }
}

export class Passages {
  readonly #coder: BitCoder;
  readonly #dictionary: Uint8Array;
  readonly #made: Uint8Array;
  readonly #sizes: Sizes;
  readonly #passage = models(STATES * 256);
  readonly #isKnown = models(STATES);
  readonly #which = models((KNOWN - 1) * STATES);
  readonly #isAhead = models(STATES);
  readonly #back = models(1);
  /** Of bytes, and of those behind a passage. */
  readonly #bytes: readonly [NibbleBytes | MixedBytes, NibbleBytes | MixedBytes];
  #state = 0;
  readonly #known: number[];
  /** The last distance that led into the prediction. */
  #ahead: number;

  /** `dictionary` and `made` are equally long; the second is right up to where the coder is. */
  constructor(coder: BitCoder, way: number, dictionary: Uint8Array, made: Uint8Array) {
    this.#coder = coder;
    this.#dictionary = dictionary;
    this.#made = made;
    this.#sizes = new Sizes(coder);
    const bytes = (): NibbleBytes | MixedBytes => (way === LiteralWay.MIXED ? new MixedBytes(coder) : new NibbleBytes(coder));
    this.#bytes = [bytes(), bytes()];
    this.#known = [made.length, 1, 2, 4];
    this.#ahead = made.length;
  }

  /** Codes the step at place `at`, or decodes it into `step`. False: it leads out of bounds. */
  step(at: number, step: Passage): boolean {
    const coder = this.#coder;
    const state = this.#state;
    const before = at === 0 ? 0 : (this.#made[at - 1] as number);
    if (plain(coder, this.#passage, state * 256 + before, step.kind === Step.BYTE ? 0 : 1) === 0) {
      step.kind = Step.BYTE;
      step.length = 1;
      step.distance = 0;
      step.byte = this.#byte(at, step.byte);
      this.#state = (state % 3) * 3;
      return true;
    }
    let number = 0;
    if (plain(coder, this.#isKnown, state, step.kind >= Step.KNOWN_FIRST ? 1 : 0) !== 0) {
      const want = step.kind - Step.KNOWN_FIRST;
      while (number < KNOWN - 1 && plain(coder, this.#which, number * STATES + state, number < want ? 1 : 0) !== 0) number++;
      step.kind = Step.KNOWN_FIRST + number;
      step.distance = this.#known[number] as number;
      step.length = 1 + this.#sizes.length(number === 0 ? 2 : 3, step.length - 1);
    } else {
      step.kind = Step.NEW;
      number = KNOWN - 1;
      const ahead = plain(coder, this.#isAhead, state, step.distance > at ? 1 : 0);
      step.length = LEAST_NEW + this.#sizes.length(ahead, step.length - LEAST_NEW);
      if (ahead !== 0) {
        const by = step.distance - this.#ahead;
        const back = plain(coder, this.#back, 0, by < 0 ? 1 : 0);
        const far = this.#sizes.far(1, step.length, Math.abs(by) + 1) - 1;
        step.distance = (back === 0 ? this.#ahead + far : this.#ahead - far) >>> 0;
      } else {
        step.distance = this.#sizes.far(0, step.length, step.distance);
      }
    }
    if (!this.#isWithin(at, step)) return false;
    this.#state = (state % 3) * 3 + (step.kind === Step.NEW ? 1 : 2);
    for (let k = number; k > 0; k--) this.#known[k] = this.#known[k - 1] as number;
    this.#known[0] = step.distance;
    if (step.distance > at) this.#ahead = step.distance;
    return true;
  }

  /** The byte that lies `distance` back. */
  byteBack(at: number, distance: number): number {
    return (distance > at ? this.#dictionary[this.#made.length + at - distance] : this.#made[at - distance]) as number;
  }

  #isWithin(at: number, { length, distance }: Passage): boolean {
    const size = this.#made.length;
    if (length > size - at || distance === 0) return false;
    return distance <= at || (distance <= size + at && length <= distance - at);
  }

  #byte(at: number, want: number): number {
    const p = this.#made;
    const recent = at >= 4 ? ((p[at - 4] as number) | ((p[at - 3] as number) << 8) | ((p[at - 2] as number) << 16) | ((p[at - 1] as number) << 24)) >>> 0 : 0;
    if (this.#state % 3 === 0) return this.#bytes[0].byte(recent, want);
    // With what would come next in the passage that ended, in the place of the second.
    const distance = this.#known[0] as number;
    const next = distance <= p.length + at ? this.byteBack(at, distance) : 0;
    return this.#bytes[1].byte(((recent & 0xff00_0000) | (next << 16) | ((recent >>> 8) & 0xff00)) >>> 0, want);
  }
}

/** `bytes` is the prediction and becomes the target, or anything where the payload is damaged: then false. `steps` receives what it is made of. */
export function decodePassages(payload: Uint8Array, bytes: Uint8Array, steps?: Passage[]): boolean {
  const way = payload[0] === PASSAGES_HEAD ? LiteralWay.MIXED : LiteralWay.NIBBLES;
  const passages = new Passages(new RangeDecoder(payload.subarray(1)), way, Uint8Array.from(bytes), bytes);
  const step: Passage = { kind: Step.BYTE, length: 1, distance: 0, byte: 0 };
  for (let at = 0; at < bytes.length; ) {
    if (!passages.step(at, step)) return false;
    steps?.push({ ...step });
    if (step.kind === Step.BYTE) {
      bytes[at++] = step.byte;
      continue;
    }
    for (const end = at + step.length; at < end; at++) bytes[at] = passages.byteBack(at, step.distance);
  }
  return true;
}

/** Codes `target` by these steps, which make it. */
export function encodePassages(way: number, prediction: Uint8Array, target: Uint8Array, steps: readonly Passage[]): Uint8Array {
  const coder = new RangeEncoder();
  const passages = new Passages(coder, way, prediction, target);
  let at = 0;
  for (const step of steps) {
    passages.step(at, { ...step });
    at += step.length;
  }
  return Buffer.concat([Buffer.from([PASSAGES_HEAD + (way === LiteralWay.MIXED ? 0 : 1)]), coder.finish()]);
}
