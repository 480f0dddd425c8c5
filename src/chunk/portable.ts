import type { ChunkingRecord } from '../core/manifest.ts';

/**
 * The twin of native/chunk: the same cuts, in TypeScript. docs/chunking.md explains the definition; the names are those
 * of native/chunk/comb.h.
 */

const STRIDE = 31;
const TEETH = 32;
const PARTNER = 11;
const FILTER = 0xfff0;

/** SplitMix64 from seed 0x53686f616c, upper halves: by low nibble, then by high nibble. */
export const GEAR_LOW: readonly number[] = [
  0x0af66a26, 0x8baf1260, 0xd5ff7bd2, 0xfa839b0c, 0xd9127806, 0x3a4cbe9f, 0x4e2f8e46, 0xa126a105,
  0x46168e03, 0xb92c6848, 0xda834c08, 0xc44b5488, 0xf774eebe, 0xac148c75, 0x7931e91e, 0xeb6788ca,
];
export const GEAR_HIGH: readonly number[] = [
  0x445c2940, 0xfb25040f, 0x5549d2ae, 0xeee52cf7, 0xe2e087d6, 0xa7b19fbd, 0xd3386043, 0x6a89716d,
  0x4fe17834, 0x2cf8123f, 0x1b778895, 0x82445848, 0x86831b7d, 0xa46846c6, 0x1032fbd9, 0x8f070488,
];

const gear = Uint32Array.from({ length: 256 }, (_, byte) => (GEAR_LOW[byte & 15] ?? 0) ^ (GEAR_HIGH[byte >> 4] ?? 0));

/**
 * The first cut (exclusive end) of the chunk that begins at `start`, or 0 when none of its lengths from `min` to
 * `end - start` ends in one. One step per byte, whatever the bytes are.
 */
function findCut(data: Uint8Array, start: number, end: number, params: ChunkingRecord): number {
  const { min, avg } = params;
  const turn = start + Math.floor(avg / 4) * 3 - 1; // the first position whose chunk length reaches the turn
  const strict = Math.floor((3 * 2 ** 25) / avg);
  const loose = Math.floor((7 * 2 ** 27) / avg);
  const first = start + min - 1;
  const table = gear;
  const hashes = new Int32Array(STRIDE);
  let at = first - STRIDE * (TEETH - 1);
  // Whole turns of the comb, so that `first` begins a turn.
  while (at < first) {
    for (let tooth = 0; tooth < STRIDE; tooth++, at++) {
      hashes[tooth] = ((hashes[tooth] as number) << 1) + (table[((data[at] as number) + (data[at - PARTNER] as number)) & 255] as number);
    }
  }
  while (at < end) {
    const teeth = Math.min(STRIDE, end - at);
    for (let tooth = 0; tooth < teeth; tooth++, at++) {
      const hash = (((hashes[tooth] as number) << 1) + (table[((data[at] as number) + (data[at - PARTNER] as number)) & 255] as number)) | 0;
      hashes[tooth] = hash;
      if ((hash & FILTER) === 0 && hash >>> 16 < (at < turn ? strict : loose)) return at + 1;
    }
  }
  return 0;
}

/** What `findCuts` promises, on parameters that were checked. Writes to `cuts` and returns how many. */
export function portableCuts(data: Uint8Array, params: ChunkingRecord, final: boolean, cuts: Uint32Array): number {
  const { min, max } = params;
  let count = 0;
  for (let start = 0; start < data.length; ) {
    const left = data.length - start;
    let cut = left >= min ? findCut(data, start, start + Math.min(left, max), params) : 0;
    if (cut === 0) {
      if (left >= max) cut = start + max;
      else if (final) cut = data.length;
      else break;
    }
    cuts[count++] = cut;
    start = cut;
  }
  return count;
}
