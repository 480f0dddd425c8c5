import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ShoalError } from '../../src/core/errors.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { wire } from '../../src/core/wire.ts';
import { publishRelease, stagedStore } from '../../src/publish/release.ts';
import { forgetUnreleased } from '../../src/publish/upkeep.ts';
import { startHomeOrigin } from '../../src/roles/home-origin.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { HomeUploads } from '../../src/roles/origin/upload-desk.ts';
import { uploadRelease } from '../../src/roles/upload.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { listedDeltas } from '../../src/trust/repository/deltas.ts';
import { imageVersion } from '../support/delta-home.ts';
import { ask } from '../support/raw-http.ts';
import { livedClock } from '../support/lived-clock.ts';
import { randomBytes } from '../support/random.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MiB = 1024 * 1024;
const TOKEN = 'a-token-of-some-length';
let folder: string;
let server: TrustHome;
let offline: TrustHome;
let store: PackStore;
let origin: Origin;
let closing: (() => Promise<unknown>)[];
const clock = livedClock();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-upload-'));
  [server, offline] = [trustHome(join(folder, 'server')), trustHome(join(folder, 'offline'))];
  await initHome(server, { offline });
  closing = [];
  await start();
});
afterEach(async () => {
  for (const close of closing) await close();
  await origin.close();
  await rm(folder, { recursive: true });
});

async function start(): Promise<void> {
  store = await PackStore.open(server.paths.store, { level: 3 });
  origin = await startOrigin({ store, metadata: new RepositoryFiles(server), listen: { host: '127.0.0.1', port: 0 }, version: '0', uploads: { desk: new HomeUploads(server, store, clock), tokens: ['another-token-entirely', TOKEN] } });
}

async function stage(version: string, content: Uint8Array, product = 'os'): Promise<string> {
  const image = join(folder, 'image');
  await writeFile(image, content);
  const staging = join(folder, `staging-${product}-${version}`);
  const own = await PackStore.open(stagedStore(staging), { level: 3 });
  try {
    await publishRelease(offline, own, staging, { product, version, artifacts: [{ name: 'image', path: image }] }, { namespace: 'default' });
  } finally {
    await own.close();
  }
  return staging;
}

const upload = (staging: string, url = origin.url, more: Partial<Parameters<typeof uploadRelease>[0]> = {}): ReturnType<typeof uploadRelease> => uploadRelease({ staging, origin: url, token: TOKEN, clock, ...more });

async function proxy(): Promise<{ readonly wire: TcpProxy; readonly url: string }> {
  const between = new TcpProxy();
  closing.push(() => between.close());
  return { wire: between, url: await between.start(origin.url) };
}

async function artifact(): Promise<Buffer> {
  const [held] = await store.artifacts();
  return (await ask(origin.url, wire.artifact({ namespace: 'default', root: held?.root ?? ('' as ObjectId) }))).body;
}

/** The origin as a program starts it: deltas are made in a process of its own. */
async function startHome(): Promise<void> {
  await origin.close();
  origin = await startHomeOrigin({ home: server.directory, listen: { host: '127.0.0.1', port: 0 }, version: '0', uploadTokens: [TOKEN] });
}

describe('deltas of an upload', () => {
  it('are there when devices see the release, unless it is to be seen at once', async () => {
    await startHome();
    expect(await upload(await stage('1', imageVersion(1)))).toMatchObject({ changed: true, deltas: 0 });
    expect(await upload(await stage('2', imageVersion(2)))).toMatchObject({ changed: true, deltas: 1 });
    expect(await listedDeltas(server)).toHaveLength(1);
    expect(await upload(await stage('3', imageVersion(3)), origin.url, { deltasLater: true })).toMatchObject({ changed: true, deltas: 0 });
    // From 2 and from 1, as soon as the process that makes them gets to it.
    await expect.poll(async () => (await listedDeltas(server)).length).toBe(3);
  });

  it('are waited for beside other uploads, with nothing visible before, whatever becomes of them', async () => {
    await origin.close();
    store = await PackStore.open(server.paths.store, { level: 3 });
    const steps: string[] = [];
    const visible = async (): Promise<number> => (await ask(origin.url, `${wire.metadata}/1.product-os.json`)).status;
    let go = (): void => undefined;
    const waiting = new Promise<void>((resolve) => { go = resolve; });
    const hooks = {
      beforeMs: 1_000,
      before: async (staging: string) => {
        steps.push(`before ${String(await visible())} ${String((await readdir(staging)).length > 0)}`);
        // Whoever makes deltas writes to the store meanwhile.
        await (await store.begin()).commit([]);
        await waiting;
        return { deltas: 0, all: false };
      },
      after: async () => { steps.push(`after ${String(await visible())}`); },
    };
    // Answers come after 10 ms instead of ten seconds; whatever takes longer than that takes as long as ever.
    const hasty = { now: clock.now, after: (ms: number, run: () => void) => clock.after(ms > 10_000 ? ms : ms / 1_000, run) };
    origin = await startOrigin({ store, metadata: new RepositoryFiles(server), listen: { host: '127.0.0.1', port: 0 }, version: '0', uploads: { desk: new HomeUploads(server, store, hasty, hooks), tokens: [TOKEN] } });
    let told = 0;
    const one = await stage('1', randomBytes(2 * MiB));
    const running = upload(one, origin.url, { onDeltas: () => { told++; } });
    await expect.poll(() => steps.length > 0 && told > 1).toBe(true);
    expect(steps).toEqual(['before 404 true']);
    // Somebody who begins the same upload anew waits for the same commit.
    const again = upload(one, origin.url);
    go();
    expect(await running).toMatchObject({ changed: true, releases: [{ version: '1' }] });
    expect((await again).releases.length).toBeLessThanOrEqual(1);
    expect(steps).toEqual(['before 404 true', 'after 200']);
  });

  it('do not keep a release from coming out when they cannot be made at all', async () => {
    await startHome();
    await upload(await stage('1', imageVersion(1)));
    // A slip in the configuration.
    const config = join(server.directory, 'config.json');
    await writeFile(config, JSON.stringify({ ...(JSON.parse(await readFile(config, 'utf8')) as object), deltas: { from: 'nonsense!' } }));
    expect(await upload(await stage('2', imageVersion(2)))).toMatchObject({ changed: true, deltas: 0, releases: [{ version: '2' }] });
  });
});

describe('an upload', () => {
  it('publishes what was signed elsewhere, sends only what is new, and does nothing the second time', async () => {
    const first = randomBytes(6 * MiB);
    const one = await stage('1', first);
    const report = await upload(one);
    expect(report).toMatchObject({ changed: true, releases: [{ product: 'os', version: '1', sequence: 1 }], ledger: { repeated: 0, artifactBytes: 6 * MiB } });
    expect(Buffer.compare(await artifact(), first)).toBe(0);
    expect((await ask(origin.url, `${wire.metadata}/1.product-os.json`)).status).toBe(200);
    const again = await upload(one);
    expect(again).toMatchObject({ changed: false, releases: [] });
    expect(again.ledger.sent).toBeLessThan(16_000);
    // 100,000 new bytes, the chunks they cut, pages, heads and metadata.
    const second = Buffer.concat([first.subarray(0, 3 * MiB), randomBytes(100_000), first.subarray(3 * MiB)]);
    const next = await upload(await stage('2', second));
    expect(next.changed).toBe(true);
    expect(next.ledger.sent).toBeLessThan(MiB);
    // Nothing is left of it but what was published.
    expect(await readdir(server.paths.staging)).toEqual([]);
  });

  it('goes on after cuts of the line, and shows nothing before all of it is there', async () => {
    const { wire: line, url } = await proxy();
    const content = randomBytes(12 * MiB);
    const staging = await stage('1', content);
    let next = 2 * MiB;
    let cuts = 0;
    line.bend = (bytes) => {
      if (line.sent < next) return bytes;
      next += 2 * MiB;
      cuts++;
      return undefined;
    };
    const running = upload(staging, url);
    await vi.waitFor(async () => {
      expect(cuts).toBeGreaterThan(1);
      expect(await store.artifacts()).toEqual([]);
    }, { interval: 1, timeout: 200_000 });
    expect((await running).changed).toBe(true);
    expect(Buffer.compare(await artifact(), content)).toBe(0);
  });

  it('resumes when the publisher was stopped: the second run sends the rest', async () => {
    const content = randomBytes(12 * MiB);
    const staging = await stage('1', content);
    const stop = new AbortController();
    const first = upload(staging, origin.url, {
      signal: stop.signal,
      onProgress: (done) => {
        if (done > 6 * MiB) stop.abort(new Error('enough'));
      },
    });
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await store.artifacts()).toEqual([]);
    const { changed, ledger } = await upload(staging);
    expect(changed).toBe(true);
    // Half was acknowledged; of what was on its way then, two spans at most, nothing is known.
    expect(ledger.sent).toBeLessThan(11 * MiB);
    expect(Buffer.compare(await artifact(), content)).toBe(0);
  });

  it('resumes after the server was restarted in between', async () => {
    const content = randomBytes(8 * MiB);
    const staging = await stage('1', content);
    const stop = new AbortController();
    await expect(upload(staging, origin.url, { signal: stop.signal, onProgress: (done) => { if (done > 4 * MiB) stop.abort(); } })).rejects.toThrow();
    await origin.close();
    await start();
    expect(await store.artifacts()).toEqual([]);
    const { ledger } = await upload(staging);
    // What lay synced in the packs was found again.
    expect(ledger.sent).toBeLessThan(6 * MiB);
    expect(Buffer.compare(await artifact(), content)).toBe(0);
  });

  it('is not disturbed by garbage collection, before, during and after', async () => {
    const content = randomBytes(10 * MiB);
    const staging = await stage('1', content);
    let collecting: Promise<unknown> = Promise.resolve();
    await upload(staging, origin.url, {
      onProgress: () => {
        collecting = collecting.then(() => forgetUnreleased(server, store)).then(() => store.gc());
      },
    });
    await collecting;
    await forgetUnreleased(server, store);
    await store.gc();
    expect(Buffer.compare(await artifact(), content)).toBe(0);
  });

  it('makes smaller pieces when longer ones do not get through', async () => {
    const { wire: line, url } = await proxy();
    const staging = await stage('1', randomBytes(3 * MiB));
    // Everything that is long is lost: a chunk has 256 KiB at most, and that is all that gets through.
    let burst = 0;
    line.bend = (bytes) => {
      if (bytes.subarray(0, 4).toString('latin1') === 'PUT ' || bytes.subarray(0, 5).toString('latin1') === 'POST ') burst = 0;
      burst += bytes.byteLength;
      return burst > 400 * 1024 ? undefined : bytes;
    };
    const { changed, ledger } = await upload(staging, url);
    expect(changed).toBe(true);
    expect(ledger.repeated).toBeGreaterThan(0);
  });
});

describe('an upload is refused', () => {
  it('when it was bent on the way, naming the span and the chunk', async () => {
    const { wire: line, url } = await proxy();
    const staging = await stage('1', randomBytes(2 * MiB));
    let head = '';
    line.bend = (bytes) => {
      if (bytes.subarray(0, 4).toString('latin1') === 'PUT ') head = bytes.toString('latin1', 0, 200);
      // Inside a body, well after any head.
      if (head.includes('/spans/') && bytes.byteLength > 20_000) bytes[bytes.byteLength - 5_000] = (bytes[bytes.byteLength - 5_000] ?? 0) ^ 1;
      return bytes;
    };
    const error = await upload(staging, url).catch((refused: unknown) => refused);
    expect(error).toMatchObject({ code: 'UPLOAD_DAMAGED', message: expect.stringMatching(/^span \d+ of image in os 1 is not what was signed: .*chunk/) });
    expect((error as ShoalError).ids['expected']).toMatch(/^[0-9a-f]{64}$/);
    expect(await store.artifacts()).toEqual([]);
    line.bend = (bytes) => bytes;
    expect((await upload(staging, url)).changed).toBe(true);
  });

  it('before any content is taken, when the metadata is not signed, replayed, or of another release', async () => {
    const one = await stage('1', randomBytes(MiB));
    const two = await stage('2', randomBytes(MiB));
    const product = join(one, 'metadata', '1.product-os.json');
    const good = await readFile(product);
    const text = good.toString('utf8');
    await writeFile(product, text.replace(/"length": (\d+)/, (_all, length: string) => `"length": ${String(Number(length) + 1)}`));
    await expect(upload(one)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE', message: expect.stringContaining('product-os') });
    await writeFile(product, good);
    // Version 2 builds on version 1, which the server does not have.
    await expect(upload(two)).rejects.toMatchObject({ code: 'STAGING_SIGNATURE' });
    await upload(one);
    await upload(two);
    await expect(upload(one)).rejects.toMatchObject({ code: 'STAGING_REPLAYED' });
    // Content is missing in the directory itself.
    const three = await stage('3', randomBytes(MiB));
    await rm(stagedStore(three), { recursive: true });
    await expect(upload(three)).rejects.toMatchObject({ code: 'STAGING_INCOMPLETE' });
    expect((await store.artifacts()).length).toBe(2);
  });

  it('without the token, before a body is read', async () => {
    const staging = await stage('1', randomBytes(100_000));
    await expect(upload(staging, origin.url, { token: 'a-token-of-some-lengtH' })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const paths = [['POST', wire.uploads], ['PUT', `${wire.upload('0'.repeat(64))}/files/metadata/1.root.json`], ['POST', `${wire.upload('0'.repeat(64))}/commit`]] as const;
    for (const [method, path] of paths) {
      for (const headers of [{}, { authorization: TOKEN }, { authorization: 'Bearer ' }, { authorization: `Basic ${TOKEN}` }, { authorization: `Bearer ${TOKEN}x` }]) {
        const answer = await ask(origin.url, path, { method, headers, body: '{}' });
        expect([path, answer.status, answer.headers['www-authenticate']]).toEqual([path, 401, 'Bearer']);
      }
    }
    const closed = await startOrigin({ store: await PackStore.open(join(folder, 'other')), metadata: new RepositoryFiles(server), listen: { host: '127.0.0.1', port: 0 }, version: '0' });
    expect((await ask(closed.url, wire.uploads, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` }, body: '{}' })).status).toBe(404);
    await closed.close();
  });

  it('when it is longer, or anything else, than an upload can be', async () => {
    const bearer = { authorization: `Bearer ${TOKEN}` };
    const json = { ...bearer, 'content-type': 'application/json' };
    const bytes = { ...bearer, 'content-type': 'application/octet-stream' };
    const send = async (method: string, path: string, headers: Record<string, string>, body: string): Promise<readonly [number, unknown]> => {
      const answer = await ask(origin.url, path, { method, headers, body });
      return [answer.status, (JSON.parse(answer.body.toString() || '{}') as { readonly error?: unknown }).error];
    };
    const digest = 'a'.repeat(64);
    const listing = (...files: readonly unknown[]): string => JSON.stringify({ files });
    expect(await send('POST', wire.uploads, json, 'x'.repeat(2 * MiB))).toEqual([413, 'TOO_LARGE']);
    expect(await send('POST', wire.uploads, json, 'not json')).toEqual([400, 'BAD_REQUEST']);
    expect(await send('POST', wire.uploads, json, listing())).toEqual([400, 'BAD_REQUEST']);
    expect(await send('POST', wire.uploads, json, listing({ path: 'metadata/../../x.json', length: 1, sha256: digest }))).toEqual([422, 'BAD_STAGING']);
    expect(await send('POST', wire.uploads, json, listing({ path: 'metadata/timestamp.json', length: 1, sha256: digest }))).toEqual([422, 'BAD_STAGING']);
    expect(await send('POST', wire.uploads, json, listing({ path: 'keys/online/x.pem', length: 1, sha256: digest }))).toEqual([400, 'BAD_REQUEST']);
    expect(await send('POST', wire.uploads, json, listing({ path: 'metadata/1.root.json', length: 5 * MiB, sha256: digest }))).toEqual([400, 'BAD_REQUEST']);
    const many = Array.from({ length: 20 }, (_, index) => ({ path: `metadata/${String(index + 1)}.root.json`, length: 4 * MiB, sha256: digest }));
    expect(await send('POST', wire.uploads, json, listing(...many))).toEqual([422, 'BAD_STAGING']);
    // One that is begun, and whose files are not what was announced.
    const begun = await ask(origin.url, wire.uploads, { method: 'POST', headers: json, body: listing({ path: 'metadata/1.root.json', length: 4, sha256: digest }) });
    const { id, missing } = JSON.parse(begun.body.toString()) as { readonly id: string; readonly missing: readonly string[] };
    expect(missing).toEqual(['metadata/1.root.json']);
    const here = wire.upload(id);
    expect(await send('PUT', `${here}/files/metadata/1.root.json`, bytes, 'abcd')).toEqual([422, 'UPLOAD_DAMAGED']);
    expect(await send('PUT', `${here}/files/metadata/2.root.json`, bytes, 'abcd')).toEqual([409, 'UPLOAD_UNWANTED']);
    expect(await send('PUT', `${here}/files/metadata/1.root.json`, bytes, 'x'.repeat(4 * MiB + 1))).toEqual([413, 'TOO_LARGE']);
    expect(await send('PUT', `${here}/files/metadata/1.root.json`, { ...bearer, 'content-type': 'text/plain' }, 'abcd')).toEqual([415, 'UNSUPPORTED_TYPE']);
    expect(await send('POST', `${here}/check`, bearer, '')).toEqual([422, 'BAD_STAGING']);
    expect(await send('POST', `${here}/commit`, bearer, '')).toEqual([409, 'UPLOAD_UNKNOWN']);
    expect(await send('POST', `${wire.upload(digest)}/check`, bearer, '')).toEqual([409, 'UPLOAD_UNKNOWN']);
  });

  it('when it sends what no signed root reaches', async () => {
    const staging = await stage('1', randomBytes(2 * MiB));
    const stop = new AbortController();
    // Stopped as soon as the check is through, so that the session stands.
    await expect(upload(staging, origin.url, { signal: stop.signal, onProgress: () => { stop.abort(); } })).rejects.toThrow();
    const { id } = JSON.parse((await ask(origin.url, wire.uploads, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }, body: JSON.stringify({ files: await listingOf(staging) }) })).body.toString()) as { readonly id: string };
    const session = JSON.parse((await ask(origin.url, `${wire.upload(id)}/check`, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` } })).body.toString()) as { readonly artifacts: readonly { readonly root: string }[] };
    const { root } = session.artifacts[0] ?? expect.fail();
    const put = async (path: string, body: string): Promise<readonly [number, unknown]> => {
      const answer = await ask(origin.url, `${wire.upload(id)}/content/${path}`, { method: 'PUT', headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/octet-stream' }, body });
      return [answer.status, (JSON.parse(answer.body.toString() || '{}') as { readonly error?: unknown }).error];
    };
    const stranger = 'b'.repeat(64);
    expect(await put(`${stranger}/pages/${stranger}`, 'SHPG')).toEqual([409, 'UPLOAD_UNWANTED']);
    expect(await put(`${root}/pages/${stranger}`, 'SHPG')).toEqual([409, 'UPLOAD_UNWANTED']);
    expect(await put(`${root}/spans/4000000/0`, 'x')).toEqual([409, 'UPLOAD_UNWANTED']);
    expect(await put(`${root}/spans/0/5000`, 'x')).toEqual([400, 'BAD_CHUNK_SET']);
    expect(await put(`${root}/spans/0/0`, 'x')).toEqual([422, 'UPLOAD_DAMAGED']);
    expect(await put(`${root}/spans/0/0`, 'x'.repeat(5 * MiB))).toEqual([413, 'TOO_LARGE']);
    expect(await store.artifacts()).toEqual([]);
    expect((await upload(staging)).changed).toBe(true);
  });
});

async function listingOf(staging: string): Promise<unknown[]> {
  const { stagedFiles } = await import('../../src/trust/repository/staging.ts');
  const { sha256 } = await import('../../src/trust/metadata.ts');
  return [...(await stagedFiles(offline, staging))].map(([path, bytes]) => ({ path, length: bytes.byteLength, sha256: sha256(bytes) }));
}
