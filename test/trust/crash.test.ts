import { describe, expect, it } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import { readWhole } from '../../src/store/durable.ts';
import type { Files } from '../../src/store/files.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { renewOnline } from '../../src/trust/repository/online.ts';
import { createRoleKey, stageRotation } from '../../src/trust/repository/rotate.ts';
import type { MetadataFetcher } from '../../src/trust/types.ts';
import { CrashFiles } from '../support/crash-files.ts';
import type { CrashPolicy } from '../support/crash-files.ts';
import { Calendar, device, noContent, release, testHome } from '../support/trust-homes.ts';

const modes: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
const calendar = new Calendar();

/** A repository over files as they are at the moment. */
function fetcherOf(files: Files): MetadataFetcher {
  const served = new RepositoryFiles(testHome('/home', calendar, files));
  return { source: 'origin', fetch: (kind, path) => (kind === 'metadata' ? served.metadata(path) : served.target(path)) };
}

async function rootOf(files: Files): Promise<Uint8Array> {
  return (await readWhole(files, '/home/trust/root.json', 1e6)) ?? new Uint8Array();
}

/** Everything that is on the medium now, as a start for another history. */
const copy = (files: CrashFiles): CrashFiles => files.crash(files.points, { mode: 'keep', seed: 0 });

describe('power cuts', () => {
  it('leave a repository with the old state or the new one, whole, at every point', async () => {
    const fresh = new CrashFiles();
    await initHome(testHome('/home', calendar, fresh));
    await release(testHome('/home', calendar, fresh), 'app', '1');
    const files = copy(fresh);
    const home = testHome('/home', calendar, files);
    const first = await rootOf(files);
    await release(home, 'app', '2');
    files.mark('2');
    // The worst change: root, targets and both online roles get new keys at once.
    const keys = { targets: { keys: [await createRoleKey(home, 'targets')], threshold: 1 }, timestamp: { keys: [await createRoleKey(home, 'timestamp')], threshold: 1 }, snapshot: { keys: [await createRoleKey(home, 'snapshot')], threshold: 1 } };
    await stageRotation(home, '/home/staging/keys', keys);
    await acceptStaged(home, '/home/staging/keys', noContent);
    await release(home, 'app', '3');
    files.mark('3');
    let checked = 0;
    for (let point = 0; point <= files.points; point++) {
      for (const mode of modes) {
        const medium = files.crash(point, { mode, seed: point });
        const where = `${files.describe(point)}, ${mode}, seed ${String(point)}`;
        const promised = Number(files.marksBefore(point).at(-1) ?? 1);
        const look = async (): Promise<number> => {
          const client = await device('/device', { files: new CrashFiles(), trustedRoot: first, fetcher: fetcherOf(medium), now: calendar.now });
          return Number((await client.release('app').catch((error: unknown) => expect.fail(`${where}: ${String(error)}`))).manifest.version);
        };
        const seen = await look();
        expect(seen, where).toBeGreaterThanOrEqual(promised);
        // What restarts puts itself in order, without a hand and without going back.
        const restarted = testHome('/home', calendar, medium);
        await renewOnline(restarted);
        expect(await look(), where).toBe(seen);
        if (point % 16 === 0) {
          await release(restarted, 'app', '4');
          expect(await look(), where).toBe(4);
        }
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(500);
  });

  it('never cost a device its protection against older states, and never its ability to update', async () => {
    const served = new CrashFiles();
    await initHome(testHome('/home', calendar, served));
    const root = await rootOf(served);
    const states: CrashFiles[] = [];
    for (const version of ['1', '2', '3']) {
      await release(testHome('/home', calendar, served), 'app', version);
      states.push(copy(served));
    }
    const own = new CrashFiles();
    for (const [index, state] of states.entries()) {
      const client = await device('/device', { files: own, trustedRoot: root, fetcher: fetcherOf(state), now: calendar.now });
      await client.accepted((await client.release('app')).manifest);
      own.mark(String(index));
    }
    let refused = 0;
    for (let point = 0; point <= own.points; point++) {
      for (const mode of modes) {
        const where = `${own.describe(point)}, ${mode}, seed ${String(point)}`;
        const seen = Number(own.marksBefore(point).at(-1) ?? -1);
        const reopen = (medium: CrashFiles, state: CrashFiles | undefined) => device('/device', { files: medium, trustedRoot: root, fetcher: fetcherOf(state ?? expect.fail('no state')), now: calendar.now });
        const medium = own.crash(point, { mode, seed: point });
        if (seen > 0) {
          const old = await reopen(copy(medium), states[seen - 1]);
          await expect(old.release('app'), where).rejects.toSatisfy((error) => isShoalError(error, 'TUF_ROLLBACK'));
          expect(old.highWater('app'), where).toBeGreaterThanOrEqual(seen + 1);
          refused++;
        }
        const client = await reopen(medium, states[2]);
        expect((await client.release('app')).manifest.version, where).toBe('3');
      }
    }
    expect(refused).toBeGreaterThan(50);
  });

  it('and rotten bytes in any one file of a device change nothing', async () => {
    const served = new CrashFiles();
    await initHome(testHome('/home', calendar, served));
    const root = await rootOf(served);
    const home = testHome('/home', calendar, served);
    await release(home, 'app', '1');
    const old = copy(served);
    await release(home, 'app', '2');
    const own = new CrashFiles();
    const start = await device('/device', { files: own, trustedRoot: root, fetcher: fetcherOf(served), now: calendar.now });
    await start.accepted((await start.release('app')).manifest);
    for (const name of await own.list('/device')) {
      const medium = copy(own);
      medium.corrupt(`/device/${name}`, (bytes) => bytes.fill(0x20, bytes.byteLength >> 1));
      const client = await device('/device', { files: medium, trustedRoot: root, fetcher: fetcherOf(old), now: calendar.now });
      await expect(client.release('app'), name).rejects.toMatchObject({ code: 'TUF_ROLLBACK' });
      const again = await device('/device', { files: medium, trustedRoot: root, fetcher: fetcherOf(served), now: calendar.now });
      expect((await again.release('app')).manifest.version, name).toBe('2');
    }
  });

  it('a full disk is said, and passes', async () => {
    const served = new CrashFiles();
    const home = testHome('/home', calendar, served);
    await initHome(home);
    await release(home, 'app', '1');
    const own = new CrashFiles();
    const client = await device('/device', { files: own, trustedRoot: await rootOf(served), fetcher: fetcherOf(served), now: calendar.now });
    own.space = 3_000;
    await expect(client.release('app')).rejects.toMatchObject({ code: 'DISK_FULL', retry: 'again' });
    own.space = undefined;
    expect((await client.release('app')).manifest.version).toBe('1');
  });
});
