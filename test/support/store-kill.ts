import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { PackStore } from '../../src/store/pack/store.ts';
import { missingFrom, publish, sampleArtifact, storedOf } from './artifacts.ts';
import { randomFrom } from './random.ts';

const child = fileURLToPath(new URL('./publish-loop.ts', import.meta.url));

/**
 * Rounds of kill -9 on a process that publishes, forgets and collects; each dies after a different number of lines, in the
 * middle of whatever comes next. Returns how many releases were acknowledged. SHOAL_SEED repeats another run.
 */
export async function killPublishers(rounds: number): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-kill-'));
  const seed = Number(process.env.SHOAL_SEED ?? 1);
  console.log(`SHOAL_SEED=${String(seed)}`);
  const random = randomFrom(seed);
  const committed = new Set<number>();
  const forgetting = new Set<number>();
  try {
    let next = 0;
    for (let round = 0; round < rounds; round++) {
      const process_ = spawn(process.execPath, [child, directory, String(next)], { stdio: ['ignore', 'pipe', 'inherit'] });
      let left = 1 + Math.floor(random() * 8);
      const ended = new Promise((resolve) => process_.on('exit', resolve));
      for await (const line of createInterface({ input: process_.stdout })) {
        const [word, number] = line.split(' ');
        if (word === 'committed') committed.add(Number(number));
        if (word === 'forgetting') forgetting.add(Number(number));
        if (word === 'committed') next = Math.max(next, Number(number) + 1);
        if (--left === 0) process_.kill('SIGKILL');
      }
      await ended;
      const store = await PackStore.open(directory);
      const visible = await store.artifacts();
      for (const artifact of visible) expect(await missingFrom(store, artifact)).toEqual([]);
      expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
      const roots = new Set(visible.map(({ root }) => root));
      for (const release of committed) {
        const { root } = await sampleArtifact([[1, 2, 3], [release + 100, release + 101, 5], [4]], 'default', 20_000);
        if (!forgetting.has(release)) expect(roots.has(root), `release ${String(release)} after round ${String(round)}, SHOAL_SEED=${String(seed)}`).toBe(true);
      }
      const own = await sampleArtifact([[round + 5000, 1]]);
      await publish(store, own);
      await store.forget(storedOf(own));
      await store.close();
    }
    return committed.size;
  } finally {
    await rm(directory, { recursive: true });
  }
}
