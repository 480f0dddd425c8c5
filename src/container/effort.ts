import { native } from '../kernel/native.ts';
import { paceOf } from './coding.ts';
import { streamAfter } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * MB of content a second and core, by level 1 … 9 of deflate, of either encoder: `npm run bench -- recompress` on a server that others kept busy, for
 * devices are slower than servers.
 */
const DEFLATE = {
  native: [22, 20, 16, 15, 12, 8.5, 6, 6, 6],
  portable: [5.5, 5, 5, 4.2, 4.1, 2.7, 2.5, 2.5, 2.5],
} as const;
/** The same of zstd's levels 1 … 22 and xz's efforts 1 … 9, which are WebAssembly on every device: half of what a server shows. */
const ZSTD = [45, 40, 35, 30, 25, 22, 20, 18, 16, 12, 8, 6, 4, 3, 2.5, 2, 1.6, 1.3, 1.1, 1, 0.9, 0.8];
const XZ = [8, 7, 4, 3, 3, 2.5, 2, 1.5, 1];

/** Paces of `paceOf`, from 1 on; nothing has a pace of 10. */
function paces(deflate: readonly number[]): readonly number[] {
  return [...deflate, Math.min(...XZ), ...ZSTD, ...XZ];
}

const SPEEDS = { native: paces(DEFLATE.native), portable: paces(DEFLATE.portable) };

/** Of the tier that is loaded, by pace. */
export function speedsHere(): readonly number[] {
  return native === undefined ? SPEEDS.portable : SPEEDS.native;
}

/** What has to be compressed, by pace (`paceOf`), to make target bytes [begin, end): streams that cross their ends are made whole. */
export function contentIn(streams: Streams, begin: number, end: number): ReadonlyMap<number, number> {
  const { at, held, coding } = streams;
  const content = new Map<number, number>();
  for (let n = streamAfter(streams, begin); n < at.length && (at[n] as number) < end; n++) {
    const pace = paceOf(coding[n] as number);
    content.set(pace, (content.get(pace) ?? 0) + (held[n] as number));
  }
  return content;
}
