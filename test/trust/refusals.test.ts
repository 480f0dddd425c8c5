import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeManifest, encodeManifest } from '../../src/core/manifest.ts';
import type { TufClient } from '../../src/trust/client/client.ts';
import { encodeMetadata, sha256 } from '../../src/trust/metadata.ts';
import { LATEST, hashedPath, releasePath } from '../../src/trust/roles.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import { buildDelegated, delegationsOf, entryOf, signFor } from '../../src/trust/repository/build.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { readConfig } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { loadKeys } from '../../src/trust/repository/keys.ts';
import { commitNext, renewOnline } from '../../src/trust/repository/online.ts';
import { stageRotation } from '../../src/trust/repository/rotate.ts';
import { loadState } from '../../src/trust/repository/state.ts';
import { withPlainTuf } from '../support/plain-tuf.ts';
import { httpFetcher, serveTuf } from '../support/tuf-server.ts';
import { Calendar, DAY, device, manifest, noContent, release, testHome } from '../support/trust-homes.ts';

let scratch: string;
let calendar: Calendar;
let home: TrustHome;
let server: Awaited<ReturnType<typeof serveTuf>>;
let root: Uint8Array;
let client: TufClient;

const open = (): Promise<TufClient> => device(join(scratch, 'device'), { trustedRoot: root, fetcher: httpFetcher(server.url), now: calendar.now });
const metadata = (name: string): Promise<Buffer> => readFile(join(home.paths.metadata, name));

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-trust-'));
  calendar = new Calendar();
  home = testHome(join(scratch, 'home'), calendar);
  await initHome(home);
  root = await readFile(home.paths.trustRoot);
  server = await serveTuf(new RepositoryFiles(home));
  await release(home, 'app', '1.0');
  client = await open();
});
afterEach(async () => {
  await server.close();
  await rm(scratch, { recursive: true });
});

describe('a device', () => {
  it('finds the newest release and a named one, and fetches only what changed', async () => {
    expect((await client.release('app')).manifest.version).toBe('1.0');
    await release(home, 'app', '2.0');
    expect((await client.release('app')).manifest.version).toBe('2.0');
    expect((await client.release('app', '1.0')).manifest.sequence).toBe(1);
    server.requests.length = 0;
    await (await open()).release('app');
    // Nothing is new: the next root that is not there, the timestamp, and the manifest itself.
    expect(server.requests.filter((path) => path.startsWith('/metadata'))).toEqual(['/metadata/2.root.json', '/metadata/timestamp.json']);
  });

  it.each([
    ['TUF_SIGNATURE', 'timestamp', (path: string) => path.endsWith('timestamp.json')],
    ['TUF_SIGNATURE', 'snapshot', (path: string) => path.endsWith('snapshot.json')],
  ])('refuses with %s a %s whose contents were changed', async (_code, role, hit) => {
    server.tamper = (path, bytes) => {
      if (!hit(path) || bytes === undefined) return bytes;
      const json = JSON.parse(Buffer.from(bytes).toString('utf8')) as { signed: { version: number } };
      json.signed.version += 1;
      return Buffer.from(JSON.stringify(json));
    };
    // A changed snapshot is caught before its signature is looked at: it is not the file the timestamp names.
    await expect(client.release('app')).rejects.toMatchObject({ code: role === 'timestamp' ? 'TUF_SIGNATURE' : 'TUF_LENGTH', retry: 'elsewhere', ids: { role, source: server.url } });
  });

  it('refuses damage of equal length, endless, missing, unreadable and late files', async () => {
    const only = (part: string, change: (bytes: Uint8Array) => Uint8Array | undefined | 'endless') => {
      server.tamper = (path, bytes) => (path.includes(part) && bytes !== undefined ? change(bytes) : bytes);
    };
    only('snapshot', (bytes) => Buffer.from(bytes).fill(0x20, bytes.byteLength - 3));
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_HASH' });
    only('.targets.json', (bytes) => bytes.subarray(0, -1));
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_LENGTH', ids: { role: 'targets' } });
    for (const part of ['timestamp', 'snapshot', '.targets.json', 'product-app', '.latest.json']) {
      only(part, () => 'endless');
      await expect(client.release('app'), part).rejects.toMatchObject({ code: 'TUF_ENDLESS' });
      only(part, () => undefined);
      await expect(client.release('app'), part).rejects.toMatchObject({ code: 'TUF_MISSING' });
    }
    only('timestamp', () => Buffer.from('<html>'));
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_MALFORMED' });
    only('.latest.json', (bytes) => Buffer.from(bytes).fill(0x20, 40, 41));
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_HASH' });
    only('.latest.json', (bytes) => bytes.subarray(1));
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_LENGTH' });
  });

  it('refuses a rollback, also when its own copies were damaged or lost', async () => {
    const old = await metadata('timestamp.json');
    await release(home, 'app', '2.0');
    await client.release('app');
    server.tamper = (path, bytes) => (path.endsWith('timestamp.json') ? old : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK', ids: { role: 'timestamp' } });
    const state = join(scratch, 'device');
    for (const name of await readdir(state)) if (!name.startsWith('marks')) await writeFile(join(state, name), 'torn');
    await expect((await open()).release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK' });
    server.tamper = (_path, bytes) => bytes;
    expect((await (await open()).release('app')).manifest.version).toBe('2.0');
  });

  it('refuses a genuine file that belongs to another state', async () => {
    const old = await metadata('2.snapshot.json');
    const oldProduct = await metadata('1.product-app.json');
    await release(home, 'app', '2.0');
    server.tamper = (path, bytes) => (path.endsWith('snapshot.json') ? old : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_MIX_AND_MATCH', ids: { role: 'snapshot' } });
    server.tamper = (path, bytes) => (path.includes('product-app') ? oldProduct : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: expect.stringMatching(/TUF_MIX_AND_MATCH|TUF_ENDLESS/), ids: { role: 'product-app' } });
  });

  it('refuses a frozen and an expired state, and says what time it thinks it is', async () => {
    await client.release('app');
    calendar.ms += 2 * DAY;
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_FREEZE', hint: expect.stringContaining('2026-01-03') });
    await renewOnline(home);
    expect((await client.release('app')).manifest.version).toBe('1.0');
    calendar.ms += 366 * DAY;
    await renewOnline(home);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_EXPIRED', ids: { role: 'root' } });
    calendar.ms = 0;
    await expect(client.release('app')).rejects.toMatchObject({ code: 'CLOCK_UNSET', retry: 'again' });
  });

  it('refuses releases that are genuine but not for it', async () => {
    await client.accepted((await client.release('app')).manifest);
    await release(home, 'app', '2.0', { hardware: ['board-2'] });
    await expect(client.release('app')).rejects.toMatchObject({ code: 'WRONG_HARDWARE' });
    await release(home, 'app', '3.0', { hardware: ['board-1'], requiredFeatures: ['teleport'] });
    await expect(client.release('app')).rejects.toMatchObject({ code: 'UNKNOWN_FEATURE' });
    await release(home, 'app', '4.0', { minimumSource: 3 });
    await expect(client.release('app')).rejects.toMatchObject({ code: 'SOURCE_TOO_OLD' });
    await release(home, 'app', '5.0', { minimumSource: 1 });
    await client.accepted((await client.release('app')).manifest);
    await expect((await open()).release('app', '1.0')).rejects.toMatchObject({ code: 'SEQUENCE_ROLLBACK' });
    await expect(client.release('app', '9')).rejects.toMatchObject({ code: 'NO_SUCH_RELEASE' });
    await expect(client.release('other')).rejects.toMatchObject({ code: 'NO_SUCH_RELEASE' });
    await expect(client.release('../app')).rejects.toMatchObject({ code: 'BAD_NAME' });
  });

  it('refuses another product in the place of the one it asked for', async () => {
    await release(home, 'other', '1.0');
    const files = await readdir(join(home.paths.targets, 'products', 'other'));
    const other = await readFile(join(home.paths.targets, 'products', 'other', files.find((name) => name.endsWith('latest.json')) ?? ''));
    server.tamper = (path, bytes) => (path.includes('/products/app/') ? other : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: expect.stringMatching(/TUF_(HASH|LENGTH|ENDLESS)/) });
  });

  it('refuses a release that was signed under another name', async () => {
    // No staging gets this far: whoever holds the product key and the server could sign it.
    const state = await loadState(home);
    const keys = await loadKeys(home.files, home.paths.offlineKeys);
    const wrong = encodeManifest(manifest('other', '2.0', 2));
    const path = releasePath('app', LATEST);
    await writeFile(join(home.paths.targets, hashedPath(path, sha256(wrong))), wrong);
    const metadata = buildDelegated('product-app', 2, '2026-06-01T00:00:00Z', new Map([[path, entryOf(wrong)]]));
    signFor(metadata, [...delegationsOf(state.targets.metadata).values()], keys);
    await commitNext(home, state, await readConfig(home), { delegated: new Map([['product-app', { metadata, bytes: encodeMetadata(metadata) }]]) });
    await expect(client.release('app')).rejects.toMatchObject({ code: 'WRONG_RELEASE' });
  });

  it('refuses roots of strangers and roots that skip one, and waits for nobody', async () => {
    const stranger = testHome(join(scratch, 'stranger'), calendar);
    await initHome(stranger);
    await stageRotation(stranger, join(scratch, 'strange'), {}, ['root']);
    const strange = await readFile(join(scratch, 'strange', 'metadata', '2.root.json'));
    server.tamper = (path, bytes) => (path.endsWith('/2.root.json') ? strange : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_SIGNATURE', ids: { role: 'root' } });
    for (const round of ['a', 'b']) {
      await stageRotation(home, join(scratch, round), {}, ['root']);
      await acceptStaged(home, join(scratch, round), noContent);
    }
    const third = await metadata('3.root.json');
    server.tamper = (path, bytes) => (path.endsWith('/2.root.json') ? third : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_MIX_AND_MATCH', ids: { role: 'root' } });
    server.tamper = (path, bytes) => (path.endsWith('/3.root.json') ? root : bytes);
    await expect(client.release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK', ids: { role: 'root' } });
    // Silence: the connection stays open and nothing comes. 50 ms stand for the 30 s of a device.
    server.tamper = (path, bytes) => (path.endsWith('timestamp.json') ? new Promise<never>(() => undefined) : bytes);
    const hasty = await device(join(scratch, 'hasty'), { trustedRoot: root, fetcher: httpFetcher(server.url), now: calendar.now, timeoutMs: 50 });
    await expect(hasty.release('app')).rejects.toMatchObject({ code: 'TUF_TIMEOUT', retry: 'elsewhere' });
  });

  it('keeps one fleet apart from another', async () => {
    await client.release('app');
    const stranger = testHome(join(scratch, 'stranger'), calendar);
    await initHome(stranger);
    const strange = await readFile(stranger.paths.trustRoot);
    const confused = await device(join(scratch, 'device'), { trustedRoot: strange, fetcher: httpFetcher(server.url), now: calendar.now });
    await expect(confused.release('app')).rejects.toMatchObject({ code: 'TRUST_ROOT_CHANGED' });
    const fresh = await device(join(scratch, 'fresh'), { trustedRoot: strange, fetcher: httpFetcher(server.url), now: calendar.now });
    await expect(fresh.release('app')).rejects.toMatchObject({ code: 'TUF_SIGNATURE' });
    await expect(device(join(scratch, 'x'), { trustedRoot: Buffer.from('{}'), fetcher: httpFetcher(server.url), now: calendar.now })).rejects.toMatchObject({ code: 'BAD_TRUST_ROOT' });
  });
});

describe('plain tuf-js, without Shoal', () => {
  it('updates from the repository and verifies the manifest', () => withPlainTuf(scratch, async (current, updater) => {
    for (const version of ['1.0+b1', '2.0']) {
      await release(current, 'app+x', version);
      const plain = updater();
      const info = await plain.getTargetInfo('products/app+x/latest.json');
      if (info === undefined) throw new Error('not found');
      expect(decodeManifest(await readFile(await plain.downloadTarget(info))).version).toBe(version);
    }
  }));
});

describe('two runs that share a state', () => {
  it('never take back what the other has seen', async () => {
    await release(home, 'tool', '1.0');
    const [one, other] = [await open(), await open()];
    const [app, tool] = [(await one.release('app')).manifest, (await other.release('tool')).manifest];
    await one.accepted({ ...app, sequence: 2 });
    await other.accepted({ ...tool, sequence: 7 });
    await other.accepted(app);
    const third = await open();
    expect([third.highWater('app'), third.highWater('tool')]).toEqual([2, 7]);
    const old = await metadata('timestamp.json');
    await release(home, 'app', '2.0');
    await one.release('app');
    // The other one has not seen the newer state itself; its marks say so nevertheless once it writes them.
    await other.accepted({ ...tool, sequence: 8 });
    server.tamper = (path, bytes) => (path.endsWith('timestamp.json') ? old : bytes);
    await expect((await open()).release('app')).rejects.toMatchObject({ code: 'TUF_ROLLBACK' });
  });
});
