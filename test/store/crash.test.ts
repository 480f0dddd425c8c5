import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { crashAndCheck, crashEverywhere, recordLife, scratchDirectory, withoutFileSync } from '../support/store-crash.ts';
import type { RecordedLife } from '../support/store-crash.ts';

let lives: readonly RecordedLife[];
let scratch: string;

beforeAll(async () => {
  scratch = scratchDirectory();
  lives = [await recordLife(6, 0), await recordLife(6, 60_000)];
});
afterAll(() => {
  for (const life of lives) life.dispose();
  rmSync(scratch, { recursive: true });
});

// More than a thousand crashes: every point of the history, each with a different way to lose things. SHOAL_SEED repeats another run.
it('loses nothing acknowledged and shows nothing half at any crash point of publish, commit, forget and gc', async () => {
  expect(await crashEverywhere(lives, 1000, scratch)).toBeGreaterThanOrEqual(1000);
}, 900_000);

it('would find out if packs were not synced', async () => {
  const careless = await recordLife(3, 0, withoutFileSync);
  let found = 0;
  for (let point = 0; point <= careless.files.points; point += 3) {
    const problems = await crashAndCheck(careless, point, { seed: point, mode: 'random' }, 'last', scratch).catch((error: unknown) => [String(error)]);
    if (problems.length > 0) found++;
  }
  careless.dispose();
  // Once something was acknowledged, most crashes must show it lost or torn.
  expect(found).toBeGreaterThan(5);
});
