import { expect, it } from 'vitest';
import { killDeltaFetches } from '../support/delta-kill.ts';

it('a fetch by a delta that is killed goes on with the segments that are missing', async () => {
  // One in each part of it; the long test has two hundred.
  expect(await killDeltaFetches(Number(process.env['SHOAL_ROUNDS'] ?? 6))).toBeGreaterThan(3);
}, 900_000);
