import type { BaseReader } from './predict.ts';
import type { Covers } from './types.ts';

/**
 * What covers show that lies behind the base's end: target bytes of earlier segments, as if the target followed the base (docs/delta.md,
 * "Earlier segments").
 */

/** Target bytes [begin, end). */
export interface TargetRange {
  readonly begin: number;
  readonly end: number;
}

/** The base, and behind it those `ranges` of the target that are there, read from `target`; zeros where there are none. */
export class EarlierBase implements BaseReader {
  readonly #base: BaseReader;
  readonly #baseSize: number;
  readonly #target: BaseReader | undefined;
  readonly #ranges: readonly TargetRange[];

  /** `ranges`: ascending, without overlap; none without a target. */
  constructor(base: BaseReader, baseSize: number, target?: BaseReader, ranges: readonly TargetRange[] = []) {
    this.#base = base;
    this.#baseSize = baseSize;
    this.#target = target;
    this.#ranges = target === undefined ? [] : ranges;
  }

  async read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }> {
    if (position < this.#baseSize) return this.#base.read(buffer, offset, Math.min(length, this.#baseSize - position), position);
    const at = position - this.#baseSize;
    const range = this.#ranges.find(({ end }) => end > at);
    if (range !== undefined && range.begin <= at && this.#target !== undefined) return this.#target.read(buffer, offset, Math.min(length, range.end - at), at);
    const bytesRead = Math.min(length, (range?.begin ?? Infinity) - at);
    buffer.fill(0, offset, offset + bytesRead);
    return { bytesRead };
  }
}

/** Whether no cover lies in the base in part and behind its end in part. */
export function keepsApart(covers: Covers, baseSize: number): boolean {
  for (let i = 0; i < covers.length; i += 4) {
    const from = covers[i + 2] as number;
    if ((covers[i + 3] as number) < 0 && from < baseSize && from + (covers[i + 1] as number) > baseSize) return false;
  }
  return true;
}

/** The covers that show the base. */
export function ofBase(covers: Covers, baseSize: number): Covers {
  const isBehind = (i: number): boolean => (covers[i + 3] as number) < 0 && (covers[i + 2] as number) >= baseSize;
  let kept = 0;
  for (let i = 0; i < covers.length; i += 4) kept += isBehind(i) ? 0 : 4;
  if (kept === covers.length) return covers;
  const shown = new Float64Array(kept);
  for (let i = 0, to = 0; i < covers.length; i += 4) {
    if (isBehind(i)) continue;
    shown.set(covers.subarray(i, i + 4), to);
    to += 4;
  }
  return shown;
}

/** Numbers of the `segments`, which follow each other, that covers of target bytes [begin, end) show; ascending. */
export function shownSegments(covers: Covers, { begin, end }: TargetRange, baseSize: number, segments: readonly TargetRange[]): readonly number[] {
  const shown = new Set<number>();
  for (let i = 0; i < covers.length; i += 4) {
    const target = covers[i] as number;
    const from = Math.max(begin, target);
    const to = Math.min(end, target + (covers[i + 1] as number));
    const source = (covers[i + 2] as number) + (from - target) - baseSize;
    if (from >= to || (covers[i + 3] as number) >= 0 || source < 0) continue;
    for (let n = segmentAt(segments, source); n < segments.length && (segments[n] as TargetRange).begin < source + (to - from); n++) shown.add(n);
  }
  return [...shown].sort((a, b) => a - b);
}

/** Number of the first that ends after `place`. */
function segmentAt(segments: readonly TargetRange[], place: number): number {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((segments[middle] as TargetRange).end <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}
