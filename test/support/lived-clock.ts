import { stat } from 'node:fs';
import { systemClock } from '../../src/core/clock.ts';
import type { Clock } from '../../src/core/clock.ts';

/** How often time moves on, and by how much at most each time, milliseconds. */
const EVERY_MS = 4;
const MOST_MS = 12;

/**
 * The real clock, `times` as fast, without the time in which this process was kept from running: where both sides of a test
 * live in one process, neither is late because the machine is. Time moves on once the event loop and the pool of threads have
 * come round, and by little each time. Every limit of the program holds as it is, and may be waited for.
 */
export function livedClock(times = 1): Clock {
  const due = new Set<{ readonly at: number; readonly run: () => void }>();
  let now = 0;
  const move = (): void => {
    const since = systemClock.now();
    systemClock.after(EVERY_MS, () => {
      stat('.', () => {
        now += Math.min(systemClock.now() - since, MOST_MS) * times;
        for (const entry of [...due].sort((a, b) => a.at - b.at)) if (entry.at <= now && due.delete(entry)) entry.run();
        move();
      });
    }, 'background');
  };
  move();
  return {
    now: () => now,
    after: (ms, run) => {
      const entry = { at: now + ms, run };
      due.add(entry);
      return () => { due.delete(entry); };
    },
  };
}
