import { systemClock } from '../../src/core/clock.ts';
import type { Clock } from '../../src/core/clock.ts';

/** The real clock, `times` as fast: what waits for it is tested with the program's own time-outs, in less time. */
export function hurriedClock(times: number): Clock {
  return { now: () => systemClock.now() * times, after: (ms, run, background) => systemClock.after(ms / times, run, background) };
}
