import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { crashEverywhere, recordLife, scratchDirectory } from '../support/store-crash.ts';
import { killDeltaFetches } from '../support/delta-kill.ts';
import { killPublishers } from '../support/store-kill.ts';

// The quick tests do a thousand crashes and a dozen kills, always the same ones; here they are more, and others every time.
const CRASHES = 4_000;
const KILLS = 40;

it('loses nothing acknowledged in many more crashes, over a longer life', async () => {
  process.env.SHOAL_SEED ??= String(Date.now() % 1e6);
  const lives = [await recordLife(8, 0), await recordLife(8, 60_000)];
  const scratch = scratchDirectory();
  try {
    expect(await crashEverywhere(lives, CRASHES, scratch)).toBeGreaterThanOrEqual(CRASHES);
  } finally {
    for (const life of lives) life.dispose();
    rmSync(scratch, { recursive: true });
  }
});

it('survives many more kills of a publisher', async () => {
  expect(await killPublishers(KILLS)).toBeGreaterThan(KILLS / 4);
});

it('a fetch by a delta survives two hundred kills', async () => {
  expect(await killDeltaFetches(200)).toBeGreaterThan(150);
}, 3_600_000);
