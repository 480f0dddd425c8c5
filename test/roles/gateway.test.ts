import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import { zstdCompress, zstdDecompress } from '../../src/kernel/zstd.ts';
import { startGateway } from '../../src/roles/gateway.ts';
import type { Gateway, GatewayOptions } from '../../src/roles/gateway.ts';
import type { MetadataProvider } from '../../src/serve/content.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { PackCache } from '../../src/store/pack/cache.ts';
import { surfaceContract } from '../serve/contract.ts';
import { makeSample, sampleBytes } from '../support/artifact.ts';
import type { Sample } from '../support/artifact.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { FrameStore, MemoryCache } from '../support/memory-cache.ts';
import { ask } from '../support/raw-http.ts';
import { TamperingProxy } from '../support/tampering-proxy.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** TUF files as an origin would have them; dates are all that a gateway reads. */
class Repository implements MetadataProvider {
  readonly files = new Map<string, Uint8Array>();
  sign(name: string, expires: string, extra = ''): void {
    this.files.set(name, Buffer.from(JSON.stringify({ signed: { expires, extra }, signatures: [{ keyid: 'a'.repeat(64), sig: 'b'.repeat(128) }] })));
  }
  metadata(name: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.files.get(name));
  }
  target(path: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.files.get(path));
  }
}

interface Site {
  readonly sample: Sample;
  readonly store: FrameStore;
  readonly repository: Repository;
  readonly proxy: TamperingProxy;
  readonly clock: ManualClock;
  readonly cache: MemoryCache;
  readonly gateway: Gateway;
  readonly directory: string;
  stopOrigin(): Promise<void>;
  restart(options?: Partial<GatewayOptions>): Promise<Gateway>;
}

async function site(sample: Sample): Promise<Site> {
  const store = await new FrameStore().fill(sample, zstdCompress);
  const repository = new Repository();
  const origin = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()), metadata: repository });
  const proxy = new TamperingProxy();
  const upstream = await proxy.start(await origin.listen('127.0.0.1', 0));
  const directory = await mkdtemp(join(tmpdir(), 'shoal-gateway-'));
  const clock = new ManualClock();
  const cache = new MemoryCache();
  const today = (): number => Date.parse('2030-01-01T00:00:00Z') + clock.now();
  const start = (options: Partial<GatewayOptions> = {}): Promise<Gateway> =>
    startGateway({ origin: upstream, directory, cache, listen: { host: '127.0.0.1', port: 0 }, version: '0', clock, today, ...options });
  const gateway = await start();
  closing.push(() => rm(directory, { recursive: true }), () => origin.close(0), () => proxy.close(), () => gateway.close());
  const restart = async (options: Partial<GatewayOptions> = {}): Promise<Gateway> => {
    const again = await start(options);
    let closed: Promise<void> | undefined;
    const close = (): Promise<void> => (closed ??= again.close());
    closing.push(close);
    return { ...again, close };
  };
  return { sample, store, repository, proxy, clock, cache, gateway, directory, stopOrigin: () => proxy.close(), restart };
}

surfaceContract('a gateway with an empty cache', () => makeSample(3_500_000), async (sample) => {
  const { gateway } = await site(sample);
  const close = closing.splice(0);
  return {
    url: gateway.url,
    close: async () => {
      for (const one of close.reverse()) await one();
    },
  };
});

describe('gateway', () => {
  it('asks its origin once for what many devices ask for at the same time', async () => {
    const { sample, gateway, proxy } = await site(await makeSample(2_500_000));
    // Twelve devices, half of which take zstd.
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, device) => ask(gateway.url, wire.span(sample.key, 1), { headers: device % 2 === 0 ? { 'accept-encoding': 'zstd' } : {} })),
    );
    const wanted = sample.spans[1]?.bytes ?? new Uint8Array();
    for (const { status, headers, body } of answers) {
      expect(status).toBe(200);
      const raw = headers['content-encoding'] === 'zstd' ? zstdDecompress(body, wanted.byteLength) : body;
      expect(Buffer.compare(raw, wanted)).toBe(0);
    }
    expect(proxy.seen.filter((path) => path === wire.span(sample.key, 1))).toHaveLength(1);
    expect(new Set(proxy.seen).size).toBe(proxy.seen.length);
    expect(answers[0]?.headers['content-encoding']).toBe('zstd');
  });

  it('keeps the frames its origin sent, and counts what came in', async () => {
    const { sample, gateway, cache, proxy } = await site(await makeSample(2_500_000));
    let sent = 0;
    proxy.tamper = ({ path, body }) => {
      if (path.includes('/spans/')) sent += body.byteLength;
      return false;
    };
    for (const index of sample.spans.keys()) await ask(gateway.url, wire.span(sample.key, index), {});
    expect(cache.blocks.every(({ frame }) => frame !== undefined)).toBe(true);
    expect((await cache.usage()).bytes).toBe(sent);
    const { upstream, served } = gateway.ledger();
    expect(upstream.content).toBeGreaterThan(sent);
    // Heads and pages are all that comes on top.
    expect(upstream.content).toBeLessThan(sent + 20_000);
    expect(served.content).toBeGreaterThan(sample.bytes.byteLength);
  });

  it('keeps them on disk as they came, and serves them after a restart without its origin', async () => {
    const { sample, stopOrigin, restart, directory, proxy } = await site(await makeSample(2_500_000));
    const open = () => PackCache.open(join(directory, 'cache'), { maxBytes: 64 * 1024 * 1024 });
    const paths = [...sample.spans.keys()].map((index) => wire.span(sample.key, index));
    const frames = new Map<string, Buffer>();
    proxy.tamper = ({ path, body }) => {
      frames.set(path, body);
      return false;
    };
    const first = await restart({ cache: await open() });
    for (const path of paths) expect((await ask(first.url, path)).status).toBe(200);
    await first.close();
    await stopOrigin();
    const again = await restart({ cache: await open() });
    for (const [index, path] of paths.entries()) {
      const zstd = await ask(again.url, path, { headers: { 'accept-encoding': 'zstd' } });
      expect([zstd.headers['content-encoding'], zstd.body.equals(frames.get(path) ?? Buffer.alloc(0))]).toEqual(['zstd', true]);
      expect((await ask(again.url, path)).body.equals(sample.spans[index]?.bytes ?? Buffer.alloc(0))).toBe(true);
    }
    expect((await ask(again.url, wire.artifact(sample.key), { headers: { range: 'bytes=900000-1900000' } })).body.equals(sample.bytes.subarray(900_000, 1_900_001))).toBe(true);
  });

  it('fetches delta objects once for all who ask, takes no wrong ones, and keeps them with their owner', async () => {
    const { sample, store, gateway, proxy, directory, restart, stopOrigin } = await site(await makeSample(1_200_000));
    const payload = sampleBytes(300_000, 5);
    const id = chunkIdOf(payload);
    const path = wire.delta(sample.key, id);
    await store.putObject('delta', id, payload, sample.key.root);
    const lies: Record<string, Uint8Array> = { flipped: payload.map((byte, at) => (at === 299_999 ? byte ^ 1 : byte)), short: payload.subarray(1), empty: new Uint8Array(), endless: Buffer.alloc(9_000_000) };
    for (const [name, body] of Object.entries(lies)) {
      proxy.tamper = (passing, response) => passing.path === path && response.writeHead(200, { 'content-length': body.byteLength }).end(body) !== undefined;
      expect([name, (await ask(gateway.url, path)).status]).toEqual([name, 502]);
    }
    proxy.tamper = () => false;
    proxy.seen.length = 0;
    const before = gateway.ledger().upstream.content;
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(gateway.url, path)));
    for (const { status, body } of answers) expect([status, body.equals(payload)]).toEqual([200, true]);
    expect((await ask(gateway.url, path)).status).toBe(200);
    expect(proxy.seen).toEqual([path]);
    const came = gateway.ledger().upstream.content - before;
    // Beside the payload one head, of less than a kilobyte.
    expect([came >= 300_000, came < 301_000]).toEqual([true, true]);
    const other = 'ab'.repeat(32) as typeof id;
    for (const absent of [wire.delta({ ...sample.key, root: other }, id), wire.delta({ ...sample.key, namespace: 'elsewhere' }, id), wire.delta(sample.key, other)]) {
      expect((await ask(gateway.url, absent)).status).toBe(404);
      const asked = proxy.seen.length;
      expect([(await ask(gateway.url, absent)).status, proxy.seen.length]).toEqual([404, asked]);
    }
    const open = () => PackCache.open(join(directory, 'cache'), { maxBytes: 64 * 1024 * 1024 });
    const first = await restart({ cache: await open() });
    expect((await ask(first.url, path)).status).toBe(200);
    await first.close();
    await stopOrigin();
    const again = await restart({ cache: await open() });
    expect((await ask(again.url, path)).body.equals(payload)).toBe(true);
  });

  it('fetches only the chunks that nobody has asked for yet', async () => {
    const { sample, gateway, proxy } = await site(await makeSample(1_200_000));
    const chunks = sample.spans[0]?.chunks.length ?? 0;
    await ask(gateway.url, wire.span(sample.key, 0, [1, 2]));
    await ask(gateway.url, wire.span(sample.key, 0, [2, 3, 4]));
    await ask(gateway.url, wire.span(sample.key, 0));
    const rest = Array.from({ length: chunks }, (_, position) => position).filter((position) => position < 1 || position > 4);
    expect(proxy.seen.filter((path) => path.includes('/spans/'))).toEqual([
      wire.span(sample.key, 0, [1, 2]),
      wire.span(sample.key, 0, [3, 4]),
      wire.span(sample.key, 0, rest),
    ]);
  });

  it('goes on with what it has when the origin is gone, also after a restart', async () => {
    const { sample, repository, gateway, stopOrigin, restart } = await site(await makeSample(2_500_000));
    repository.sign('timestamp.json', '2030-01-02T00:00:00Z');
    repository.sign('1.root.json', '2031-01-01T00:00:00Z');
    for (const path of [wire.span(sample.key, 0), `${wire.metadata}/timestamp.json`, `${wire.metadata}/1.root.json`]) expect((await ask(gateway.url, path)).status).toBe(200);
    await stopOrigin();
    const again = await restart();
    for (const path of [wire.span(sample.key, 0), `${wire.metadata}/timestamp.json`, `${wire.metadata}/1.root.json`]) {
      const [before, after] = [await ask(gateway.url, path), await ask(again.url, path)];
      expect([path, before.status, after.status]).toEqual([path, 200, 200]);
      expect(after.body.equals(before.body)).toBe(true);
    }
    const missing = await ask(again.url, wire.span(sample.key, 1));
    expect([missing.status, JSON.parse(missing.body.toString())]).toEqual([502, expect.objectContaining({ error: 'UPSTREAM' })]);
  });

  it('serves no expired metadata for new', async () => {
    const { repository, gateway, clock, stopOrigin } = await site(await makeSample(1000));
    repository.sign('timestamp.json', '2030-01-02T00:00:00Z');
    const path = `${wire.metadata}/timestamp.json`;
    expect((await ask(gateway.url, path)).status).toBe(200);
    await stopOrigin();
    clock.advance(23 * 3_600_000);
    expect((await ask(gateway.url, path)).status).toBe(200);
    clock.advance(2 * 3_600_000);
    expect((await ask(gateway.url, path)).status).toBe(502);
  });

  it('lets no wrong byte in: flipped bits, other chunks, short and long bodies, bombs, strange codings', async () => {
    const { sample, gateway, proxy, cache } = await site(await makeSample(2_500_000));
    const path = wire.span(sample.key, 0);
    const raw = sample.spans[0]?.bytes ?? new Uint8Array();
    const flipped = Buffer.from(raw);
    flipped[70_000] = (flipped[70_000] ?? 0) ^ 1;
    const lies: Record<string, readonly [Record<string, string>, Uint8Array]> = {
      flipped: [{}, flipped],
      'flipped in zstd': [{ 'content-encoding': 'zstd' }, zstdCompress(flipped)],
      'other chunks': [{}, sample.spans[1]?.bytes.subarray(0, raw.byteLength) ?? new Uint8Array()],
      short: [{}, raw.subarray(0, raw.byteLength - 1)],
      long: [{}, Buffer.concat([raw, Buffer.alloc(1)])],
      endless: [{}, Buffer.alloc(20_000_000)],
      bomb: [{ 'content-encoding': 'zstd' }, zstdCompress(Buffer.alloc(100_000_000))],
      'two frames too many': [{ 'content-encoding': 'zstd' }, Buffer.concat([zstdCompress(raw), zstdCompress(raw)])],
      gzip: [{ 'content-encoding': 'gzip' }, raw],
      empty: [{}, new Uint8Array()],
    };
    for (const [name, [headers, body]] of Object.entries(lies)) {
      proxy.tamper = (passing, response) => {
        if (passing.path !== path) return false;
        response.writeHead(200, { ...headers, 'content-length': body.byteLength }).end(body);
        return true;
      };
      const answer = await ask(gateway.url, path);
      expect([name, answer.status >= 500, cache.blocks.length]).toEqual([name, true, 0]);
    }
    proxy.tamper = (passing, response) => {
      if (passing.path !== path) return false;
      // Cut in the middle.
      response.writeHead(200, { 'content-length': raw.byteLength });
      response.write(raw.subarray(0, 500_000), () => response.destroy());
      return true;
    };
    expect((await ask(gateway.url, path)).status).toBe(502);
    proxy.tamper = () => false;
    expect((await ask(gateway.url, path)).body.equals(raw)).toBe(true);
  });

  it('takes no page and no target that is not what it is called', async () => {
    const { sample, gateway, proxy, repository } = await site(await makeSample(1_200_000));
    const bytes = Buffer.from('{"a release":1}');
    const hash = createHash('sha256').update(bytes).digest('hex');
    repository.files.set(`product/${hash}.1.json`, bytes);
    const target = `${wire.targets}/product/${hash}.1.json`;
    proxy.tamper = ({ body, headers, status }, response) => {
      const wrong = Buffer.from(body);
      wrong[5] = (wrong[5] ?? 0) ^ 1;
      response.writeHead(status, headers).end(wrong);
      return true;
    };
    for (const path of [target, wire.page(sample.key, sample.key.root)]) expect((await ask(gateway.url, path)).status).toBeGreaterThanOrEqual(500);
    proxy.tamper = () => false;
    for (const path of [target, wire.page(sample.key, sample.key.root)]) expect((await ask(gateway.url, path)).status).toBe(200);
  });

  it('opens nothing under another namespace or root, though it has the bytes', async () => {
    const { sample, gateway, proxy } = await site(await makeSample(1_200_000));
    const leaf = sample.pages.find(({ page }) => page.level === 0)?.id ?? sample.key.root;
    expect((await ask(gateway.url, wire.page(sample.key, leaf))).status).toBe(200);
    const elsewhere = { ...sample.key, namespace: 'elsewhere' };
    for (const path of [wire.page(elsewhere, leaf), wire.span(elsewhere, 0), wire.page({ ...sample.key, root: leaf }, leaf)]) expect([path, (await ask(gateway.url, path)).status]).toEqual([path, 404]);
    // Asked again it remembers, and does not trouble its origin.
    const before = proxy.seen.length;
    expect((await ask(gateway.url, wire.span(elsewhere, 0))).status).toBe(404);
    expect(proxy.seen.length).toBe(before);
  });

  it('costs the backhaul less than 100 KB in an idle hour of eight devices that poll every minute', async () => {
    const { repository, gateway, proxy, clock } = await site(await makeSample(1000));
    repository.sign('1.root.json', '2031-01-01T00:00:00Z');
    repository.sign('7.snapshot.json', '2031-01-01T00:00:00Z', 'x'.repeat(2000));
    repository.sign('timestamp.json', '2030-01-02T00:00:00Z', 'start');
    const poll = async (): Promise<void> => {
      // What a TUF client asks for when there is no news (TUF 5.3.3, 5.4).
      expect((await ask(gateway.url, `${wire.metadata}/2.root.json`)).status).toBe(404);
      expect((await ask(gateway.url, `${wire.metadata}/timestamp.json`)).status).toBe(200);
      expect((await ask(gateway.url, `${wire.metadata}/7.snapshot.json`)).status).toBe(200);
      expect((await ask(gateway.url, wire.peers('here'))).status).toBe(200);
    };
    await poll();
    const start = proxy.bytes;
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(60_000);
      // The origin signs its timestamp anew every quarter of an hour: worse than any sensible setting.
      if (minute % 15 === 0) repository.sign('timestamp.json', '2030-01-02T00:00:00Z', String(minute));
      for (let device = 0; device < 8; device++) await poll();
    }
    const requests = proxy.seen.length;
    const bytes = proxy.bytes - start;
    expect(requests).toBeLessThan(40);
    // It asked every five minutes, and passed on what it heard.
    expect(requests).toBeGreaterThanOrEqual(12);
    expect((await ask(gateway.url, `${wire.metadata}/timestamp.json`)).body.toString()).toContain('45');
    // A connection of its own for each, in the worst case: 500 bytes of TCP and IP for opening, acknowledging and closing.
    expect(bytes + requests * 500).toBeLessThan(100_000);
    expect(gateway.ledger().upstream.control).toBeLessThan(bytes + 5_000);
  });
});
