import { native } from '../kernel/native.ts';
import { codingOf, streamAfter } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * MB of content a second and core, by level 1 … 9, of either encoder: `npm run bench -- deflate` on a server that others kept busy, for devices
 * are slower than servers.
 */
const SPEEDS = {
  native: [22, 20, 16, 15, 12, 8.5, 6, 6, 6],
  portable: [5.5, 5, 5, 4.2, 4.1, 2.7, 2.5, 2.5, 2.5],
} as const;

/** Of the tier that is loaded. */
export function speedsHere(): (typeof SPEEDS)['native' | 'portable'] {
  return native === undefined ? SPEEDS.portable : SPEEDS.native;
}

/** What has to be compressed, by level, to make target bytes [begin, end): streams that cross their ends are made whole. */
export function contentIn(streams: Streams, begin: number, end: number): ReadonlyMap<number, number> {
  const { at, held, coding } = streams;
  const content = new Map<number, number>();
  for (let n = streamAfter(streams, begin); n < at.length && (at[n] as number) < end; n++) {
    const level = codingOf(coding[n] as number)?.level ?? 0;
    content.set(level, (content.get(level) ?? 0) + (held[n] as number));
  }
  return content;
}
