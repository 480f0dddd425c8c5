import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ShoalError } from '../../src/core/errors.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import { rootRole } from '../../src/trust/repository/build.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { publishDeltas, renewOnline } from '../../src/trust/repository/online.ts';
import { createRoleKey, signStaged, stageRotation } from '../../src/trust/repository/rotate.ts';
import { nextSequence, releasesOf, stageRelease } from '../../src/trust/repository/stage.ts';
import { syncOffline } from '../../src/trust/repository/sync.ts';
import { loadState } from '../../src/trust/repository/state.ts';
import type { TufClient } from '../../src/trust/client/client.ts';
import type { MetadataFetcher } from '../../src/trust/types.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { Calendar, DAY, device, manifest, noContent, release, testHome } from '../support/trust-homes.ts';

let scratch: string;
let calendar: Calendar;
let home: TrustHome;
let offline: TrustHome;

function localFetcher(of: TrustHome): MetadataFetcher {
  const files = new RepositoryFiles(of);
  return { source: 'local', fetch: (kind, path) => (kind === 'metadata' ? files.metadata(path) : files.target(path)) };
}

async function newDevice(name: string): Promise<TufClient> {
  return device(join(scratch, name), { trustedRoot: await readFile(offline.paths.trustRoot), fetcher: localFetcher(home), now: calendar.now });
}

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-repository-'));
  calendar = new Calendar();
  home = testHome(join(scratch, 'server'), calendar);
  offline = testHome(join(scratch, 'offline'), calendar);
});
afterEach(() => rm(scratch, { recursive: true }));

describe('a split home', () => {
  beforeEach(async () => {
    await initHome(home, { offline });
  });

  it('keeps offline keys off the server, and all keys to their owner', async () => {
    expect((await readdir(home.paths.onlineKeys)).map((name) => name.split('.')[0])).toEqual(['deltas', 'snapshot', 'timestamp']);
    await expect(readdir(home.paths.offlineKeys)).rejects.toThrow('ENOENT');
    await expect(readdir(offline.paths.onlineKeys)).rejects.toThrow('ENOENT');
    for (const name of await readdir(offline.paths.offlineKeys)) expect((await stat(join(offline.paths.offlineKeys, name))).mode & 0o777).toBe(0o600);
    await expect(initHome(home)).rejects.toMatchObject({ code: 'HOME_EXISTS' });
    await expect(createRoleKey(home, 'root')).rejects.toMatchObject({ code: 'OFFLINE_KEY_ON_SERVER' });
  });

  it('publishes without online keys, in order, and knows what it has taken already', async () => {
    const [one, two] = [join(scratch, 's1'), join(scratch, 's2')];
    expect(await stageRelease(offline, one, [manifest('app', '1.0', 1), manifest('app', '1.1', 2)])).toMatchObject({ complete: true, signatures: [{ role: 'targets' }, { role: 'product-app' }] });
    expect(await nextSequence(offline, 'app')).toBe(3);
    await stageRelease(offline, two, [manifest('app', '2.0', 3)]);
    await expect(acceptStaged(home, two, noContent)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE' });
    expect(await acceptStaged(home, one, noContent)).toMatchObject({ changed: true, releases: [{ version: '1.0' }, { version: '1.1' }] });
    expect(await acceptStaged(home, one, noContent)).toMatchObject({ changed: false });
    const client = await newDevice('d');
    expect((await client.release('app')).manifest.version).toBe('1.1');
    await acceptStaged(home, two, noContent);
    expect((await client.release('app')).manifest.version).toBe('2.0');
    await expect(acceptStaged(home, one, noContent)).rejects.toMatchObject({ code: 'STAGING_REPLAYED' });
    expect(releasesOf((await loadState(home)).delegated.get('product-app')?.metadata ?? expect.fail()).map(({ version }) => version)).toEqual(['2.0', '1.1', '1.0']);
  });

  it('refuses a release that skips one the server never got', async () => {
    await release(home, 'app', '1.0', {}, offline);
    await stageRelease(offline, join(scratch, 's2'), [manifest('app', '2.0', 2)]);
    await stageRelease(offline, join(scratch, 's3'), [manifest('app', '3.0', 3)]);
    await expect(acceptStaged(home, join(scratch, 's3'), noContent)).rejects.toMatchObject({ code: 'STAGING_INCOMPLETE' });
  });

  it('lets one of two publishers win', async () => {
    await release(home, 'app', '1.0', {}, offline);
    const other = testHome(join(scratch, 'other'), calendar);
    await rm(other.directory, { recursive: true, force: true });
    const { cp } = await import('node:fs/promises');
    await cp(offline.directory, other.directory, { recursive: true });
    await stageRelease(offline, join(scratch, 'a'), [manifest('app', '2.0', 2)]);
    await stageRelease(other, join(scratch, 'b'), [manifest('app', '2.0-b', 2)]);
    const results = await Promise.allSettled([acceptStaged(home, join(scratch, 'a'), noContent), acceptStaged(home, join(scratch, 'b'), noContent)]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(results.find((result) => result.status === 'rejected')?.reason).toMatchObject({ code: 'STAGING_RACED' });
    // The one who lost takes over what is published and stages again.
    const loser = results[0]?.status === 'rejected' ? offline : other;
    expect(await syncOffline(loser, localFetcher(home))).toEqual({ updated: ['product-app'], ahead: [] });
    await stageRelease(loser, join(scratch, 'c'), [manifest('app', '3.0', await nextSequence(loser, 'app'))]);
    expect(await syncOffline(loser, localFetcher(home))).toEqual({ updated: [], ahead: ['product-app'] });
    expect(await acceptStaged(home, join(scratch, 'c'), noContent)).toMatchObject({ changed: true });
    await stageRelease(loser, join(scratch, 'never'), [manifest('app', '4.0', await nextSequence(loser, 'app'))]);
    expect(await syncOffline(loser, localFetcher(home), { discard: true })).toEqual({ updated: ['product-app'], ahead: [] });
    expect(await nextSequence(loser, 'app')).toBe(4);
  });

  it('shows nothing of a release whose content did not arrive', async () => {
    const before = await readFile(join(home.paths.metadata, 'timestamp.json'));
    await stageRelease(offline, join(scratch, 's'), [manifest('app', '1.0', 1)]);
    const content = async (): Promise<void> => Promise.reject(new ShoalError('STAGING_INCOMPLETE', 'a chunk is missing'));
    await expect(acceptStaged(home, join(scratch, 's'), { content })).rejects.toMatchObject({ code: 'STAGING_INCOMPLETE' });
    expect(await readFile(join(home.paths.metadata, 'timestamp.json'))).toEqual(before);
  });

  it('refuses what was changed on the way, signed by strangers, or signed wrongly', async () => {
    const staging = join(scratch, 's');
    await stageRelease(offline, staging, [manifest('app', '1.0', 1)]);
    const folder = join(staging, 'targets', 'products', 'app');
    const [name = ''] = await readdir(folder);
    const good = await readFile(join(folder, name));
    await writeFile(join(folder, name), Buffer.from(good).fill(0x20, 1, 2));
    await expect(acceptStaged(home, staging, noContent)).rejects.toMatchObject({ code: 'STAGING_DAMAGED' });
    await rm(join(folder, name));
    await expect(acceptStaged(home, staging, noContent)).rejects.toMatchObject({ code: 'STAGING_INCOMPLETE' });
    const stranger = testHome(join(scratch, 'stranger'), calendar);
    await initHome(stranger);
    await stageRelease(stranger, join(scratch, 'strange'), [manifest('app', '1.0', 1)]);
    await expect(acceptStaged(home, join(scratch, 'strange'), noContent)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE', ids: { role: 'targets' } });
    await stageRelease(offline, join(scratch, 'n'), [manifest('lib', '1.0', 1, { namespace: 'elsewhere' })]);
    await expect(acceptStaged(home, join(scratch, 'n'), noContent)).rejects.toMatchObject({ code: 'WRONG_NAMESPACE' });
    await expect(acceptStaged(offline, staging, noContent)).rejects.toMatchObject({ code: 'NOT_A_SERVER' });
    await expect(stageRelease(home, join(scratch, 'x'), [manifest('new', '1', 1)])).rejects.toMatchObject({ code: 'UNKNOWN_PRODUCT' });
  });

  it('refuses releases that cannot be', async () => {
    await release(home, 'app', '1.0', {}, offline);
    const stage = (version: string, sequence: number): Promise<unknown> => stageRelease(offline, join(scratch, version), [manifest('app', version, sequence)]);
    await expect(stage('1.0', 2)).rejects.toMatchObject({ code: 'RELEASE_EXISTS' });
    await expect(stage('1.1', 1)).rejects.toMatchObject({ code: 'SEQUENCE_TOO_LOW' });
    await expect(stage('latest', 2)).rejects.toMatchObject({ code: 'BAD_NAME' });
  });

  it('takes a release back', async () => {
    await release(home, 'app', '1.0', {}, offline);
    await release(home, 'app', '2.0', {}, offline);
    await stageRelease(offline, join(scratch, 'r'), [], { retire: { app: ['2.0'] } });
    expect(await acceptStaged(home, join(scratch, 'r'), noContent)).toMatchObject({ retired: [{ product: 'app', version: '2.0' }] });
    expect((await (await newDevice('d')).release('app')).manifest.version).toBe('1.0');
  });

  it('renews online signatures in time, and tells when offline ones end', async () => {
    expect((await renewOnline(home)).renewed).toEqual([]);
    calendar.ms += 0.6 * DAY;
    expect((await renewOnline(home)).renewed).toEqual(['timestamp']);
    calendar.ms += 4 * DAY;
    expect((await renewOnline(home)).renewed).toEqual(['snapshot', 'timestamp']);
    calendar.ms += 15 * DAY;
    const report = await renewOnline(home);
    expect(report.renewed).toEqual(['deltas', 'snapshot', 'timestamp']);
    expect(report.offline[0]?.expires.getTime()).toBe(Date.parse('2027-01-01T00:00:00Z'));
    await release(home, 'app', '1.0', {}, offline);
    expect((await (await newDevice('d')).release('app')).manifest.version).toBe('1.0');
  });

  it('misses a key that signs online before anything is due', async () => {
    const keys = home.paths.onlineKeys;
    const name = (await readdir(keys)).find((each) => each.startsWith('snapshot')) ?? '';
    const pem = await readFile(join(keys, name));
    await writeFile(join(keys, name), 'not a key');
    await expect(renewOnline(home)).rejects.toMatchObject({ code: 'BAD_KEY', ids: { path: join(keys, name) } });
    await rm(join(keys, name));
    await expect(renewOnline(home)).rejects.toMatchObject({ code: 'NO_ONLINE_KEY', ids: { role: 'snapshot' } });
    await writeFile(join(keys, name), pem);
    expect((await renewOnline(home)).renewed).toEqual([]);
  });

  it('signs delta manifests online', async () => {
    const [base, target] = ['1'.repeat(64) as ObjectId, '2'.repeat(64) as ObjectId];
    const delta = { base, target, bytes: Buffer.from('delta'), baseSize: 7, deltaBytes: 5 };
    expect(await publishDeltas(home, [delta])).toBe(true);
    expect(await publishDeltas(home, [delta])).toBe(false);
    const listed = (await loadState(home)).delegated.get('deltas')?.metadata.signed.targets ?? {};
    expect(Object.keys(listed)).toEqual([`deltas/${base}/${target}.json`]);
    const hash = listed[`deltas/${base}/${target}.json`]?.hashes['sha256'] ?? '';
    expect(Buffer.from((await new RepositoryFiles(home).target(`deltas/${base}/${hash}.${target}.json`)) ?? []).toString()).toBe('delta');
    await publishDeltas(home, [], [{ base, target }]);
    expect(Object.keys((await loadState(home)).delegated.get('deltas')?.metadata.signed.targets ?? {})).toEqual([]);
  });

  it('serves no file outside the repository', async () => {
    const files = new RepositoryFiles(home);
    for (const name of ['../config.json', 'journal.json', '1.root.json/..', '.lock', '', '0.root.json']) expect(await files.metadata(name), name).toBeUndefined();
    for (const path of ['../config.json', 'products/../../config.json', '/etc/passwd', 'products/app', 'a/b/..']) expect(await files.target(path), path).toBeUndefined();
  });
});

describe('key rotation', () => {
  const rotations = ['root', 'targets', 'snapshot', 'timestamp', 'deltas', 'product-app'];

  it.each(rotations)('of %s is followed by a device that knows only the first root, and by one that was up to date', async (role) => {
    await initHome(home, { offline });
    await release(home, 'app', '1.0', {}, offline);
    const first = await readFile(offline.paths.trustRoot);
    const known = await newDevice('known');
    await known.release('app');
    const key = await createRoleKey(['snapshot', 'timestamp', 'deltas'].includes(role) ? home : offline, role);
    const staging = join(scratch, 'rotation');
    expect(await stageRotation(offline, staging, { [role]: { keys: [key], threshold: 1 } })).toMatchObject({ complete: true });
    expect(await acceptStaged(home, staging, noContent)).toMatchObject({ changed: true });
    await release(home, 'app', '2.0', {}, offline);
    expect((await known.release('app')).manifest.version).toBe('2.0');
    const fresh = await device(join(scratch, 'fresh'), { trustedRoot: first, fetcher: localFetcher(home), now: calendar.now });
    expect((await fresh.release('app')).manifest.version).toBe('2.0');
  });

  it('gathers a threshold on several machines', async () => {
    await initHome(home, { offline, root: { keys: 3, threshold: 2 }, targets: { keys: 2, threshold: 2 } });
    // Two officers, each with one root and one targets key; the first home keeps none of the second's.
    const second = testHome(join(scratch, 'second'), calendar);
    const { cp, rename, mkdir } = await import('node:fs/promises');
    await cp(offline.directory, second.directory, { recursive: true });
    await rm(second.paths.offlineKeys, { recursive: true });
    await mkdir(second.paths.offlineKeys);
    const names = await readdir(offline.paths.offlineKeys);
    for (const name of [...names.filter((each) => each.startsWith('root')).slice(0, 2), ...names.filter((each) => each.startsWith('targets')).slice(0, 1)]) {
      await rename(join(offline.paths.offlineKeys, name), join(second.paths.offlineKeys, name));
    }
    const staging = join(scratch, 'ceremony');
    expect(await stageRelease(offline, staging, [manifest('app', '1.0', 1)])).toMatchObject({ complete: false, signatures: [{ role: 'targets', have: 1, need: 2 }, { role: 'product-app', have: 1, need: 1 }] });
    await expect(acceptStaged(home, staging, noContent)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE', message: expect.stringContaining('1/2') });
    expect(await signStaged(second, staging)).toMatchObject({ complete: true });
    await acceptStaged(home, staging, noContent);

    // A new root with other root keys needs two of the old and all of the new.
    const keys = [await createRoleKey(offline, 'root'), await createRoleKey(second, 'root')];
    const rotation = join(scratch, 'root');
    expect(await stageRotation(offline, rotation, { root: { keys, threshold: 2 } })).toMatchObject({ complete: false, signatures: [{ have: 1, need: 2 }, { have: 1, need: 2 }] });
    await expect(acceptStaged(home, rotation, noContent)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE' });
    expect(await signStaged(second, rotation)).toMatchObject({ complete: true });
    await acceptStaged(home, rotation, noContent);
    expect(rootRole((await loadState(home)).root.metadata, 'root').keys).toEqual(keys);
    const client = await newDevice('d');
    expect((await client.release('app')).manifest.version).toBe('1.0');
  });

  it('refuses keys the server does not hold, and thresholds nobody can reach', async () => {
    await initHome(home, { offline });
    const key = await createRoleKey(offline, 'timestamp');
    await stageRotation(offline, join(scratch, 't'), { timestamp: { keys: [key], threshold: 1 } });
    await expect(acceptStaged(home, join(scratch, 't'), noContent)).rejects.toMatchObject({ code: 'NO_ONLINE_KEY' });
    await expect(stageRotation(offline, join(scratch, 'u'), { root: { keys: [key], threshold: 2 } })).rejects.toMatchObject({ code: 'BAD_THRESHOLD' });
    await expect(stageRotation(offline, join(scratch, 'v'), {})).rejects.toMatchObject({ code: 'NOTHING_TO_DO' });
  });

  it('recovers from a fast-forward: after an exchange of online keys, lower versions count again', async () => {
    await initHome(home, { offline });
    await release(home, 'app', '1.0', {}, offline);
    const client = await newDevice('d');
    // A thief of the online keys raises the versions of snapshot and timestamp.
    const { cp } = await import('node:fs/promises');
    const thief = testHome(join(scratch, 'thief'), calendar);
    await cp(home.directory, thief.directory, { recursive: true });
    for (let round = 0; round < 5; round++) {
      const [base, target] = ['1'.repeat(64) as ObjectId, String(round).repeat(64) as ObjectId];
      await publishDeltas(thief, [{ base, target, bytes: Buffer.from('delta'), baseSize: 7, deltaBytes: 5 }]);
    }
    const misled = await device(join(scratch, 'd'), { trustedRoot: await readFile(offline.paths.trustRoot), fetcher: localFetcher(thief), now: calendar.now });
    await misled.release('app');
    await expect((await newDevice('d')).release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK' });
    const keys = { snapshot: { keys: [await createRoleKey(home, 'snapshot')], threshold: 1 }, timestamp: { keys: [await createRoleKey(home, 'timestamp')], threshold: 1 } };
    await stageRotation(offline, join(scratch, 'r'), keys);
    await acceptStaged(home, join(scratch, 'r'), noContent);
    expect((await (await newDevice('d')).release('app')).manifest.version).toBe('1.0');
    expect(client.highWater('app')).toBe(0);
  });
});

it('locks a home across processes and lets go when a holder fails', async () => {
  await initHome(home);
  const real = trustHome(home.directory, calendar.now);
  await expect(nextSequence(trustHome(join(scratch, 'nowhere')), 'app')).rejects.toMatchObject({ code: 'NO_HOME' });
  await expect(renewOnline(trustHome(join(scratch, 'nowhere')))).rejects.toMatchObject({ code: 'NO_HOME' });
  const order: string[] = [];
  let next: Promise<unknown> = Promise.resolve();
  const slow = real.exclusively(async () => {
    order.push('first in');
    // Whoever comes now finds the home locked.
    next = real.exclusively(async () => Promise.resolve(order.push('second')));
    await real.files.stat(home.directory);
    order.push('first out');
    throw new Error('failed');
  });
  await expect(slow).rejects.toThrow('failed');
  await next;
  expect(order).toEqual(['first in', 'first out', 'second']);
});
