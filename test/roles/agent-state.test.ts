import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { checkManifest } from '../../src/core/manifest.ts';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import { DeviceState } from '../../src/roles/agent/state.ts';
import { KeptList } from '../../src/roles/device/kept-list.ts';
import { makeDirectories } from '../../src/store/durable.ts';
import { CrashFiles } from '../support/crash-files.ts';
import type { CrashPolicy } from '../support/crash-files.ts';

const MODES: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
// The lock is a real file beside the recorded ones.
const folder = mkdtempSync(join(tmpdir(), 'shoal-agent-state-'));
afterAll(() => { rmSync(folder, { recursive: true }); });

const chunking = { algorithm: 'shoal-comb-1', min: 32_768, avg: 65_536, max: 262_144 };
const manifestOf = (product: string, sequence: number): ReleaseManifest => checkManifest({
  format: 1, namespace: 'default', product, version: String(sequence), sequence, minimumSource: 0, hardware: [], requiredFeatures: [],
  artifacts: [{ name: 'image', role: 'image', root: 'ab'.repeat(32), size: 1234, sha256: 'cd'.repeat(32), chunking }],
});

/** What one life does, and after each step what it has promised. */
async function cutEverywhere(life: (files: CrashFiles, promise: (sequence: number) => void) => Promise<void>, sequenceIn: (files: CrashFiles) => Promise<number>): Promise<number> {
  const files = new CrashFiles();
  await makeDirectories(files, folder);
  const start = files.points;
  await life(files, (sequence) => { files.mark(String(sequence)); });
  let cuts = 0;
  for (let point = start; point <= files.points; point++) {
    for (const mode of MODES) {
      const where = `${files.describe(point)}, ${mode}, seed ${String(point)}`;
      const promised = Number(files.marksBefore(point).at(-1) ?? 0);
      const found = await sequenceIn(files.crash(point, { mode, seed: point }));
      expect(found, where).toBeGreaterThanOrEqual(promised);
      expect(found, where).toBeLessThanOrEqual(promised + 1);
      cuts++;
    }
  }
  return cuts;
}

it('what an agent has installed is known after a power cut anywhere', async () => {
  const life = async (files: CrashFiles, promise: (sequence: number) => void): Promise<void> => {
    const state = await DeviceState.open(files, folder);
    for (const sequence of [1, 2, 3]) {
      await state.note(manifestOf('os', sequence), [join(folder, 'image')]);
      promise(sequence);
    }
    state.close();
  };
  const look = async (files: CrashFiles): Promise<number> => {
    const state = await DeviceState.open(files, folder);
    const sequence = state.installed('os')?.manifest.sequence ?? 0;
    // It goes on from there without a hand.
    await state.note(manifestOf('os', 9), [join(folder, 'image')]);
    state.close();
    const next = await DeviceState.open(files, folder);
    expect(next.installed('os')?.manifest.sequence).toBe(9);
    next.close();
    return sequence;
  };
  expect(await cutEverywhere(life, look)).toBeGreaterThan(50);
});

it('what a device remembers of liars and of deltas is known after a power cut anywhere', async () => {
  const open = (files: CrashFiles): Promise<KeptList<number>> =>
    KeptList.open(files, join(folder, 'list.json'), { maxBytes: 1_000, most: 2 }, (value): value is number => typeof value === 'number');
  const life = async (files: CrashFiles, promise: (sequence: number) => void): Promise<void> => {
    const list = await open(files);
    for (const entry of [1, 2, 3]) {
      await list.add(entry, () => false);
      promise(entry);
    }
  };
  expect(await cutEverywhere(life, async (files) => (await open(files)).entries[0] ?? 0)).toBeGreaterThan(30);
});
