import { setFlagsFromString } from 'node:v8';

/**
 * Tells V8 to collect early, for processes that read or write artifacts of any size. Left to itself it lets garbage pile up to
 * what a large server can afford, however little of it lives, and so memory seems to grow with the artifact: a fetch of
 * 4 GiB was seen with 235 MB resident and 11 MB of live heap; with this it takes what one of 400 MB takes, and no longer.
 * To be called before the work begins. Young objects are collected every 4 MiB, old ones when they have grown by a third.
 */
export function keepHeapSmall(): void {
  for (const flag of ['--semi-space-growth-factor=1', '--max-semi-space-size=4', '--heap-growing-percent=30']) setFlagsFromString(flag);
}
