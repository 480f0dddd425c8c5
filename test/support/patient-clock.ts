// Imported by a process under test (`node --import`): its clock goes at a fifth of the pace, so whom it waits for may be five times
// as long about it. For tests of what a device does while nobody is late: between processes a slow machine makes everybody late.
import { systemClock } from '../../src/core/clock.ts';

const TIMES = 5;
const { now, after } = systemClock;
Object.assign(systemClock, {
  now: () => now() / TIMES,
  after: (ms: number, run: () => void, background?: 'background') => after(ms * TIMES, run, background),
});
