import type { Cover } from '../types.ts';

/**
 * Finds where a target's bytes come from, without native code: slower and somewhat worse than native/delta/match/match.cc, and
 * right. Seeds are equal stretches found through a hash of 16 bytes at every fourth base position; they grow towards each
 * other over unequal bytes as in bsdiff (Percival 2003).
 */

const WINDOW = 16;
const STEP = 4;
const LEAST_SEED = 24;
const LEAST_GAIN = 26;
const GROW_DROP = 256;
const FILL_RUN = 64;
/** Base bytes that the index of seeds covers at most with every `STEP`; a larger base is indexed more sparsely. */
const INDEX_MAX_BITS = 24;

interface Seed {
  target: number;
  base: number;
  length: number;
}

export function findCovers(base: Uint8Array, target: Uint8Array, signal?: AbortSignal): Cover[] {
  const seeds = findSeeds(base, target, signal);
  const kept = prune(base, target, grow(base, target, seeds));
  return withFills(target, grow(base, target, kept));
}

function hashAt(view: DataView, at: number): number {
  let h = Math.imul(view.getUint32(at, true), 0x9e37_79b1);
  h = Math.imul(h ^ (h >>> 15) ^ view.getUint32(at + 4, true), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13) ^ view.getUint32(at + 8, true), 0xc2b2_ae35);
  h = Math.imul(h ^ (h >>> 16) ^ view.getUint32(at + 12, true), 0x27d4_eb2f);
  return h ^ (h >>> 15);
}

function findSeeds(base: Uint8Array, target: Uint8Array, signal: AbortSignal | undefined): Seed[] {
  const seeds: Seed[] = [];
  if (base.length < WINDOW || target.length < WINDOW) return seeds;
  let step = STEP;
  let bits = 10;
  while (bits < INDEX_MAX_BITS && 2 ** bits < base.length / step) bits++;
  while (base.length / step > 2 ** (bits + 1)) step *= 2;
  const shift = 32 - bits;
  const table = new Uint32Array(2 ** bits);
  const baseView = new DataView(base.buffer, base.byteOffset, base.length);
  const targetView = new DataView(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i + WINDOW <= base.length; i += step) {
    const at = hashAt(baseView, i) >>> shift;
    if (table[at] === 0) table[at] = i / step + 1;
  }
  let diagonal = 0;
  let have = false;
  let done = 0;
  for (let t = 0; t + WINDOW <= target.length; ) {
    if ((t & 0xfffff) === 0) signal?.throwIfAborted();
    let from = have && t + diagonal >= 0 && t + diagonal < base.length ? t + diagonal : -1;
    let length = from < 0 ? 0 : equal(base, from, target, t);
    if (length < LEAST_SEED) {
      const found = table[hashAt(targetView, t) >>> shift] as number;
      if (found !== 0 && (found - 1) * step !== from) {
        const other = (found - 1) * step;
        const otherLength = equal(base, other, target, t);
        if (otherLength >= LEAST_SEED && otherLength > length) {
          from = other;
          length = otherLength;
        }
      }
    }
    if (length < LEAST_SEED) {
      t++;
      continue;
    }
    let start = t;
    while (start > done && from > 0 && base[from - 1] === target[start - 1]) {
      start--;
      from--;
      length++;
    }
    const last = seeds.at(-1);
    if (last !== undefined && last.base - last.target === from - start) last.length = start + length - last.target;
    else seeds.push({ target: start, base: from, length });
    diagonal = from - start;
    have = true;
    t = start + length;
    done = t;
  }
  return seeds;
}

function equal(base: Uint8Array, from: number, target: Uint8Array, at: number): number {
  const limit = Math.min(base.length - from, target.length - at);
  let n = 0;
  while (n < limit && base[from + n] === target[at + n]) n++;
  return n;
}

/** How far to go over unequal bytes so that equal ones outweigh them. */
function reach(base: Uint8Array, from: number, target: Uint8Array, at: number, limit: number, direction: 1 | -1): number {
  let score = 0;
  let best = 0;
  let length = 0;
  for (let i = 0; i < limit; i++) {
    const same = direction > 0 ? base[from + i] === target[at + i] : base[from - 1 - i] === target[at - 1 - i];
    score += same ? 1 : -1;
    if (score > best) {
      best = score;
      length = i + 1;
    } else if (score < best - GROW_DROP) {
      break;
    }
  }
  return length;
}

function grow(base: Uint8Array, target: Uint8Array, seeds: readonly Seed[]): Seed[] {
  const covers: Seed[] = [];
  for (const seed of seeds) {
    const c = { ...seed };
    const previous = covers.at(-1);
    const begin = previous === undefined ? 0 : previous.target + previous.length;
    const gap = c.target - begin;
    let forward = 0;
    if (previous !== undefined) {
      const from = previous.base + previous.length;
      forward = reach(base, from, target, begin, Math.min(gap, base.length - from), 1);
    }
    let backward = reach(base, c.base, target, c.target, Math.min(gap, c.base), -1);
    if (previous !== undefined && forward + backward > gap) {
      // They overlap: the split with the most equal bytes.
      let gain = 0;
      let bestGain = 0;
      let split = c.target - backward;
      for (let at = split; at < begin + forward; at++) {
        if (base[previous.base + (at - previous.target)] === target[at]) gain++;
        if (base[c.base - (c.target - at)] === target[at]) gain--;
        if (gain > bestGain) {
          bestGain = gain;
          split = at + 1;
        }
      }
      forward = split - begin;
      backward = c.target - split;
    }
    if (previous !== undefined) previous.length += forward;
    c.target -= backward;
    c.base -= backward;
    c.length += backward;
    covers.push(c);
  }
  const last = covers.at(-1);
  if (last !== undefined) {
    const from = last.base + last.length;
    const at = last.target + last.length;
    last.length += reach(base, from, target, at, Math.min(base.length - from, target.length - at), 1);
  }
  return covers;
}

/** A cover costs a few bytes of map: those that save less go, and their neighbours grow over them. */
function prune(base: Uint8Array, target: Uint8Array, covers: readonly Seed[]): Seed[] {
  const kept: Seed[] = [];
  for (const c of covers) {
    let same = 0;
    for (let i = 0; i < c.length; i++) if (base[c.base + i] === target[c.target + i]) same++;
    const last = kept.at(-1);
    const joins = last !== undefined && last.base - last.target === c.base - c.target;
    if (same < (joins ? LEAST_GAIN / 4 : LEAST_GAIN) + (c.length - same)) continue;
    if (joins) last.length = c.target + c.length - last.target;
    else kept.push({ ...c });
  }
  return kept;
}

function withFills(target: Uint8Array, covers: readonly Seed[]): Cover[] {
  const all: Cover[] = [];
  let at = 0;
  const fills = (end: number): void => {
    while (at + FILL_RUN <= end) {
      let length = 1;
      while (at + length < end && target[at + length] === target[at]) length++;
      if (length >= FILL_RUN) all.push({ target: at, length, base: 0, fill: target[at] as number });
      at += length;
    }
  };
  for (const { target: begin, base, length } of covers) {
    fills(begin);
    if (length > 0) all.push({ target: begin, length, base, fill: -1 });
    at = begin + length;
  }
  fills(target.length);
  return all;
}
