import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { crashAndCheck, recordLife, scratchDirectory, withoutFileSync } from '../support/store-crash.ts';
import type { IndexFate, RecordedLife } from '../support/store-crash.ts';
import type { CrashPolicy } from '../support/crash-files.ts';

const modes: readonly CrashPolicy['mode'][] = ['random', 'drop', 'ordered', 'keep'];
const fates: readonly IndexFate[] = ['last', 'lost', 'older'];
let lives: readonly RecordedLife[];
let scratch: string;

beforeAll(async () => {
  scratch = scratchDirectory();
  lives = [await recordLife(6, 0), await recordLife(6, 60_000)];
}, 60_000);
afterAll(() => {
  for (const life of lives) life.dispose();
  rmSync(scratch, { recursive: true });
});

// More than a thousand crashes: every point of the history, each with a different way to lose things. SHOAL_SEED repeats another run.
it('loses nothing acknowledged and shows nothing half at any crash point of publish, commit, forget and gc', async () => {
  const first = Number(process.env.SHOAL_SEED ?? 1);
  const points = lives.reduce((sum, { files }) => sum + files.points + 1, 0);
  let crashes = 0;
  while (crashes < 1000) {
    for (const life of lives) for (let point = 0; point <= life.files.points; point++) {
      const seed = first + crashes++;
      const policy = { seed, mode: modes[seed % modes.length] ?? 'random' };
      const fate = fates[seed % fates.length] ?? 'last';
      const problems = await crashAndCheck(life, point, policy, fate, scratch);
      expect(problems, `crash after operation ${String(point)} (${life.files.describe(point)}), ${policy.mode}, index ${fate}, SHOAL_SEED=${String(seed)}`).toEqual([]);
    }
  }
  console.log(`${String(crashes)} crashes over ${String(points)} points, seeds from ${String(first)}`);
  expect(crashes).toBeGreaterThanOrEqual(1000);
}, 300_000);

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
}, 60_000);
