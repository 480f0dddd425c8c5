/**
 * What processor time is worth: a device that rebuilds compressed streams works for seconds where others copy, and may rather have
 * more bytes sent. Pure, as all of `src/plan`.
 */

/** Bytes over any link that a second of processor time is worth: little, for bytes are what most sites pay for. */
export const PROCESSOR_PRICE = 16 * 1024;

/** MB of content that one core compresses in a second, by pace from 1 on: a number for all compressors and levels that are alike fast. */
export type Speeds = readonly number[];

/** Bytes of content by the pace that it is compressed at. */
export type ContentByPace = ReadonlyMap<number, number>;

/** Seconds of one core. Paces that there are not count as the slowest. */
export function secondsOf(content: ContentByPace, speeds: Speeds): number {
  const slowest = Math.min(...speeds);
  let seconds = 0;
  for (const [pace, bytes] of content) seconds += bytes / 1e6 / (speeds[pace - 1] ?? slowest);
  return seconds;
}

/** As bytes, at `price` bytes a second. */
export function workOf(content: ContentByPace, speeds: Speeds, price: number = PROCESSOR_PRICE): number {
  return price === 0 ? 0 : secondsOf(content, speeds) * price;
}
