import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { canScratch, keepBelow, scratchMemory, settleScratch } from '../../src/kernel/scratch.ts';

const folder = mkdtempSync(join(tmpdir(), 'shoal-scratch-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe.skipIf(!canScratch)('scratch memory', () => {
  test('keeps what is written while its pages leave the process, and leaves no name behind', async () => {
    // Enough to be seen among what a process does meanwhile.
    const size = 64 * 2 ** 20;
    const bytes = scratchMemory(folder, size);
    expect(readdirSync(folder)).toEqual([]);
    bytes.fill(7);
    bytes[size - 1] = 9;
    const before = process.memoryUsage.rss();
    const step = 2 * 2 ** 20;
    const sevens = Buffer.alloc(step - 1, 7);
    const peaks = await keepBelow(before - size / 2, () => {
      const seen: number[] = [];
      for (let at = 0; at < 2 * size; at += step) {
        settleScratch();
        expect(bytes.subarray(at % size, (at % size) + step - 1).equals(sevens)).toBe(true);
        seen.push(process.memoryUsage.rss());
      }
      return Promise.resolve(seen);
    });
    // All was read twice, and half of it was never there at the same time: another quarter is for what the process does else.
    expect(Math.max(...peaks)).toBeLessThan(before - size / 4);
    expect(bytes.subarray(0, size - 1).equals(Buffer.alloc(size - 1, 7))).toBe(true);
    expect(bytes[size - 1]).toBe(9);
  });

  test('of nothing is nothing; where no file can be made it is refused by name', () => {
    expect(scratchMemory(folder, 0)).toHaveLength(0);
    expect(() => scratchMemory(join(folder, 'not-there'), 10)).toThrow(expect.objectContaining({ code: 'NO_SCRATCH' }) as Error);
  });
});
