/**
 * What processor time is worth: a device that rebuilds compressed streams works for seconds where others copy, and may rather have
 * more bytes sent. Pure, as all of `src/plan`.
 */

/** Bytes over any link that a second of processor time is worth: little, for bytes are what most sites pay for. */
export const PROCESSOR_PRICE = 16 * 1024;

/** MB of content that one core compresses in a second, by level 1 … 9. */
export type Speeds = readonly [number, number, number, number, number, number, number, number, number];

/** Content by the level that it is compressed at. */
export type ContentByLevel = ReadonlyMap<number, number>;

/** Seconds of one core. Levels that there are not count as the slowest. */
export function secondsOf(content: ContentByLevel, speeds: Speeds): number {
  let seconds = 0;
  for (const [level, bytes] of content) seconds += bytes / 1e6 / (speeds[level - 1] ?? speeds[8]);
  return seconds;
}

/** As bytes, at `price` bytes a second. */
export function workOf(content: ContentByLevel, speeds: Speeds, price: number = PROCESSOR_PRICE): number {
  return price === 0 ? 0 : secondsOf(content, speeds) * price;
}
