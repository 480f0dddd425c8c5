import { expect, it } from 'vitest';
import { killPublishers } from '../support/store-kill.ts';

// A killed process leaves the page cache: what this adds to the crash test is SQLite's own file and lock, for real.
it('a publisher killed in the middle of anything leaves a store that needs no help', async () => {
  expect(await killPublishers(12)).toBeGreaterThan(3);
});
