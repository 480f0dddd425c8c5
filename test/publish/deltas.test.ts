import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ShoalError } from '../../src/core/errors.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import { basesOf, deltaPairs, releaseCalled } from '../../src/publish/delta-plan.ts';
import type { DeltaPair } from '../../src/publish/delta-plan.ts';
import { deltaPolicy, parseDeltaChoice } from '../../src/publish/delta-policy.ts';
import { makeDeltas } from '../../src/publish/deltas.ts';
import type { DeltaOutcome, MakeDeltasOptions } from '../../src/publish/deltas.ts';
import { contentCost } from '../../src/publish/stored-artifact.ts';
import { collectHome, deltaObjects, liveReleases, verifyHome } from '../../src/publish/upkeep.ts';
import { removeDeltas } from '../../src/roles/deltas.ts';
import type { PrunableStore } from '../../src/store/types.ts';
import { publishDeltas } from '../../src/trust/repository/online.ts';
import { sampleBytes } from '../support/artifact.ts';
import { DeltaHome, imageVersion } from '../support/delta-home.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { manifest } from '../support/trust-homes.ts';

describe('which deltas are made', () => {
  const record = (name: string, digit: string, role = 'image', size = 1000): ReleaseManifest['artifacts'][number] =>
    ({ name, role, root: digit.repeat(64) as ObjectId, size, sha256: 'cd'.repeat(32), chunking: { algorithm: 'test', min: 1, avg: 2, max: 3 } });
  const releases = [1, 2, 3, 4].map((sequence) => manifest('os', `1.${String(sequence)}`, sequence, { artifacts: [record('image', String(sequence))] }));
  const [one, , three, four] = releases as [ReleaseManifest, ReleaseManifest, ReleaseManifest, ReleaseManifest];
  const versions = (list: readonly ReleaseManifest[]): string[] => list.map(({ version }) => version);

  it('is said as last:N, by versions, or none', () => {
    expect(parseDeltaChoice('last:3')).toEqual({ last: 3 });
    expect(parseDeltaChoice('none')).toEqual({ last: 0 });
    expect(parseDeltaChoice('1.0,1.1+b,1.0')).toEqual({ versions: ['1.0', '1.1+b'] });
    for (const text of ['', 'last:', 'last:x', 'last:-1', '1.0,', '../x', 'all:2']) expect(() => parseDeltaChoice(text), text).toThrow(expect.objectContaining({ code: 'BAD_USAGE' }) as Error);
    expect(deltaPolicy({})).toMatchObject({ from: { last: 2 }, seconds: 600 });
    expect(deltaPolicy({ from: 'none', seconds: 5, memoryBytes: 7 })).toEqual({ from: { last: 0 }, seconds: 5, memoryBytes: 7 });
    expect(deltaPolicy({ from: 'none', seconds: 5 }, { from: '1.0', memoryBytes: 9 })).toEqual({ from: { versions: ['1.0'] }, seconds: 5, memoryBytes: 9 });
    for (const config of [{ seconds: -1 }, { memoryBytes: 0 }, { seconds: 'x' as never }, { from: 7 as never }]) expect(() => deltaPolicy(config)).toThrow(expect.objectContaining({ code: 'BAD_CONFIG' }) as Error);
  });

  it('counts back from the release, newest first, and knows what it does not have', () => {
    expect(versions(basesOf(releases, four, { last: 2 }))).toEqual(['1.3', '1.2']);
    expect(versions(basesOf(releases, one, { last: 2 }))).toEqual([]);
    expect(versions(basesOf(releases, three, { versions: ['1.1', '1.2', '1.3', '1.4'] }))).toEqual(['1.4', '1.2', '1.1']);
    expect(() => basesOf(releases, four, { versions: ['9'] })).toThrow(expect.objectContaining({ code: 'NO_SUCH_RELEASE' }) as Error);
    expect(() => basesOf(releases, { ...four, product: 'lib' }, { versions: ['1.1'] })).toThrow(expect.objectContaining({ code: 'NO_SUCH_RELEASE' }) as Error);
    expect(releaseCalled(releases, 'os', undefined)).toBe(four);
  });

  it('pairs artifacts by name, else the only ones of a role that were renamed, and none that did not change', () => {
    const before = manifest('os', '1', 1, { artifacts: [record('rootfs-1.img', 'a'), record('boot', 'b', 'boot'), record('fonts', 'c', 'data'), record('same', 'd', 'data'), record('empty', 'e', 'data', 0)] });
    const after = manifest('os', '2', 2, { artifacts: [record('rootfs-2.img', '1'), record('boot', '2', 'boot'), record('icons', '3', 'data'), record('sounds', '4', 'data'), record('same', 'd', 'data'), record('empty', '5', 'data')] });
    const short = (pairs: readonly DeltaPair[]): string[] => pairs.map(({ artifact, base, target, from, to }) => `${artifact} ${from} ${base.root[0] ?? ''} ${to} ${target.root[0] ?? ''}`);
    expect(short(deltaPairs(after, [before]))).toEqual(['rootfs-2.img 1 a 2 1', 'boot 1 b 2 2']);
    // The same artifact in two releases needs one delta.
    expect(short(deltaPairs(after, [before, { ...before, version: '0' }]))).toEqual(['rootfs-2.img 1 a 2 1', 'boot 1 b 2 2']);
    expect(deltaPairs(after, [])).toEqual([]);
  });
});

describe('deltas of releases in a store', () => {
  let it_: DeltaHome;
  const images = [1, 2, 3].map((version) => imageVersion(version)) as [Buffer, Buffer, Buffer];
  const options = (more: Partial<MakeDeltasOptions> = {}): MakeDeltasOptions => ({ memoryBytes: 2 ** 30, seconds: 600, clock: new ManualClock(), ...more });
  /** Deltas to the newest release from the `last` before it. */
  const make = async (last: number, more: Partial<MakeDeltasOptions> = {}, store: PrunableStore = it_.store): Promise<readonly DeltaOutcome[]> => {
    const releases = await liveReleases(it_.home);
    const target = releaseCalled(releases, 'os', undefined);
    return makeDeltas(it_.home, store, deltaPairs(target, basesOf(releases, target, { last })), options(more));
  };

  beforeEach(async () => {
    it_ = await DeltaHome.make();
    for (const [at, image] of images.entries()) await it_.publish('os', String(at + 1), { image });
  });
  afterEach(() => it_.close());

  it('are listed when everything they consist of is there, and make the target of bases whose files are gone', async () => {
    const shares: number[] = [];
    const told: string[] = [];
    const outcomes = await make(2, { onProgress: (done, total) => shares.push(done / total), onOutcome: ({ from, result }) => told.push(`${from} ${result}`) });
    expect(outcomes).toMatchObject([{ from: '2', to: '3', artifact: 'image', result: 'made' }, { from: '1', to: '3', artifact: 'image', result: 'made' }]);
    expect(told).toEqual(['2 made', '1 made']);
    expect([shares.at(-1), shares.toSorted((a, b) => a - b)]).toEqual([1, shares]);
    const listed = await it_.listed();
    expect(listed).toHaveLength(2);
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.result !== 'made') continue;
      const entry = listed.find(({ base }) => base === outcome.base.root);
      expect(entry).toMatchObject({ bytes: outcome.bytes, baseSize: outcome.base.size, target: outcome.target.root });
      // Some thousand new bytes and forty changed ones a version; without a delta they cost the chunks they lie in.
      expect([outcome.bytes < 4_000 * (at + 1), (outcome.contentBytes ?? 0) > 1_000_000]).toEqual([true, true]);
      if (entry !== undefined) expect((await it_.rebuild(entry, images[1 - at] as Buffer)).equals(images[2])).toBe(true);
    }
  });

  it('cost nothing the second time, and are made again when something of them is lost', async () => {
    const [first] = await make(1);
    const before = await it_.listed();
    expect(await make(1)).toMatchObject([{ result: 'kept' }]);
    const [entry] = before;
    const [lost] = entry === undefined ? [] : await deltaObjects(it_.home, entry);
    const without: PrunableStore = new Proxy(it_.store, {
      get: (target, key) => (key === 'deltaOf' ? (owner: ObjectId, id: ObjectId) => (id === lost ? Promise.resolve(undefined) : target.deltaOf(owner, id)) : Reflect.get(target, key, target).bind(target)) as unknown,
    });
    expect((await verifyHome(it_.home, it_.store)).absentDeltas).toEqual([]);
    expect((await verifyHome(it_.home, without)).absentDeltas).toEqual([{ base: entry?.base, target: entry?.target }]);
    expect(await make(1, {}, without)).toMatchObject([{ result: 'made', bytes: first?.result === 'made' ? first.bytes : 0 }]);
    // The same bytes, so the same list, and no new signature.
    expect(await it_.listed()).toEqual(before);
  });

  it('are thrown away when a device would fetch no less with them', async () => {
    await it_.publish('os', '4', { image: sampleBytes(1_500_000, 4, false) });
    const [outcome] = await make(1);
    expect(outcome).toMatchObject({ result: 'useless' });
    if (outcome?.result === 'useless') expect(outcome.bytes ?? 0).toBeGreaterThan(outcome.contentBytes * 0.9);
    // Content that is all in the version before costs pages at most.
    await it_.publish('os', '5', { image: Buffer.concat([images[0], images[0]]) });
    await it_.publish('os', '6', { image: images[0] });
    expect(await make(1)).toMatchObject([{ result: 'useless', contentBytes: expect.any(Number) as unknown }]);
    expect(await it_.listed()).toEqual([]);
  });

  it('are measured against what content would really cost', async () => {
    const [base, target] = (await liveReleases(it_.home)).map(({ artifacts }) => artifacts[0]?.root) as [ObjectId, ObjectId];
    expect(await contentCost(it_.store, target, target)).toBe(0);
    const cost = await contentCost(it_.store, base, target);
    expect([cost > 100_000, cost < images[1].byteLength]).toEqual([true, true]);
    await expect(contentCost(it_.store, 'a'.repeat(64) as ObjectId, target)).rejects.toMatchObject({ code: 'NO_SUCH_ARTIFACT' });
  });

  it('say why they could not be made, one by one, and never throw', async () => {
    const failed = (error: string, words: string) => ({ result: 'failed', error, message: expect.stringMatching(words) as unknown });
    expect(await make(1, { memoryBytes: 64 * 2 ** 20 })).toMatchObject([failed('MEMORY_CAP', 'image of 2 and 3 .* takes 293 MiB .* 64 MiB are allowed')]);
    const clock = new ManualClock();
    const slow = make(2, { clock, seconds: 15, onProgress: () => { clock.advance(20_000); } });
    expect((await slow).at(-1)).toMatchObject(failed('OUT_OF_TIME', '15 seconds'));
    const stop = new AbortController();
    stop.abort(new ShoalError('INTERRUPTED', 'interrupted'));
    const listed = (await it_.listed()).length;
    expect((await make(2, { signal: stop.signal })).at(-1)).toMatchObject(failed('INTERRUPTED', 'interrupted'));
    expect(await it_.listed()).toHaveLength(listed);
    const full: PrunableStore = new Proxy(it_.store, {
      get: (target, key) => (key === 'begin' ? async () => ({ ...(await target.begin()), putObject: () => Promise.reject(new ShoalError('DISK_FULL', 'no room')), abort: () => Promise.resolve() }) : Reflect.get(target, key, target).bind(target)) as unknown,
    });
    expect((await make(2, {}, full)).at(-1)).toMatchObject(failed('DISK_FULL', 'no room'));
    const keys = it_.home.paths.onlineKeys;
    const [name = ''] = (await readdir(keys)).filter((each) => each.startsWith('deltas'));
    await rename(join(keys, name), join(it_.folder, name));
    expect(await make(1)).toMatchObject([failed('NO_ONLINE_KEY', 'does not hold the keys')]);
  });

  it('wait for whoever else writes to the store, as long as there is time', async () => {
    let busy = 2;
    const clock = new ManualClock();
    const store = (forever: boolean): PrunableStore => new Proxy(it_.store, {
      get: (target, key) => (key === 'begin'
        ? () => {
            clock.advance(60_000);
            return forever || busy-- > 0 ? Promise.reject(new ShoalError('STORE_BUSY', 'another process writes')) : target.begin();
          }
        : Reflect.get(target, key, target).bind(target)) as unknown,
    });
    expect(await make(1, { clock }, store(false))).toMatchObject([{ result: 'made', seconds: 180 }]);
    const [kept, late] = await make(2, { clock, seconds: 300 }, store(true));
    expect([kept?.result, late]).toMatchObject(['kept', { result: 'failed', error: 'OUT_OF_TIME' }]);
  });

  it('are not listed before what they consist of is durable', async () => {
    const order: string[] = [];
    const watched: PrunableStore = new Proxy(it_.store, {
      get: (target, key) => (key === 'begin'
        ? async () => {
            const batch = await target.begin();
            return { ...batch, putObject: (...put: Parameters<typeof batch.putObject>) => batch.putObject(...put), abort: () => batch.abort(), commit: async (...what: Parameters<typeof batch.commit>) => {
              order.push(`before: ${String((await it_.listed()).length)} listed`);
              const lease = await batch.commit(...what);
              order.push(`after: ${String((await it_.listed()).length)} listed`);
              return lease;
            } };
          }
        : Reflect.get(target, key, target).bind(target)) as unknown,
    });
    expect(await make(1, {}, watched)).toMatchObject([{ result: 'made' }]);
    expect(order).toEqual(['before: 0 listed', 'after: 0 listed']);
    expect(await it_.listed()).toHaveLength(1);
  });

  it('go when what they make is retired, and stay when what they start from is', async () => {
    await make(2);
    const listed = await it_.listed();
    const objects = await Promise.all(listed.map((entry) => deltaObjects(it_.home, entry)));
    const here = async (): Promise<boolean[]> => Promise.all(listed.map(async ({ target }, at) => (await Promise.all((objects[at] ?? []).map((id) => it_.store.deltaOf(target, id)))).every((bytes) => bytes !== undefined)));
    await it_.retire('os', '1');
    expect(await collectHome(it_.home, it_.store)).toMatchObject({ forgottenDeltas: 0 });
    expect([(await it_.listed()).length, await here()]).toEqual([2, [true, true]]);
    // Taken back: what the others need is still there.
    expect(await removeDeltasOf('2')).toBe(1);
    await collectHome(it_.home, it_.store);
    const [left] = await it_.listed();
    if (left !== undefined) expect((await it_.rebuild(left, images[0])).equals(images[2])).toBe(true);
    await it_.publish('os', '4', { image: imageVersion(4) });
    await it_.retire('os', '3');
    expect(await collectHome(it_.home, it_.store)).toMatchObject({ forgottenDeltas: 1 });
    expect(await it_.listed()).toEqual([]);
    expect(await here()).toEqual([false, false]);
  });

  /** Takes back what starts from `version` and leads to the newest. */
  const removeDeltasOf = async (version: string): Promise<number> => {
    const releases = await liveReleases(it_.home);
    const roots = releaseCalled(releases, 'os', version).artifacts.map(({ root }) => root);
    const gone = (await it_.listed()).filter(({ base }) => roots.includes(base));
    await publishDeltas(it_.home, [], gone);
    return gone.length;
  };

  it('lead to the newest releases: gc takes back those that many others have followed', async () => {
    const small = (version: number): Buffer => imageVersion(version, 60_000);
    const entryOf = async (version: string): Promise<number> => {
      const root = releaseCalled(await liveReleases(it_.home), 'app', version).artifacts[0]?.root;
      return (await it_.listed()).filter(({ target }) => target === root).length;
    };
    for (let version = 1; version <= 10; version++) {
      await it_.publish('app', String(version), { app: small(version) });
      const releases = await liveReleases(it_.home);
      const target = releaseCalled(releases, 'app', undefined);
      await makeDeltas(it_.home, it_.store, deltaPairs(target, basesOf(releases, target, { last: 1 })), options());
    }
    // Versions 3 to 10 are eight; of the other product nothing goes.
    await make(1);
    expect(await collectHome(it_.home, it_.store)).toMatchObject({ forgottenDeltas: 1, forgotten: [] });
    expect([await entryOf('2'), await entryOf('3'), await entryOf('10'), (await it_.listed()).length]).toEqual([0, 1, 1, 9]);
  });

  it('are taken back by release and by version', async () => {
    await make(2);
    await expect(removeDeltas(it_.home.directory, 'os', '9')).rejects.toMatchObject({ code: 'NO_SUCH_RELEASE' });
    expect(await removeDeltas(it_.home.directory, 'os', '2')).toBe(0);
    expect(await removeDeltas(it_.home.directory, 'os', undefined, ['1'])).toBe(1);
    expect(await it_.listed()).toHaveLength(1);
    expect(await removeDeltas(it_.home.directory, 'os')).toBe(1);
    expect(await it_.listed()).toEqual([]);
  });
});
