import { describe, expect, test } from 'vitest';
import { secondsOf, workOf } from '../../src/plan/work.ts';
import type { Speeds } from '../../src/plan/work.ts';

const SPEEDS: Speeds = [90, 80, 70, 60, 50, 40, 30, 20, 10];

describe('what processor time is worth', () => {
  test('seconds follow from how much is compressed at which level', () => {
    expect(secondsOf(new Map([[6, 80e6], [9, 5e6]]), SPEEDS)).toBeCloseTo(2.5);
    expect(secondsOf(new Map(), SPEEDS)).toBe(0);
    // A level that there is not counts as the slowest.
    expect(secondsOf(new Map([[0, 10e6]]), SPEEDS)).toBeCloseTo(1);
  });

  test('and bytes from what a second is worth, which may be nothing', () => {
    expect(workOf(new Map([[9, 30e6]]), SPEEDS, 100_000)).toBeCloseTo(300_000);
    expect(workOf(new Map([[9, 30e6]]), SPEEDS, 0)).toBe(0);
    // By default little: an image of 400 MB at level 9 is worth less than a megabyte.
    expect(workOf(new Map([[9, 400e6]]), SPEEDS)).toBeLessThan(1e6);
  });
});
