import { CONTAINER_PART_BYTES, CONTAINER_UNIT_MAX_BYTES, DELTA_SEGMENT_MAX_BYTES } from '../core/limits.ts';
import { pick, streamAfter } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * How target bytes are made from what their streams hold. A segment's bytes are expanded by themselves: a stream that crosses
 * its end is there whole, and again in the next one, so that segments stay independent of each other.
 */

/** Bytes that stand for themselves, or a stream by what it holds. */
export interface Item {
  /** Number of the stream; −1 for bytes that stand for themselves. */
  readonly stream: number;
  /** Where its target bytes begin. */
  readonly at: number;
  /** Expanded bytes. */
  readonly length: number;
}

/** What is made at a time. */
export interface Part {
  readonly length: number;
  readonly items: readonly Item[];
}

/** The items of target bytes [begin, end), in order. */
function itemsOf(streams: Streams, begin: number, end: number): Item[] {
  const items: Item[] = [];
  let at = begin;
  for (let n = streamAfter(streams, begin); n < streams.at.length && (streams.at[n] as number) < end; n++) {
    const from = streams.at[n] as number;
    if (from > at) items.push({ stream: -1, at, length: from - at });
    items.push({ stream: n, at: from, length: streams.held[n] as number });
    at = from + (streams.size[n] as number);
  }
  if (at < end) items.push({ stream: -1, at, length: end - at });
  return items;
}

/** The whole target, opened. */
export function openedItems(streams: Streams, size: number): readonly Item[] {
  return itemsOf(streams, 0, size);
}

/** How long it is then. */
export function openedSize(streams: Streams, size: number): number {
  return expandedBytes(streams, 0, size);
}

/** How many bytes target bytes [begin, end) are when they are expanded. */
export function expandedBytes(streams: Streams, begin: number, end: number): number {
  return itemsOf(streams, begin, end).reduce((sum, { length }) => sum + length, 0);
}

/** The parts of target bytes [begin, end): one where there is no stream, else of `CONTAINER_PART_BYTES` or one longer stream. */
export function partsOf(streams: Streams, begin: number, end: number): readonly Part[] {
  const items = itemsOf(streams, begin, end);
  if (items.every(({ stream }) => stream < 0)) return [{ length: end - begin, items }];
  const parts: Part[] = [];
  let open: Item[] = [];
  let length = 0;
  const close = (): void => {
    if (length > 0) parts.push({ length, items: open });
    open = [];
    length = 0;
  };
  for (const item of items) {
    if (item.stream >= 0) {
      if (length + item.length > CONTAINER_PART_BYTES) close();
      open.push(item);
      length += item.length;
      continue;
    }
    for (let done = 0; done < item.length; ) {
      if (length >= CONTAINER_PART_BYTES) close();
      const some = Math.min(item.length - done, CONTAINER_PART_BYTES - length);
      open.push({ stream: -1, at: item.at + done, length: some });
      length += some;
      done += some;
    }
  }
  close();
  return parts;
}

/** What one segment is to hold when expanded, roughly. */
const UNIT_BYTES = 8 * 1024 * 1024;
/** A stream of so many bytes is worth a longer segment, so that it does not lie in two. */
const LARGE_BYTES = 512 * 1024;

export interface Units {
  /** Ends of the segments' target bytes; all are ends of spans. */
  readonly ends: readonly number[];
  /** Without the streams that hold too much for where they lie. */
  readonly streams: Streams;
}

/**
 * Bytes that nothing makes shorter, so that the payload is as long: a segment that has more of them closes. A device has memory for both. Less than the 2 MiB of
 * most spans: a head or two among noise do not make it two spans.
 */
const DENSE_BYTES = 1.5 * 1024 * 1024;
/** Judged by its first bytes, and from so many bits a byte on: what was compressed or encrypted. */
const DENSE_STRETCH = 64 * 1024;
const DENSE_SAMPLE = 8 * 1024;
const DENSE_BITS = 7.9;

/** How many of `bytes`, outside of streams, from `begin` to `end`, look like noise. */
function denseBytes(bytes: Uint8Array, streams: Streams, begin: number, end: number): number {
  let dense = 0;
  for (const { stream, at, length } of itemsOf(streams, begin, end)) {
    for (let from = at; stream < 0 && from + DENSE_STRETCH <= at + length; from += DENSE_STRETCH) {
      const counts = new Uint32Array(256);
      for (let i = from; i < from + DENSE_SAMPLE; i++) counts[bytes[i] as number] = (counts[bytes[i] as number] as number) + 1;
      let bits = 0;
      for (const count of counts) if (count > 0) bits -= (count / DENSE_SAMPLE) * Math.log2(count / DENSE_SAMPLE);
      if (bits >= DENSE_BITS) dense += DENSE_STRETCH;
    }
  }
  return dense;
}

/** Cuts a target into segments on `spanEnds`. */
export function unitsOf(target: Uint8Array, all: Streams, spanEnds: readonly number[]): Units {
  const streams = withinBounds(all, spanEnds);
  const ends: number[] = [];
  let begin = 0;
  let dense = 0;
  for (const [i, end] of spanEnds.entries()) {
    const next = spanEnds[i + 1];
    dense += denseBytes(target, streams, spanEnds[i - 1] ?? 0, end);
    if (next !== undefined && next - begin <= DELTA_SEGMENT_MAX_BYTES && dense < DENSE_BYTES) {
      const n = streamAfter(streams, end);
      const crosses = n < streams.at.length && (streams.at[n] as number) < end && (streams.held[n] as number) >= LARGE_BYTES;
      if (expandedBytes(streams, begin, next) <= (crosses ? CONTAINER_UNIT_MAX_BYTES / 2 : UNIT_BYTES)) continue;
    }
    ends.push(end);
    begin = end;
    dense = 0;
  }
  return { ends, streams };
}

/** Leaves out what holds most in spans that would be too long expanded. */
function withinBounds(streams: Streams, spanEnds: readonly number[]): Streams {
  const left = new Set<number>();
  let begin = 0;
  for (const end of spanEnds) {
    const inside = itemsOf(streams, begin, end).filter(({ stream }) => stream >= 0 && !left.has(stream)).sort((a, b) => b.length - a.length);
    let sum = end - begin + inside.reduce((all, { length }) => all + length, 0);
    for (const { stream, length } of inside) {
      if (sum <= CONTAINER_UNIT_MAX_BYTES / 2) break;
      left.add(stream);
      sum -= length;
    }
    begin = end;
  }
  return left.size === 0 ? streams : pick(streams, (n) => !left.has(n));
}
