import { Gamma, log2Floor } from './change.ts';
import { RangeDecoder, RangeEncoder } from './coder.ts';
import { models, plain } from './model.ts';
import type { BitCoder } from './model.ts';
import { nibble, nibbleModels } from './nibbles.ts';
import type { Numbers } from './numbers.ts';

/** A payload that lists changes, where they are few: the twin of native/delta/coding/few.h (docs/delta.md, "Few changes"). */

/** The first bytes of such payloads begin here. */
export const FEW_HEAD = 32;
/** Changes that the first byte says. */
const IN_HEAD = 74;
const MOST = IN_HEAD + 4096;
/** Equal bytes between two changes that are cheaper than another change. */
const JOINED = 2;
/** A gap is as the last one: 1 in 8. */
const SAME = 8192 * 65536;
const QUOTIENTS = 8;

/** Changed bytes of which it takes long to try all ways. */
const MANY = 2 ** 16;

/** How changed bytes are coded: themselves, what is added to the prediction, or that once for all bytes of a change. */
export const FewWay = { BYTES: 0, ADDED: 1, SAME: 2 } as const;
const WAYS = 3;

interface Change {
  readonly at: number;
  length: number;
}

/** A decoder changes `bytes` into the target; encoders bring `changes` and leave them. False: damaged. */
function code(coder: BitCoder, way: number, count: number, changes: readonly Change[], bytes: Uint8Array, target: Uint8Array): boolean {
  const same = models(1, SAME);
  const more = models(QUOTIENTS);
  const lengths = new Gamma(coder);
  const highs = nibbleModels(1);
  const lows = nibbleModels(16);
  let at = 0;
  let gap = 0;
  for (let i = 0; i < count; i++) {
    const left = bytes.length - at;
    const want = coder.decodes ? 0 : (changes[i]?.at ?? 0) - at;
    if (i === 0 || plain(coder, same, 0, want === gap ? 1 : 0) === 0) {
      const mean = Math.floor(left / (count - i));
      const bits = mean === 0 ? 0 : log2Floor(mean);
      let q = 0;
      while (plain(coder, more, Math.min(q, QUOTIENTS - 1), q < want >> bits ? 1 : 0) !== 0) if (++q > left >> bits) return false;
      gap = q;
      for (let k = bits; k > 0; ) {
        const some = Math.min(k, 16);
        k -= some;
        gap = gap * 2 ** some + coder.raw(some, (want >> k) & (2 ** some - 1));
      }
    }
    if (gap >= left) return false;
    at += gap;
    const length = lengths.code(coder.decodes ? 0 : (changes[i]?.length ?? 1) - 1) + 1;
    if (length > bytes.length - at) return false;
    let by = 0;
    for (const begin = at, end = at + length; at < end; at++) {
      const wanted = coder.decodes ? 0 : (target[at] as number);
      if (way === FewWay.BYTES) {
        const byte = coder.raw(8, wanted);
        if (coder.decodes) bytes[at] = byte;
        continue;
      }
      if (way === FewWay.ADDED || at === begin) {
        by = (wanted - (bytes[at] as number)) & 255;
        const high = nibble(coder, highs, 0, by >> 4);
        by = (high << 4) | nibble(coder, lows, high, by & 15);
      }
      if (coder.decodes) bytes[at] = (bytes[at] as number) + by;
    }
  }
  return true;
}

/** What differs; undefined: nothing, or too much to be listed. */
function differing(prediction: Uint8Array, target: Uint8Array): readonly Change[] | undefined {
  const changes: Change[] = [];
  for (let at = 0; at < target.length; ) {
    if (prediction[at] === target[at]) {
      at++;
      continue;
    }
    let end = at;
    while (end < target.length && prediction[end] !== target[end]) end++;
    const last = changes.at(-1);
    if (last !== undefined && at - last.at - last.length <= JOINED) last.length = end - last.at;
    else if (changes.length === MOST) return undefined;
    else changes.push({ at, length: end - at });
    at = end;
  }
  return changes.length === 0 ? undefined : changes;
}

/** Whether all bytes of each change become larger by the same. */
function areSame(prediction: Uint8Array, target: Uint8Array, changes: readonly Change[]): boolean {
  const by = (at: number): number => ((target[at] as number) - (prediction[at] as number)) & 255;
  return changes.every(({ at, length }) => {
    for (let k = 1; k < length; k++) if (by(at + k) !== by(at)) return false;
    return true;
  });
}

/** The smallest of all ways; undefined: too much differs. */
export function encodeFew(prediction: Uint8Array, target: Uint8Array): Uint8Array | undefined {
  const changes = differing(prediction, target);
  if (changes === undefined) return undefined;
  const said = Math.min(changes.length, IN_HEAD);
  const bytes = changes.reduce((sum, { length }) => sum + length, 0);
  let best: Uint8Array | undefined;
  for (const way of [FewWay.BYTES, FewWay.ADDED, FewWay.SAME]) {
    if (way === FewWay.SAME ? !areSame(prediction, target, changes) : way === FewWay.ADDED && bytes > MANY) continue;
    const coder = new RangeEncoder();
    code(coder, way, changes.length, changes, prediction, target);
    const rest = changes.length - said;
    const number = said < IN_HEAD ? [] : rest < 128 ? [rest] : [(rest & 127) | 128, rest >> 7];
    const made = Buffer.concat([Buffer.from([FEW_HEAD + WAYS * (said - 1) + way, ...number]), coder.finish()]);
    if (best === undefined || made.length < best.length) best = made;
  }
  return best;
}

/** `head`: the first byte, at least `FEW_HEAD`; `input` behind it. False: damaged. */
export function decodeFew(head: number, input: Numbers, payload: Uint8Array, prediction: Uint8Array): boolean {
  let count = Math.floor((head - FEW_HEAD) / WAYS) + 1;
  if (count === IN_HEAD) {
    const rest = input.number(MOST - IN_HEAD, 2);
    if (rest === undefined) return false;
    count += rest;
  }
  return code(new RangeDecoder(payload.subarray(input.at)), (head - FEW_HEAD) % WAYS, count, [], prediction, prediction);
}
