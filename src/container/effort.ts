import { native } from '../kernel/native.ts';
import { paceOf } from './coding.ts';
import { streamAfter } from './streams.ts';
import type { Streams } from './streams.ts';

/**
 * MB of content a second and core, by level 1 … 9 of deflate, of either encoder: a third of what `npm run bench -- recompress` shows on a quiet server, for
 * devices are slower than servers.
 */
const DEFLATE = {
  native: [19, 17, 14, 13, 9, 7, 6, 6, 6],
  portable: [5.5, 5.5, 5.5, 4.5, 3.8, 2.9, 2.6, 2.3, 2.3],
} as const;
/** The same of zstd's levels 1 … 22, of either version, and xz's efforts 1 … 9, which are WebAssembly on every device. */
const ZSTD = [50, 45, 35, 30, 25, 20, 17, 15, 13, 11, 8, 7, 4.5, 3, 2.8, 2.2, 2.2, 2, 1.3, 1.3, 1.2, 0.9];
const XZ = [5, 4.5, 4.5, 4, 1.6, 1.5, 1.4, 1.3, 1.3];

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
