import { expect, it } from 'vitest';
import { afterLooking } from '../../src/core/clock.ts';
import { ManualClock } from '../support/manual-clock.ts';

it('a time-out gives what came meanwhile a chance when the process itself was kept from running, once', () => {
  const clock = new ManualClock();
  const out: string[] = [];
  afterLooking(clock, 3_000, () => out.push('in time'));
  clock.advance(2_999);
  expect(out).toEqual([]);
  clock.advance(1);
  expect(out).toEqual(['in time']);
  afterLooking(clock, 3_000, () => out.push('kept'));
  const cancel = afterLooking(clock, 3_000, () => out.push('cancelled'));
  // Two seconds in which nothing of this process ran.
  clock.advance(5_000);
  expect(out).toEqual(['in time']);
  cancel();
  clock.advance(1_999);
  expect(out).toEqual(['in time']);
  clock.advance(60_000);
  expect(out).toEqual(['in time', 'kept']);
});
