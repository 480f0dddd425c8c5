import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ObjectId } from '../../src/core/ids.ts';
import { encodeMetadata } from '../../src/trust/metadata.ts';
import { deltaEnds, deltaPath } from '../../src/trust/roles.ts';
import type { TufClient } from '../../src/trust/client/client.ts';
import { buildDelegated, delegationsOf, entryOf, signFor } from '../../src/trust/repository/build.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { readConfig, writeConfig } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { loadKeys } from '../../src/trust/repository/keys.ts';
import { commitNext, publishDeltas } from '../../src/trust/repository/online.ts';
import type { DeltaTarget } from '../../src/trust/repository/online.ts';
import { loadState } from '../../src/trust/repository/state.ts';
import { withPlainTuf } from '../support/plain-tuf.ts';
import { httpFetcher, serveTuf } from '../support/tuf-server.ts';
import { Calendar, DAY, device, release, testHome } from '../support/trust-homes.ts';

const [base, other, target, elsewhere] = ['1', '2', '3', '4'].map((digit) => digit.repeat(64)) as [ObjectId, ObjectId, ObjectId, ObjectId];
const delta = (from: ObjectId, to: ObjectId, text = `from ${from} to ${to}`): DeltaTarget => ({ base: from, target: to, bytes: Buffer.from(text), baseSize: 1000, deltaBytes: 100 });

let scratch: string;
let calendar: Calendar;
let home: TrustHome;
let server: Awaited<ReturnType<typeof serveTuf>>;
let refused: unknown[];

const open = async (name = 'device'): Promise<TufClient> =>
  device(join(scratch, name), { trustedRoot: await readFile(home.paths.trustRoot), fetcher: httpFetcher(server.url), now: calendar.now, onNoDeltas: (error) => refused.push(error) });

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-deltas-'));
  calendar = new Calendar();
  home = testHome(join(scratch, 'home'), calendar);
  await initHome(home);
  server = await serveTuf(new RepositoryFiles(home));
  refused = [];
  await release(home, 'app', '1.0');
  await publishDeltas(home, [delta(base, target), delta(other, target), delta(base, elsewhere)]);
});
afterEach(async () => {
  await server.close();
  await rm(scratch, { recursive: true });
});

describe('deltas, as a device sees them', () => {
  it('are those of the target alone, with what they cost, and fetched only once', async () => {
    const client = await open();
    expect(await client.deltas(target)).toEqual([]);
    await client.release('app');
    const manifestLength = delta(base, target).bytes.byteLength;
    const offer = { baseSize: 1000, bytes: 100, manifestLength };
    expect(await client.deltas(target)).toEqual([{ base, ...offer }, { base: other, ...offer }]);
    expect(await client.deltas(base)).toEqual([]);
    expect(Buffer.from(await client.deltaManifest(target, other)).toString()).toBe(`from ${other} to ${target}`);
    await expect(client.deltaManifest(target, elsewhere)).rejects.toMatchObject({ code: 'NO_SUCH_DELTA' });
    // Another run finds the role where the first one has left it.
    server.requests.length = 0;
    const again = await open();
    await again.release('app');
    expect(await again.deltas(elsewhere)).toHaveLength(1);
    expect(server.requests.filter((path) => path.includes('deltas'))).toEqual([]);
    await writeFile(join(scratch, 'device', 'deltas.json'), 'torn');
    const third = await open();
    await third.release('app');
    expect(await third.deltas(elsewhere)).toHaveLength(1);
    expect(refused).toEqual([]);
  });

  const changed = (bytes: Uint8Array): Uint8Array => bytes.map((byte, at) => (at === 20 ? byte ^ 1 : byte));
  it.each([
    ['missing', (): undefined => undefined, /TUF_MISSING/],
    ['changed', changed, /TUF_(HASH|SIGNATURE|MALFORMED)/],
    ['cut', (bytes: Uint8Array) => bytes.subarray(1), /TUF_LENGTH/],
    ['endless', (): 'endless' => 'endless', /TUF_ENDLESS/],
    ['no metadata at all', () => Buffer.from('<html>'), /TUF_/],
  ])('are none when their role is %s; the update goes on', async (_how, change, code) => {
    server.tamper = (path, bytes) => (path.endsWith('.deltas.json') && bytes !== undefined ? change(bytes) : bytes);
    const client = await open();
    expect((await client.release('app')).manifest.version).toBe('1.0');
    expect(await client.deltas(target)).toEqual([]);
    expect(refused).toEqual([expect.objectContaining({ code: expect.stringMatching(code) as unknown })]);
    await expect(client.deltaManifest(target, base)).rejects.toMatchObject({ retry: 'elsewhere' });
    await release(home, 'app', '2.0');
    expect((await client.release('app')).manifest.version).toBe('2.0');
    server.tamper = (_path, bytes) => bytes;
    expect(await client.deltas(target)).toHaveLength(2);
  });

  it('are none when their role has expired, or is signed by somebody else', async () => {
    await writeConfig(home, { ...(await readConfig(home)), expiryDays: { ...(await readConfig(home)).expiryDays, deltas: 0.1 } });
    await publishDeltas(home, [delta(other, elsewhere)]);
    const client = await open();
    // Two hours and a half: the timestamp lasts a day.
    calendar.ms += 0.11 * DAY;
    expect((await client.release('app')).manifest.version).toBe('1.0');
    expect(await client.deltas(target)).toEqual([]);
    expect(refused).toEqual([expect.objectContaining({ code: 'TUF_EXPIRED', ids: { role: 'deltas', source: server.url } })]);

    const state = await loadState(home);
    const forged = buildDelegated('deltas', 9, '2026-06-01T00:00:00Z', new Map([[deltaPath(base, target), entryOf(Buffer.from('x'), { baseSize: 1, bytes: 1 })]]));
    signFor(forged, [...delegationsOf(state.targets.metadata)].flatMap(([role, keys]) => (role === 'product-app' ? [keys] : [])), await loadKeys(home.files, home.paths.offlineKeys));
    const held = { metadata: forged, bytes: encodeMetadata(forged) };
    server.tamper = (path, bytes) => (path.endsWith('.deltas.json') ? held.bytes : bytes);
    expect((await client.release('app')).manifest.version).toBe('1.0');
    expect(await client.deltas(target)).toEqual([]);
  });

  it('may not be listed by their role outside its paths, nor without their sizes', async () => {
    const state = await loadState(home);
    const custom = { baseSize: 1, bytes: 1 };
    const entries = new Map([
      [deltaPath(base, target), entryOf(Buffer.from('x'))],
      [deltaPath(other, target), entryOf(Buffer.from('x'), { baseSize: -1, bytes: 1 })],
      [`deltas/${base}/${target}.txt`, entryOf(Buffer.from('x'), custom)],
      [`products/app/latest.json`, entryOf(Buffer.from('x'), custom)],
      [`deltas/${elsewhere}/${target}.json`, entryOf(Buffer.from('x'), custom)],
    ]);
    await commitNext(home, state, await readConfig(home), {}, entries);
    const client = await open();
    expect((await client.release('app')).manifest.version).toBe('1.0');
    expect((await client.deltas(target)).map((offer) => offer.base)).toEqual([elsewhere]);
  });

  it('do not loosen rollback protection: a snapshot with an older role is refused', async () => {
    const older = await readFile(join(home.paths.metadata, 'timestamp.json'));
    await publishDeltas(home, [delta(other, elsewhere)]);
    const client = await open();
    await client.release('app');
    server.tamper = (path, bytes) => (path.endsWith('timestamp.json') ? older : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK' });
    // What stood still stands.
    expect(await client.deltas(elsewhere)).toHaveLength(2);
    // An older role in the place of the newer one is not what the snapshot says.
    const role = await readFile(join(home.paths.metadata, '2.deltas.json'));
    server.tamper = (path, bytes) => (path.endsWith('.deltas.json') ? role : bytes);
    const fresh = await open('fresh');
    await fresh.release('app');
    expect(await fresh.deltas(elsewhere)).toEqual([]);
    expect(refused).toEqual([expect.objectContaining({ code: expect.stringMatching(/^TUF_/) as unknown })]);
  });

  it('have manifests that are checked, and asked for at every host', async () => {
    const honest = httpFetcher(server.url);
    const bad = (bytes: Uint8Array | undefined) => ({ ...honest, source: 'liar', fetch: (...asked: Parameters<typeof honest.fetch>) => (asked[0] === 'target' && asked[1].startsWith('deltas/') ? Promise.resolve(bytes) : honest.fetch(...asked)) });
    const wanted = delta(base, target).bytes;
    for (const [lie, code] of [[undefined, 'TUF_MISSING'], [wanted.subarray(1), 'TUF_LENGTH'], [changed(wanted), 'TUF_HASH']] as const) {
      const liar = bad(lie);
      const alone = await device(join(scratch, code), { trustedRoot: await readFile(home.paths.trustRoot), fetcher: liar, now: calendar.now });
      await alone.release('app');
      await expect(alone.deltaManifest(target, base)).rejects.toMatchObject({ code, retry: 'elsewhere' });
      const several = await device(join(scratch, `${code} and others`), { trustedRoot: await readFile(home.paths.trustRoot), fetcher: { ...liar, hosts: [liar, honest] }, now: calendar.now });
      await several.release('app');
      expect(Buffer.from(await several.deltaManifest(target, base)).equals(wanted)).toBe(true);
    }
  });
});

it('reads the roots out of the path of a delta, and of nothing else', () => {
  expect(deltaEnds(deltaPath(base, target))).toEqual({ base, target });
  for (const path of [`deltas/${base}/${target}`, `deltas/${base}/x.${target}.json`, `deltas/${base.replace('1', 'A')}/${target}.json`, `products/${base}/${target}.json`, `deltas/${base}/${target}.json/`]) expect(deltaEnds(path)).toBeUndefined();
});

it('plain tuf-js, without Shoal, fetches a delta manifest', () => withPlainTuf(scratch, async (current, updater) => {
  await release(current, 'app', '1.0');
  await publishDeltas(current, [delta(base, target)]);
  const plain = updater();
  const info = await plain.getTargetInfo(deltaPath(base, target));
  expect(info?.custom).toEqual({ baseSize: 1000, bytes: 100 });
  if (info === undefined) return;
  expect(await readFile(await plain.downloadTarget(info), 'utf8')).toBe(`from ${base} to ${target}`);
}));
