import { describe, expect, test } from 'vitest';
import { memoryPlan } from '../../src/delta/making/budget.ts';

const MIB = 2 ** 20;

describe('memory of diffing', () => {
  test('goes to the index where the files fit', () => {
    expect(memoryPlan(1000 * MIB, 100 * MIB, 100 * MIB, true)).toEqual({ indexBytes: 656 * MIB });
  });

  test('puts the files outside where they do not, and keeps the process below the cap', () => {
    const { indexBytes, below = 0 } = memoryPlan(512 * MIB, 400 * MIB, 404 * MIB, true);
    expect(indexBytes).toBe(173 * MIB);
    expect(below).toBeLessThan(512 * MIB);
    // The index, what else the process needs, and a window of the files.
    expect(below).toBeGreaterThan(indexBytes + 300 * MIB);
  });

  test('is refused where it is too little, or files cannot lie outside', () => {
    const refused = (needed: number, allowed = 300): Error => expect.objectContaining({ code: 'MEMORY_CAP', ids: { needed: needed * MIB, allowed: allowed * MIB } }) as Error;
    expect(() => memoryPlan(300 * MIB, 400 * MIB, 404 * MIB, true)).toThrow(refused(340));
    expect(() => memoryPlan(300 * MIB, 400 * MIB, 404 * MIB, false)).toThrow(refused(949));
    // Small files take less in memory than outside.
    expect(() => memoryPlan(200 * MIB, 50 * MIB, 50 * MIB, true)).toThrow(refused(245, 200));
  });
});
