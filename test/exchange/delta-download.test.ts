import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { goldenPair } from '../../fixtures/container/image.ts';
import { encodeDeltaManifest } from '../../src/delta/manifest.ts';
import { DeltaCache } from '../../src/exchange/delta-cache.ts';
import type { DeltaSupply } from '../../src/exchange/delta-choice.ts';
import { download } from '../../src/exchange/download.ts';
import type { DownloadOptions } from '../../src/exchange/download.ts';
import type { Ledger } from '../../src/exchange/ledger.ts';
import { HttpSource } from '../../src/exchange/source.ts';
import type { Source, SourceKind } from '../../src/exchange/source.ts';
import type { Evidence } from '../../src/exchange/standing.ts';
import { native } from '../../src/kernel/native.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { publishPair, rebuilt, supplyOf } from '../support/delta-pair.ts';
import type { PublishedPair } from '../support/delta-pair.ts';
import { DirectoryMetadata } from '../support/directory-metadata.ts';
import { livedClock } from '../support/lived-clock.ts';
import { bytesFrom, randomBytes } from '../support/random.ts';
import { TamperingProxy } from '../support/tampering-proxy.ts';

const MiB = 1024 * 1024;
/** Eight spans and more, of 1 to 4 MiB, in nearly as many segments. */
const SIZE = 24 * MiB;

let folder: string;
let store: PackStore;
let pair: PublishedPair;
let origin: Origin;
const closing: (() => Promise<unknown>)[] = [];
let serial = 0;
const clock = livedClock();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-delta-download-'));
  store = await PackStore.open(join(folder, 'store'), { level: 1 });
  const base = bytesFrom(1, SIZE);
  pair = await publishPair(store, folder, base, rebuilt(base));
  origin = await startOrigin({ store, metadata: new DirectoryMetadata(nodeFiles, folder), listen: { host: '127.0.0.1', port: 0 }, version: '0', gcMs: 0 });
});
afterAll(async () => {
  await origin.close();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function source(kind: SourceKind, url: string): Source {
  const made = new HttpSource(kind, url, clock);
  closing.push(() => made.close());
  return made;
}

async function proxy(target = origin.url): Promise<{ readonly proxy: TamperingProxy; readonly url: string }> {
  const tampering = new TamperingProxy();
  const url = await tampering.start(target);
  closing.push(() => tampering.close());
  return { proxy: tampering, url };
}

interface Fetched {
  readonly ledger: Ledger;
  readonly path: string;
}

async function fetchInto(sources: readonly Source[], deltas: DeltaSupply, more: Partial<DownloadOptions> = {}, path = join(folder, `out-${String(serial++)}`), what = pair): Promise<Fetched> {
  const slot = await FileSlot.open(nodeFiles, path);
  const pages = await PageFile.open(nodeFiles, `${path}.pages`, what.artifact.root);
  try {
    const ledger = await download({ namespace: 'default', artifact: what.artifact, sources, slot, clock, random: Math.random, bases: [what.basePath], deltas, pages, ...more });
    await slot.activate(what.artifact.size);
    return { path, ledger };
  } catch (error) {
    await slot.close();
    throw error;
  } finally {
    await pages.close();
  }
}

const sha256 = async (path: string): Promise<string> => createHash('sha256').update(await readFile(path)).digest('hex');
const segments = (): number => pair.delta.manifest.segments.length;

describe('a download with a delta', () => {
  it('rebuilds a compressed image from what its blocks hold', async () => {
    const images = goldenPair();
    const compressed = await publishPair(store, folder, images.base, images.target, 'compressed');
    expect(compressed.delta.manifest.views?.target.at.length).toBeGreaterThan(5);
    const { path, ledger } = await fetchInto([source('origin', origin.url)], supplyOf([compressed]), {}, undefined, compressed);
    expect(await sha256(path)).toBe(createHash('sha256').update(images.target).digest('hex'));
    expect(ledger.delta).toBeGreaterThan(0);
    expect(ledger.delta).toBeLessThan(images.target.length / 10);
    expect(ledger.origin).toBeLessThan(images.target.length / 10);
  });

  it('fetches the delta and the top of the index, and nothing else', async () => {
    const { proxy: passing, url } = await proxy();
    const supply = supplyOf([pair]);
    const { ledger, path } = await fetchInto([source('origin', url)], supply);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(segments()).toBeGreaterThan(4);
    expect(passing.seen.filter((each) => each.includes('/spans/'))).toEqual([]);
    // One page over all spans; leaf pages are computed from what was rebuilt.
    expect(passing.seen.filter((each) => each.includes('/pages/'))).toHaveLength(1);
    expect(ledger).toMatchObject({ peer: 0, gateway: 0, local: 0, written: SIZE, bound: { lacking: SIZE, least: pair.delta.bytes } });
    // The head of each answer comes on top: some 500 bytes.
    expect(ledger.delta).toBeGreaterThanOrEqual(pair.delta.bytes);
    expect(ledger.delta).toBeLessThan(pair.delta.bytes + 600 * (segments() + 2));
    expect(ledger.deltaFrom).toEqual({ peer: 0, gateway: 0, origin: ledger.delta });
    expect(ledger.origin).toBeLessThan(2_000);
    expect(supply.drops).toEqual([]);
  });

  describe.skipIf(native === undefined)('whose segments copy from earlier ones', () => {
    let twice: PublishedPair;
    beforeAll(async () => {
      // What is new lies in five places, megabytes from each other: 300 kB that nothing compresses.
      const base = bytesFrom(5, 12 * MiB);
      const fresh = bytesFrom(6, 300_000);
      twice = await publishPair(store, folder, base, Buffer.concat(Array.from({ length: 5 }, (_, n) => Buffer.concat([base.subarray(n * 2.2 * MiB, (n + 1) * 2.2 * MiB), fresh, bytesFrom(7 + n, 1_000)]))), 'twice');
    });
    const needing = (): readonly number[] => twice.delta.manifest.segments.flatMap(({ prerequisites }, number) => (prerequisites.length > 0 ? [number] : []));

    it('fetches once what is new', async () => {
      const { ledger, path } = await fetchInto([source('origin', origin.url)], supplyOf([twice]), {}, undefined, twice);
      expect(await sha256(path)).toBe(twice.artifact.sha256);
      expect(needing().length).toBeGreaterThan(2);
      expect(ledger.delta).toBeLessThan(2 * 300_000);
      expect(ledger.origin).toBeLessThan(10_000);
    });

    it('makes them when what they copy from has come, though last and as content, and asks for nothing twice', async () => {
      const { segments } = twice.delta.manifest;
      const first = segments[segments[needing()[0] ?? 0]?.prerequisites[0] ?? 0]?.payload?.id ?? '';
      const { proxy: passing, url } = await proxy();
      const others = segments.flatMap(({ payload }) => (payload === undefined || payload.id === first ? [] : [payload.id]));
      let answered = 0;
      let all = (): void => undefined;
      const rest = new Promise<void>((resolve) => (all = resolve));
      passing.tamper = async ({ path, headers }, response) => {
        if (others.some((each) => path.includes(each)) && ++answered === others.length) all();
        if (!path.includes(first)) return false;
        await rest;
        response.writeHead(404, { ...headers, 'content-length': '0' }).end();
        return true;
      };
      const { path } = await fetchInto([source('origin', url)], supplyOf([twice]), {}, undefined, twice);
      expect(await sha256(path)).toBe(twice.artifact.sha256);
      for (const each of others) expect(passing.seen.filter((one) => one.includes(each))).toHaveLength(1);
      // The spans of that one segment, and of no other.
      const spans = segments.find(({ payload }) => payload?.id === first)?.spans ?? 0;
      expect(passing.seen.filter((each) => each.includes('/spans/')).length).toBeLessThanOrEqual(spans);
    });
  });

  it('leaves pages from which a neighbour can be served', async () => {
    const { path } = await fetchInto([source('origin', origin.url)], supplyOf([pair]));
    const pages = await PageFile.open(nodeFiles, `${path}.pages`, pair.artifact.root);
    closing.push(() => pages.close());
    const again = await FileSlot.open(nodeFiles, `${path}-again`);
    closing.push(() => again.close());
    const { ledger } = { ledger: await download({ namespace: 'default', artifact: pair.artifact, sources: [], slot: again, clock, random: Math.random, bases: [path], pages }) };
    expect(ledger).toMatchObject({ local: SIZE, origin: 0 });
  });

  it('takes payloads from a neighbour that has them, and asks the origin for nothing', async () => {
    const cache = new DeltaCache();
    await fetchInto([source('origin', origin.url)], supplyOf([pair]), { deltaCache: cache });
    const key = { namespace: 'default', root: pair.artifact.root };
    expect(cache.holding(key, pair.delta.manifest.base.root)?.complete).toBe(true);
    const { proxy: near, url } = await proxy();
    // Somebody who has all of it: as content, and as the delta.
    near.tamper = (passing, response) => {
      if (!passing.path.startsWith('/v1/holdings/')) return false;
      const held = passing.path.includes('/deltas/') ? cache.holding(key, pair.delta.manifest.base.root) : undefined;
      response.writeHead(200, { ...passing.headers, 'shoal-base': pair.delta.manifest.base.root, 'content-length': held?.encode().byteLength ?? passing.body.byteLength }).end(held?.encode() ?? passing.body);
      return true;
    };
    const { proxy: far, url: farUrl } = await proxy();
    const { ledger, path } = await fetchInto([source('peer', url), source('origin', farUrl)], supplyOf([pair]));
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(far.seen.filter((each) => each.includes('/content/'))).toEqual([]);
    expect(near.seen.filter((each) => each.includes('/spans/'))).toEqual([]);
    expect(ledger.deltaFrom.peer).toBeGreaterThan(pair.delta.bytes - pair.delta.manifestBytes.byteLength);
  });

  it('drops a neighbour with other payloads, names it, and gets them elsewhere', async () => {
    const { proxy: liar, url } = await proxy();
    liar.tamper = (passing, response) => {
      if (!passing.path.includes('/deltas/')) return false;
      const body = Buffer.from(passing.body);
      body[body.byteLength >> 1] = (body[body.byteLength >> 1] ?? 0) ^ 1;
      response.writeHead(200, passing.headers).end(body);
      return true;
    };
    const lies: Evidence[] = [];
    const supply = supplyOf([pair]);
    const { ledger, path } = await fetchInto([source('gateway', url), source('origin', origin.url)], supply, { onLie: (evidence) => lies.push(evidence) });
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(lies).toMatchObject([{ source: url, code: 'DELTA_DAMAGED' }]);
    expect(supply.drops).toEqual([]);
    expect(ledger.deltaFrom.origin).toBeGreaterThan(pair.delta.bytes);
  });

  it('rebuilds from a base that has drifted what can be, and fetches only the rest as content', async () => {
    const drifted = Buffer.from(pair.base);
    drifted.fill(0, 5 * MiB, 5 * MiB + 10);
    const basePath = join(folder, 'drifted');
    await writeFile(basePath, drifted);
    const { proxy: passing, url } = await proxy();
    const supply = supplyOf([pair]);
    const { ledger, path } = await fetchInto([source('origin', url)], supply, { bases: [basePath] });
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    // The spans of one segment, 8 MiB at most, as content; payloads of all the others.
    const spans = passing.seen.filter((each) => each.includes('/spans/')).length;
    expect(spans).toBeGreaterThan(0);
    expect(ledger.origin).toBeLessThan(8.1 * MiB);
    // It was found out before the payload was fetched.
    expect(passing.seen.filter((each) => each.includes('/deltas/'))).toHaveLength(pair.delta.objects.size - 1);
    expect(supply.drops).toEqual([]);
  });

  it('gives up a base that is something else altogether, before it has cost much', async () => {
    const basePath = join(folder, 'other');
    await writeFile(basePath, randomBytes(SIZE));
    const supply = supplyOf([pair]);
    const { ledger, path } = await fetchInto([source('origin', origin.url)], supply, { bases: [basePath] });
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(supply.drops).toEqual([{ base: pair.delta.manifest.base.root, reason: 'BASE_DRIFTED' }]);
    const pages = pair.delta.manifest.pages.reduce((sum, { size }) => sum + size + 600, 0);
    expect(ledger.delta).toBeLessThanOrEqual(pair.delta.manifestBytes.byteLength + pages);
    // And not another time.
    supply.fetched = 0;
    await fetchInto([source('origin', origin.url)], supply, { bases: [basePath] });
    expect(supply.fetched).toBe(0);
  });

  it('drops a delta that makes something else at once, and never lets it near the slot', async () => {
    const { manifest } = pair.delta;
    const wrong = { ...manifest, segments: manifest.segments.map((segment) => ({ ...segment, target: manifest.base.root })) };
    const supply = supplyOf([pair], { manifest: () => Promise.resolve({ bytes: encodeDeltaManifest(wrong), from: 'origin' }) });
    const { ledger, path } = await fetchInto([source('origin', origin.url)], supply);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(supply.drops).toEqual([{ base: manifest.base.root, reason: 'DELTA_WRONG' }]);
    expect(ledger.written).toBe(SIZE);
  });

  it('believes the signed index, not the delta: a whole delta to another artifact of the same shape is dropped', async () => {
    const { manifest } = pair.delta;
    // Rebuilds the base itself, and says so truthfully, where the signed root says something else.
    const other = { ...manifest, segments: manifest.segments.map((segment) => ({ ...segment, codec: 0 as const, payload: undefined })) };
    const store = await PackStore.open(join(folder, `other-${String(serial++)}`), { level: 1 });
    closing.push(() => store.close());
    const supply = supplyOf([pair], { manifest: () => Promise.resolve({ bytes: encodeDeltaManifest({ ...other, segments: other.segments.map((segment, at) => ({ ...segment, target: predictions[at] ?? manifest.base.root })) }), from: 'origin' }) });
    const predictions = await predictedBy(pair);
    const { path } = await fetchInto([source('origin', origin.url)], supply);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(supply.drops).toEqual([{ base: manifest.base.root, reason: 'DELTA_WRONG' }]);
  });

  it.each([
    ['is none', () => Buffer.from('nonsense')],
    ['is for another target', () => encodeDeltaManifest({ ...pair.delta.manifest, target: { ...pair.delta.manifest.target, root: pair.delta.manifest.base.root } })],
    ['has segments that end inside spans', () => encodeDeltaManifest({ ...pair.delta.manifest, segments: pair.delta.manifest.segments.map((segment, at) => (at > 1 ? segment : { ...segment, length: segment.length + (at === 0 ? 1 : -1) })) })],
  ])('does without a delta whose manifest %s', async (_what, bytes) => {
    const supply = supplyOf([pair], { manifest: () => Promise.resolve({ bytes: bytes(), from: 'origin' }) });
    const { path } = await fetchInto([source('origin', origin.url)], supply);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(supply.drops).toMatchObject([{ reason: expect.stringMatching(/BAD_DELTA|TRUNCATED|TRAILING_BYTES/) as string }]);
  });

  it.each([
    ['no list of deltas', { offers: () => Promise.reject(new Error('none')) }],
    ['nobody who has the manifest', { manifest: () => Promise.reject(new Error('nobody')) }],
  ])('goes on with content when there is %s', async (_what, more: Partial<DeltaSupply>) => {
    const supply = supplyOf([pair], more);
    const { path } = await fetchInto([source('origin', origin.url)], supply);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(supply.drops).toEqual([]);
  });

  it('goes on with content where the origin has lost what it lists', async () => {
    const { proxy: passing, url } = await proxy();
    const lost = pair.delta.manifest.segments.find(({ payload }) => payload !== undefined)?.payload?.id ?? '';
    passing.tamper = ({ path }, response) => {
      if (!path.endsWith(lost)) return false;
      response.writeHead(404).end();
      return true;
    };
    const { ledger, path } = await fetchInto([source('origin', url)], supplyOf([pair]));
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(ledger.origin).toBeLessThan(8.1 * MiB);
    expect(ledger.delta).toBeGreaterThan(pair.delta.bytes / 2);
  });

  it('goes on after an interruption with the segments that are missing', async () => {
    const path = join(folder, 'interrupted');
    const stop = new AbortController();
    const { proxy: passing, url } = await proxy();
    const asked = (): readonly string[] => passing.seen.filter((each) => each.includes('/deltas/'));
    const cut = fetchInto([source('origin', url)], supplyOf([pair]), { signal: stop.signal, onProgress: (done) => { if (done > SIZE / 2) stop.abort(); } }, path);
    await expect(cut).rejects.toThrow();
    const before = asked().length;
    const { ledger } = await fetchInto([source('origin', url)], supplyOf([pair]), {}, path);
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(ledger.local).toBeGreaterThanOrEqual(SIZE / 2);
    expect(ledger.local + ledger.written).toBe(SIZE);
    // The map page again, and what was on its way: three requests at a time.
    expect(asked().length - before).toBeLessThan(segments() / 2 + 3);
  });

  it('rebuilds a span that an earlier run has written in part, though what it consists of is known', async () => {
    const { ledger: whole, path } = await fetchInto([source('origin', origin.url)], supplyOf([pair]));
    const torn = await readFile(path);
    // From the middle of a span on nothing is right for three MiB.
    torn.fill(0, 5 * MiB, 8 * MiB);
    const again = join(folder, 'torn');
    await writeFile(join(folder, '.torn.shoal-partial'), torn);
    await writeFile(`${again}.pages`, await readFile(`${path}.pages`));
    const { ledger } = await fetchInto([source('origin', origin.url)], supplyOf([pair]), {}, again);
    expect(await sha256(again)).toBe(pair.artifact.sha256);
    expect(ledger.origin).toBeLessThan(2_000);
    expect(ledger.local + ledger.written).toBe(SIZE);
    expect(ledger.delta).toBeLessThan(whole.delta);
  });

  it('takes of two bases the one with the smaller delta', async () => {
    // Three times as many changes as the other one has.
    const worse = await publishPair(store, folder, rebuilt(pair.base, 3_000, 3), pair.target, 'far');
    expect(worse.delta.bytes).toBeGreaterThan(pair.delta.bytes);
    const { ledger, path } = await fetchInto([source('origin', origin.url)], supplyOf([worse, pair]), { bases: [worse.basePath, pair.basePath] });
    expect(await sha256(path)).toBe(pair.artifact.sha256);
    expect(ledger.delta).toBeLessThan(pair.delta.bytes + 600 * (pair.delta.objects.size + 1));
  });
});

/** What the covers of each segment say, hashed: what a delta without payloads would make. */
async function predictedBy({ base, delta }: PublishedPair): Promise<readonly never[]> {
  const { predict, memoryBase } = await import('../../src/delta/predict.ts');
  const { decodePage } = await import('../../src/delta/kernel.ts');
  const { chunkIdOf } = await import('../../src/merkle/verify.ts');
  const ids: string[] = [];
  let [at, first] = [0, 0];
  for (const page of delta.manifest.pages) {
    const own = delta.manifest.segments.slice(first, (first += page.segments));
    const end = at + own.reduce((sum, { length }) => sum + length, 0);
    const covers = await decodePage(delta.objects.get(page.id) ?? new Uint8Array(), at, end, base.byteLength, page.covers);
    for (const { length } of own) {
      const into = new Uint8Array(length);
      await predict(covers, at, into, memoryBase(base));
      ids.push(chunkIdOf(into));
      at += length;
    }
  }
  return ids as never[];
}
