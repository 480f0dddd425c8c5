import { createHash } from 'node:crypto';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/core/clock.ts';
import type { ArtifactRecord } from '../../src/core/manifest.ts';
import { download } from '../../src/exchange/download.ts';
import type { Ledger } from '../../src/exchange/ledger.ts';
import { HttpSource } from '../../src/exchange/source.ts';
import type { Source, SourceKind } from '../../src/exchange/source.ts';
import type { Evidence } from '../../src/exchange/standing.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { DirectoryMetadata } from '../support/directory-metadata.ts';
import { livedClock } from '../support/lived-clock.ts';
import { freePort } from '../support/free-port.ts';
import { randomBytes } from '../support/random.ts';
import { TamperingProxy } from '../support/tampering-proxy.ts';

const MiB = 1024 * 1024;
// Several spans of every kind: the first MiB compresses well, the rest not at all.
const content = Buffer.concat([Buffer.alloc(MiB, 'shoal '), randomBytes(11 * MiB)]);
const older = Buffer.concat([content.subarray(0, 6 * MiB), randomBytes(100_000), content.subarray(6 * MiB, 9 * MiB)]);

let folder: string;
let artifact: ArtifactRecord;
const closing: (() => Promise<unknown>)[] = [];
const usual = livedClock();
/** For what waits for time-outs. */
const hurried = livedClock(5);
let serial = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-download-'));
  await writeFile(join(folder, 'published'), content);
  const store = await PackStore.open(join(folder, 'store'), { level: 3 });
  const batch = await store.begin();
  const { record, stored } = await ingestArtifact(batch, { path: join(folder, 'published'), name: 'image' }, { namespace: 'default' });
  await batch.commit([stored]);
  await store.close();
  artifact = record;
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function host(port = 0): Promise<Origin> {
  const store = await PackStore.open(join(folder, 'store'), { level: 3 });
  const origin = await startOrigin({ store, metadata: new DirectoryMetadata(nodeFiles, folder), listen: { host: '127.0.0.1', port }, version: '0', gcMs: 0 });
  let open = true;
  const once = { ...origin, close: async () => { if (open) { open = false; await origin.close(); } } };
  closing.push(once.close);
  return once;
}

function source(kind: SourceKind, url: string, clock = usual): Source {
  const made = new HttpSource(kind, url, clock);
  closing.push(() => made.close());
  return made;
}

async function proxy(target: string): Promise<{ readonly proxy: TamperingProxy; readonly url: string }> {
  const tampering = new TamperingProxy();
  const url = await tampering.start(target);
  closing.push(() => tampering.close());
  return { proxy: tampering, url };
}

interface Options {
  readonly path?: string;
  readonly bases?: readonly string[];
  readonly lies?: Evidence[];
  readonly onProgress?: (done: number) => void;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}


/** A device's whole way: slot, download, activation. */
async function fetchInto(sources: readonly Source[], { path = join(folder, `out-${String(serial++)}`), bases, lies, onProgress, signal, clock = usual }: Options = {}): Promise<{ readonly path: string; readonly ledger: Ledger }> {
  const slot = await FileSlot.open(nodeFiles, path);
  try {
    const ledger = await download({
      namespace: 'default', artifact, sources, slot, clock, random: Math.random,
      ...(bases === undefined ? {} : { bases }),
      ...(lies === undefined ? {} : { onLie: (evidence: Evidence) => void lies.push(evidence) }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
    await slot.activate(artifact.size);
    return { path, ledger };
  } catch (error) {
    await slot.close();
    throw error;
  }
}

const sha256 = async (path: string): Promise<string> => createHash('sha256').update(await readFile(path)).digest('hex');

describe('a download', () => {
  it('brings the signed bytes, packed over the backhaul, and writes each byte once', async () => {
    const { url } = await host();
    const { path, ledger } = await fetchInto([source('origin', url)]);
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger).toMatchObject({ local: 0, peer: 0, gateway: 0, written: content.byteLength });
    // One of the twelve MiB is text that packs to next to nothing; pages and heads come on top of the other eleven.
    expect(ledger.origin).toBeLessThan(11.1 * MiB);
  });

  it('takes from older files what they have, and only the rest over the network', async () => {
    const { url } = await host();
    const base = join(folder, 'older');
    await writeFile(base, older);
    const { path, ledger } = await fetchInto([source('origin', url)], { bases: [base] });
    expect(await sha256(path)).toBe(artifact.sha256);
    // Nine MiB are in the base; chunks of up to 256 KiB are lost at each of three edges.
    expect(ledger.local).toBeGreaterThan(8.2 * MiB);
    expect(ledger.origin).toBeLessThan(content.byteLength - ledger.local + 0.1 * MiB);
  });

  it('asks the origin for nothing that a peer has', async () => {
    const { url } = await host();
    const [near, far] = [await proxy(url), await proxy(url)];
    const { path, ledger } = await fetchInto([source('origin', far.url), source('peer', near.url)]);
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.origin).toBe(0);
    expect(far.proxy.seen.filter((each) => each.includes('/content/'))).toEqual([]);
  });

  it.each([
    ['flips a bit', (body: Buffer) => { body[body.byteLength >> 1] = (body[body.byteLength >> 1] ?? 0) ^ 1; return body; }, 'CHUNK_MISMATCH'],
    ['sends less', (body: Buffer) => body.subarray(0, -1), 'HTTP_BODY'],
    ['sends more', (body: Buffer) => Buffer.concat([body, body]), 'HTTP_TOO_LARGE'],
    ['sends nothing', () => Buffer.alloc(0), 'HTTP_BODY'],
  ])('drops a peer that %s, names it, and goes on without it', async (_what, tamper, code) => {
    const { url } = await host();
    const liar = await proxy(url);
    liar.proxy.tamper = (passing, response) => {
      if (!passing.path.includes('/spans/')) return false;
      response.writeHead(200).end(tamper(Buffer.from(passing.body)));
      return true;
    };
    const lies: Evidence[] = [];
    const { path } = await fetchInto([source('peer', liar.url), source('origin', url)], { lies });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(lies).toMatchObject([{ source: liar.url, code }]);
  });

  it('drops a peer that sends other pages', async () => {
    const { url } = await host();
    const liar = await proxy(url);
    liar.proxy.tamper = (passing, response) => {
      if (!passing.path.includes('/pages/')) return false;
      const body = Buffer.from(passing.body);
      body[20] = (body[20] ?? 0) ^ 0x80;
      response.writeHead(200).end(body);
      return true;
    };
    const lies: Evidence[] = [];
    const { path } = await fetchInto([source('peer', liar.url), source('origin', url)], { lies });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(lies).toMatchObject([{ source: liar.url, code: 'PAGE_MISMATCH' }]);
  });

  it('lets nothing cross the backhaul to its end that a neighbour has come to have', async () => {
    const { url } = await host();
    const [near, far] = [await proxy(url), await proxy(url)];
    // Nobody is there when it begins; the line to the origin is slow.
    const sources = [source('origin', far.url)];
    let [began, cut] = [0, 0];
    const stops: (() => void)[] = [];
    closing.push(() => { for (const stop of stops) stop(); return Promise.resolve(); });
    far.proxy.tamper = ({ path, status, headers, body }, response) => {
      if (!path.includes('/spans/')) return false;
      began++;
      response.writeHead(status, headers);
      let at = 0;
      const drip = (): void => {
        response.write(body.subarray(at, (at += 64 * 1024)));
        if (at < body.byteLength) stops.push(usual.after(800, drip));
      };
      drip();
      response.on('close', () => { if (at < body.byteLength) cut++; });
      if (sources.length === 1) sources.push(source('peer', near.url));
      return true;
    };
    const { path, ledger } = await fetchInto(sources);
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(began).toBeGreaterThan(0);
    await expect.poll(() => cut).toBe(began);
    // Some spans of up to 4 MiB were asked for; the first pieces of these came.
    expect(ledger.origin).toBeLessThan(4 * MiB);
  });

  it('is not held up by a peer that takes a span and never answers', async () => {
    const { url } = await host();
    const stuck = await proxy(url);
    stuck.proxy.tamper = (passing) => passing.path.includes('/spans/');
    const { path, ledger } = await fetchInto([source('peer', stuck.url, hurried), source('origin', url, hurried)], { clock: hurried });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.origin).toBeGreaterThan(10 * MiB);
  });

  it('does not go on asking a peer that says it has what it has not', async () => {
    const { url } = await host();
    const [boaster, other] = [await proxy(url), await proxy(url)];
    let denied = 0;
    boaster.proxy.tamper = ({ path }, response) => {
      if (!path.includes('/spans/')) return false;
      denied++;
      response.writeHead(404).end();
      return true;
    };
    const { path, ledger } = await fetchInto([source('peer', boaster.url), source('peer', other.url)]);
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.peer).toBeGreaterThan(10 * MiB);
    // Some spans under way at a time, and none twice.
    expect(denied).toBeLessThanOrEqual(12);
  });

  it('takes elsewhere what a peer sends a little of now and then', async () => {
    const { url } = await host();
    const [slow, fast, far] = [await proxy(url), await proxy(url), await proxy(url)];
    const stops: (() => void)[] = [];
    closing.push(() => { for (const stop of stops) stop(); return Promise.resolve(); });
    let [asked, finished, cut] = [0, 0, 0];
    slow.proxy.tamper = ({ path, status, headers, body }, response) => {
      if (!path.includes('/spans/')) return false;
      asked++;
      response.writeHead(status, headers);
      let at = 0;
      // Never silent for as long as what is stuck is given, and a minute for a MiB.
      const drip = (): void => {
        stops.push(usual.after(800, () => {
          response.write(body.subarray(at, (at += 64 * 1024)));
          if (at >= body.byteLength) finished++;
          else drip();
        }));
      };
      drip();
      response.on('close', () => { if (at < body.byteLength) cut++; });
      return true;
    };
    const { path, ledger } = await fetchInto([source('peer', slow.url), source('peer', fast.url), source('origin', far.url)]);
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(asked).toBeGreaterThan(0);
    await expect.poll(() => cut).toBe(asked);
    expect([finished, ledger.origin]).toEqual([0, 0]);
  });

  it('lets a gateway on a slow link finish: the origin is not asked for what the site is fetching already', async () => {
    const { url } = await host();
    const [near, far] = [await proxy(url), await proxy(url)];
    let slow = 0;
    near.proxy.tamper = async ({ path }, response) => {
      if (!path.includes('/spans/') || slow++ > 0) return false;
      // Later than a silent gateway may be.
      for (let times = 0; times < 7; times++) {
        await new Promise((resolve) => hurried.after(3_000, () => { resolve(undefined); }));
        response.writeProcessing();
      }
      return false;
    };
    const { path, ledger } = await fetchInto([source('gateway', near.url, hurried), source('origin', far.url, hurried)], { clock: hurried });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(slow).toBeGreaterThan(0);
    expect(ledger.origin).toBe(0);
  });

  it('gives a gateway whose processor is busy the time it takes: a site would leave it all at once', async () => {
    const { url } = await host();
    const [near, far] = [await proxy(url), await proxy(url)];
    const clock = livedClock(2);
    near.proxy.tamper = async ({ path }) => {
      // Later than a neighbour may be.
      if (path.includes('/spans/')) await new Promise((resolve) => clock.after(6_000, () => { resolve(undefined); }));
      return false;
    };
    const { path, ledger } = await fetchInto([source('gateway', near.url, clock), source('origin', far.url, clock)], { clock });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.origin).toBe(0);
  });

  it('is not held up by a gateway that says nothing', async () => {
    const { url } = await host();
    const stuck = await proxy(url);
    stuck.proxy.tamper = (passing) => passing.path.includes('/spans/');
    const { path, ledger } = await fetchInto([source('gateway', stuck.url, hurried), source('origin', url, hurried)], { clock: hurried });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.origin).toBeGreaterThan(10 * MiB);
  });

  it('goes on when its only source was away for a while', async () => {
    const port = await freePort();
    const first = await host(port);
    let back: Promise<Origin> | undefined;
    const { path } = await fetchInto([source('origin', first.url, hurried)], {
      clock: hurried,
      onProgress: () => {
        back ??= first.close().then(() => host(port));
      },
    });
    await back;
    expect(await sha256(path)).toBe(artifact.sha256);
  });

  it('fetches after an interruption only what is missing, whatever lies in the file', async () => {
    const { url } = await host();
    const path = join(folder, 'interrupted');
    const stop = new AbortController();
    let reached = 0;
    const cut = fetchInto([source('origin', url)], { path, signal: stop.signal, onProgress: (done) => { reached = done; if (done > 5 * MiB) stop.abort(); } });
    await expect(cut).rejects.toThrow();
    await expect(access(path)).rejects.toThrow();
    const { ledger } = await fetchInto([source('origin', url)], { path });
    expect(await sha256(path)).toBe(artifact.sha256);
    expect(ledger.local).toBeGreaterThanOrEqual(Math.min(reached, 5 * MiB));
    expect(ledger.local + ledger.written).toBe(artifact.size);

    const damaged = join(folder, 'damaged');
    const wrong = Buffer.concat([content, randomBytes(5000)]);
    wrong.fill(7, 3 * MiB, 3 * MiB + 10);
    await writeFile(join(folder, '.damaged.shoal-partial'), wrong);
    const again = await fetchInto([source('origin', url)], { path: damaged });
    expect(await sha256(damaged)).toBe(artifact.sha256);
    // The one chunk that was hit; 256 KiB is the largest.
    expect(again.ledger.written).toBeLessThanOrEqual(256 * 1024);
  });

  it('refuses a second run on one output while the first has it', async () => {
    const path = join(folder, 'shared');
    const first = await FileSlot.open(nodeFiles, path);
    await expect(FileSlot.open(nodeFiles, path)).rejects.toMatchObject({ code: 'SLOT_BUSY', ids: { path } });
    await first.close();
    await (await FileSlot.open(nodeFiles, path)).close();
  });

  it('says who was asked when nobody has it, and leaves the place of the file alone', async () => {
    const { url } = await host();
    const path = join(folder, 'kept');
    await writeFile(path, 'the old one');
    const other = { ...artifact, root: 'ab'.repeat(32) as ArtifactRecord['root'] };
    const slot = await FileSlot.open(nodeFiles, path);
    const attempt = download({ namespace: 'default', artifact: other, sources: [source('origin', url)], slot, clock: usual, random: Math.random });
    await expect(attempt).rejects.toMatchObject({ code: 'NO_SOURCE', message: expect.stringContaining(new URL(url).host) as string });
    await slot.close();
    expect(await readFile(path, 'utf8')).toBe('the old one');
  });
});
