import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { native } from './native.ts';

/**
 * Tells V8 to collect early, for processes that read or write artifacts of any size. Left to itself it lets garbage pile up to
 * what a large server can afford, however little of it lives, and so memory seems to grow with the artifact: a fetch of
 * 4 GiB was seen with 235 MB resident and 11 MB of live heap; with this it takes what one of 400 MB takes, and no longer.
 * To be called before the work begins. The space of young objects stays at 4 MiB and is not grown for what survives it; what has
 * grown old is searched when there is a third more of it, not when there is twice as much (a fetch of 2 GiB takes 126 MiB
 * instead of 135, one of 512 MiB 118).
 */
export function keepHeapSmall(): void {
  for (const flag of ['--semi-space-growth-factor=1', '--max-semi-space-size=4', '--heap-growing-percent=30']) setFlagsFromString(flag);
}

/**
 * `keepHeapSmall` for processes whose large buffers are few and live to the end: V8 is not to search its heap for garbage because
 * buffers outside it are large, nor bit by bit beside the work, which costs a small job a third of its time; and what kernels free
 * between two segments is not kept by each of their threads (applying a delta of 113 MB of squashfs takes 15 MiB less, making one of
 * two kernel trees 60). An agent's are the spans that it receives and passes on: of sixteen on two cores the searching took a quarter of the first seconds of an
 * update. To be called before the work begins.
 */
export function expectLargeBuffers(): void {
  keepHeapSmall();
  for (const flag of ['--external-memory-accounted-in-global-limit', '--no-incremental-marking']) setFlagsFromString(flag);
  native?.returnMemory();
}

/**
 * For processes that hand on what others ask for, for months: many buffers of tens of kilobytes to a mebibyte that live for one
 * answer. V8 takes buffers outside its heap for a reason to search all of it, a little at a time and so for ever: 277 searches for 5 GiB
 * served, two fifths of an origin's processor time. Without marking bit by bit it searches when 64 MiB have come together, 47 times, in a
 * third less processor time in all, and what was freed goes back to the system (202 MB at most instead of 246). To be called before the work begins.
 */
export function expectPassingBuffers(): void {
  for (const flag of ['--semi-space-growth-factor=1', '--max-semi-space-size=4', '--no-incremental-marking']) setFlagsFromString(flag);
  native?.returnMemory();
}

/** Lets go of what beginning has left: a small process would carry it to its end, because nothing makes V8 look for it. Takes some milliseconds. */
export function dropGarbage(): void {
  setFlagsFromString('--expose-gc');
  // Contexts that were there before the flag know no function for it.
  (runInNewContext('gc') as () => void)();
}

/** Gives the memory of `array` back at once. Nobody uses it, or any other view of its buffer, afterwards. */
export function release(array: Float64Array | Uint8Array): void {
  const { buffer } = array;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
