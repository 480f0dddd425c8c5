import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { RUNS_COUNTED_MS, RUNS_KEPT_MS, RUNS_NOTE_MS } from '../../src/core/limits.ts';
import { basesOf } from '../../src/publish/delta-plan.ts';
import { parseDeltaChoice } from '../../src/publish/delta-policy.ts';
import { RunningReleases } from '../../src/publish/running.ts';
import type { ReleaseManifest } from '../../src/core/manifest.ts';

const closing: (() => Promise<unknown> | undefined)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function opened(): Promise<{ readonly running: RunningReleases; readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-running-'));
  closing.push(() => rm(folder, { recursive: true }));
  const running = RunningReleases.open(folder);
  closing.push(() => {
    running.close();
    return undefined;
  });
  return { running, folder };
}

const NOW = 1_800_000_000_000;

describe('what devices run', () => {
  it('is counted once for each device, as it said last, and read by others meanwhile', async () => {
    const { running, folder } = await opened();
    running.note('a', [{ product: 'os', sequence: 1 }, { product: 'maps', sequence: 5 }], NOW);
    running.note('b', [{ product: 'os', sequence: 1 }], NOW);
    running.note('c', [{ product: 'os', sequence: 2 }], NOW);
    running.note('c', [{ product: 'os', sequence: 2 }], NOW + 1);
    running.note('b', [{ product: 'os', sequence: 3 }], NOW + 1);
    running.note('d', [{ product: 'os', sequence: 3 }], NOW + 1);
    const other = RunningReleases.open(folder);
    expect(other.counts(NOW + 2)).toEqual([
      { product: 'maps', sequence: 5, devices: 1 }, { product: 'os', sequence: 3, devices: 2 }, { product: 'os', sequence: 2, devices: 1 }, { product: 'os', sequence: 1, devices: 1 },
    ]);
    expect(other.all().filter(({ device }) => device === 'c')).toEqual([{ device: 'c', product: 'os', sequence: 2, seen: NOW }]);
    other.close();
    running.note('c', [{ product: 'os', sequence: 2 }], NOW + RUNS_NOTE_MS);
    expect(running.all().find(({ device }) => device === 'c')?.seen).toBe(NOW + RUNS_NOTE_MS);
  });

  it('is not counted when it is old, and forgotten when it is older', async () => {
    const { running } = await opened();
    running.note('a', [{ product: 'os', sequence: 1 }], NOW);
    expect(running.counts(NOW + RUNS_COUNTED_MS - 1)).toHaveLength(1);
    expect(running.counts(NOW + RUNS_COUNTED_MS)).toEqual([]);
    // Every so many notes the old ones are looked for: as many as that are made, of one device.
    for (let at = 0; at < 4_100; at++) running.note('b', [{ product: 'os', sequence: at }], NOW + RUNS_KEPT_MS);
    expect(running.all().map(({ device }) => device)).toEqual(['b']);
  });

  it('can be lost or damaged: it says so in one sentence', async () => {
    const { folder } = await opened();
    const other = join(folder, 'other');
    await writeFile(join(folder, 'x'), '');
    expect(() => RunningReleases.open(other)).toThrow(expect.objectContaining({ code: 'RUNS' }) as Error);
  });
});

describe('deltas from what devices run', () => {
  const release = (sequence: number): ReleaseManifest => ({ format: 1, namespace: 'default', product: 'os', version: `1.${String(sequence)}`, sequence, minimumSource: 0, artifacts: [], hardware: [], requiredFeatures: [] });
  const releases = [5, 4, 3, 2, 1].map(release);
  const five = release(5);
  const versions = (running: Parameters<typeof basesOf>[3], text: string): readonly string[] => basesOf(releases, five, parseDeltaChoice(text), running).map(({ version }) => version);

  it('are made from the releases that most devices run, whichever these are', () => {
    const running = [{ product: 'os', sequence: 1, devices: 90 }, { product: 'os', sequence: 4, devices: 7 }, { product: 'os', sequence: 2, devices: 7 }, { product: 'os', sequence: 5, devices: 400 }, { product: 'os', sequence: 77, devices: 3 }, { product: 'maps', sequence: 3, devices: 1_000 }];
    expect(versions(running, 'reported:1')).toEqual(['1.1']);
    expect(versions(running, 'reported:2')).toEqual(['1.1', '1.4']);
    expect(versions(running, 'reported')).toEqual(['1.1', '1.4', '1.2']);
    expect(versions(running, 'reported:9')).toEqual(['1.1', '1.4', '1.2']);
    expect(versions(running, 'reported:0')).toEqual([]);
  });

  it('are made from the last two where nobody said anything', () => {
    expect(versions([], 'reported')).toEqual(['1.4', '1.3']);
    expect(versions([{ product: 'os', sequence: 5, devices: 3 }], 'reported:1')).toEqual(['1.4']);
  });

  it('are asked for in one form', () => {
    expect(parseDeltaChoice('reported')).toEqual({ reported: 3 });
    for (const text of ['reported:', 'reported:x', 'reported:-1']) expect(() => parseDeltaChoice(text), text).toThrow(expect.objectContaining({ code: 'BAD_USAGE' }) as Error);
  });
});
