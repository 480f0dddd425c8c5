import { readFileSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PackStore } from '../../src/store/pack/store.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import { DeltaHome, imageVersion } from '../support/delta-home.ts';
import { DIE_AT, KillPoints } from '../support/killed-fetches.ts';
import { Processes } from '../support/processes.ts';
import type { Ended } from '../support/processes.ts';
import { needsSmallDisk, smallDisk } from '../support/small-disk.ts';

const MiB = 1024 * 1024;
/** A run of some sixty operations is cut into so many parts, with a kill in each. SHOAL_ROUNDS asks for more. */
const ROUNDS = Number(process.env['SHOAL_ROUNDS'] ?? 6);
const INTERRUPT = new URL('../support/interrupt-at.ts', import.meta.url).href;
const images = [1, 2, 3].map((version) => imageVersion(version)) as [Buffer, Buffer, Buffer];

const processes = new Processes();
const { folder } = processes;
const home = join(folder, 'home');

async function releases(directory: string): Promise<void> {
  await processes.must('init', '--home', directory);
  for (const [at, image] of images.entries()) {
    await writeFile(join(folder, 'image'), image);
    await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', String(at + 1), '--home', directory, '--level', '1', '--deltas-from', 'none');
  }
}

beforeAll(() => releases(home));
afterAll(() => processes.close());

/** Rebuilds the newest version by every delta that is listed: whatever is visible is whole. Returns how many there are. */
async function listedAndWhole(directory: string, told: string): Promise<number> {
  const place = trustHome(directory);
  const store = await PackStore.open(place.paths.store);
  try {
    const it_ = new DeltaHome(directory, place, store);
    const listed = await it_.listed();
    for (const entry of listed) {
      const base = images.find(({ byteLength }) => byteLength === entry.baseSize);
      expect((await it_.rebuild(entry, base ?? Buffer.alloc(0))).equals(images[2]), told).toBe(true);
    }
    return listed.length;
  } finally {
    await store.close();
  }
}

describe('making deltas', () => {
  it('is killed at any write, sync or rename: what is listed is whole, and the next run makes the rest', async () => {
    const copy = async (name: string): Promise<string> => {
      await cp(home, join(folder, name), { recursive: true });
      return join(folder, name);
    };
    const args = (directory: string): string[] => ['delta', 'os', '--home', directory, '--json'];
    const counted = join(folder, 'operations');
    const whole = await processes.run(args(await copy('counted')), undefined, { imports: [DIE_AT], env: { SHOAL_TEST_OPERATIONS: counted } });
    expect([whole.code, whole.errors]).toEqual([0, expect.any(String)]);
    expect(await listedAndWhole(join(folder, 'counted'), 'without a kill')).toBe(2);
    const points = new KillPoints(counted, ROUNDS);
    // Of each delta: the lease, the objects, the manifest, the role, the snapshot, the timestamp, each with its syncs.
    expect(points.operations).toBeGreaterThan(30);
    const seen = new Set<number>();
    for (const { env, told } of points) {
      const directory = await copy('round');
      const killed = processes.start(args(directory), { imports: [DIE_AT], env });
      await killed.ended;
      seen.add(await listedAndWhole(directory, told));
      const again = await processes.run(args(directory));
      expect([again.code, again.errors, told]).toEqual([0, expect.any(String), told]);
      expect(await listedAndWhole(directory, told)).toBe(2);
      // What the kill left behind is nothing that gc would not take, and nothing that it should not.
      expect((await processes.run(['gc', '--home', directory, '--json'])).code, told).toBe(0);
      expect(await listedAndWhole(directory, told)).toBe(2);
      await rm(directory, { recursive: true });
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining([0, 1]));
  }, 900_000);

  it('ends when it is told to: what was made stays', async () => {
    const directory = join(folder, 'told');
    await cp(home, directory, { recursive: true });
    // When it has said what became of the first delta, the second is next.
    const { code, last, errors } = await processes.run(['delta', 'os', '--home', directory, '--json'], undefined, { imports: [INTERRUPT] });
    expect([code, last['error'], errors]).toEqual([1, 'INTERRUPTED', expect.stringContaining('no delta 1 → 3 of image: interrupted')]);
    expect(await listedAndWhole(directory, 'interrupted')).toBe(1);
    expect((await processes.run(['delta', 'os', '--home', directory])).code).toBe(0);
    expect(await listedAndWhole(directory, 'after an interruption')).toBe(2);
  });

  it('ends a release that waits for them when it is told to: nothing of it is visible, and it can be had again', async () => {
    const directory = join(folder, 'waiting');
    await cp(home, directory, { recursive: true });
    await writeFile(join(folder, 'image'), imageVersion(4));
    const args = ['publish', join(folder, 'image'), '--name', 'os', '--version', '4', '--home', directory, '--level', '1', '--json'];
    const { code, last, errors } = await processes.run(args, undefined, { imports: [INTERRUPT] });
    expect([code, last['error'], errors]).toEqual([1, 'INTERRUPTED', expect.stringContaining('nothing was published')]);
    expect((await processes.run(['inspect', 'os@4', '--home', directory])).code).toBe(1);
    const again = await processes.run(args);
    expect([again.code, again.last]).toEqual([0, expect.objectContaining({ published: true, deltas: [expect.objectContaining({ result: 'kept' }), expect.objectContaining({ result: 'made' })] })]);
  });

  describe.skipIf(needsSmallDisk())('on a full disk', () => {
    it('lists nothing, leaves releases as they are, and is done once there is room', async () => {
      // A store leaves the last 64 MiB of a disk alone; some 20 MiB more hold the releases.
      const disk = smallDisk(112 * MiB);
      try {
        const directory = join(disk.path, 'home');
        await releases(directory);
        const before = readFileSync(join(directory, 'metadata', 'timestamp.json'), 'utf8');
        disk.leave(64 * MiB);
        const full: Ended = await processes.run(['delta', 'os', '--home', directory, '--json']);
        expect([full.code, full.errors]).toEqual([1, expect.stringContaining('no delta 2 → 3')]);
        expect(full.last).toMatchObject({ error: 'DISK_FULL' });
        expect(readFileSync(join(directory, 'metadata', 'timestamp.json'), 'utf8')).toBe(before);
        expect(await listedAndWhole(directory, 'full')).toBe(0);
        disk.empty();
        expect((await processes.run(['delta', 'os', '--home', directory])).code).toBe(0);
        expect(await listedAndWhole(directory, 'with room again')).toBe(2);
      } finally {
        disk.close();
      }
    });
  });
});
