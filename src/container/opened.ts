import { streamAfter } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * The opened target: each of its streams is replaced by what it holds, once. Pages see it segment by segment, and what crosses
 * from one to the next twice; references are moved by where things lie in here, where an executable is in one piece.
 */

/** Where what target bytes begin with lies in the opened target: a place within a stream is that of its beginning. */
export function opener(streams: Streams): (place: number) => number {
  const { at, size, held } = streams;
  const grown = new Float64Array(at.length + 1);
  for (let n = 0; n < at.length; n++) grown[n + 1] = (grown[n] as number) + (held[n] as number) - (size[n] as number);
  return (place) => {
    const n = streamAfter(streams, place);
    return Math.min(place, at[n] ?? place) + (grown[n] as number);
  };
}

/** Where a segment's expanded bytes begin, and where they lie in the opened target. */
export interface OpenedSegment {
  readonly expanded: number;
  readonly opened: number;
}

/** Covers of a page (src/delta/types.ts) by where they lie in the opened target: cut at ends of its segments that a stream crosses. */
export function openedCovers(covers: Float64Array, segments: readonly OpenedSegment[]): Float64Array {
  const moved = segments.map(({ expanded, opened }) => opened - expanded);
  // In columns of their own size: lists of numbers that grow would take three times as much for a while.
  const placed = new Float64Array(covers.length + 4 * segments.length);
  let used = 0;
  const place = (target: number, length: number, base: number, fill: number): void => {
    placed[used++] = target;
    placed[used++] = length;
    placed[used++] = base;
    placed[used++] = fill;
  };
  let s = 0;
  for (let i = 0; i < covers.length; i += 4) {
    let [target, length, base] = [covers[i] as number, covers[i + 1] as number, covers[i + 2] as number];
    const fill = covers[i + 3] as number;
    const end = target + length;
    while ((segments[s + 1]?.expanded ?? Infinity) <= target) s++;
    for (let next = s + 1; (segments[next]?.expanded ?? Infinity) < end; next++) {
      if (moved[next] === moved[s]) continue;
      const here = (segments[next] as OpenedSegment).expanded - target;
      place(target + (moved[s] ?? 0), here, base, fill);
      target += here;
      length -= here;
      if (fill < 0) base += here;
      s = next;
    }
    place(target + (moved[s] ?? 0), length, base, fill);
  }
  return placed.subarray(0, used);
}
