import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { RateLimiter } from '../../src/core/rate-limiter.ts';
import { PROCESSING_MS } from '../../src/core/limits.ts';
import { Bitmap } from '../../src/core/bitmap.ts';
import { CACHE_IMMUTABLE, HEADER_PATIENT, HEADER_SEGMENTS, HEADER_WORKING, wire } from '../../src/core/wire.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { makeSample, publishSample, sampleBytes } from '../support/artifact.ts';
import { ask } from '../support/raw-http.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { surfaceContract } from './contract.ts';

// Three spans and a bit: first, middle and last span differ in what can go wrong.
surfaceContract('a store in memory', () => makeSample(3_500_000), async (sample) => {
  const store = new MemoryStore();
  await publishSample(store, sample);
  const surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()) });
  return { url: await surface.listen('127.0.0.1', 0), close: () => surface.close() };
});

describe('an upload limit', () => {
  it('holds for all who fetch together, and gives each its part', async () => {
    const sample = await makeSample(1_200_000);
    const store = new MemoryStore();
    await publishSample(store, sample);
    const rate = 1_000_000;
    const surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()), uploadLimiter: new RateLimiter(systemClock, () => rate) });
    const url = await surface.listen('127.0.0.1', 0);
    const since = performance.now();
    const ended = await Promise.all([1, 2].map(async () => {
      const { body } = await ask(url, wire.artifact(sample.key), { headers: { range: 'bytes=0-399999' } });
      return { right: body.equals(sample.bytes.subarray(0, 400_000)), at: performance.now() - since };
    }));
    expect(ended.map(({ right }) => right)).toEqual([true, true]);
    // The last pieces are taken before they are waited for, and a quarter of a second was saved up.
    for (const { at } of ended) expect(at).toBeGreaterThan(((800_000 - 0.75 * rate) / rate) * 1000 - 20);
    await surface.close(0);
  });
});

describe('deltas on the surface', () => {
  it('serves what was put for the artifact, immutable, and nothing of another root', async () => {
    const [sample, other] = [await makeSample(1_200_000), await makeSample(1_200_000, 2)];
    const store = new MemoryStore();
    for (const each of [sample, other]) await publishSample(store, each);
    // More than one piece of 256 KiB.
    const payload = sampleBytes(600_001, 7);
    const id = chunkIdOf(payload);
    const batch = await store.begin();
    await batch.putObject('delta', id, payload, sample.key.root);
    await batch.commit([]);
    const surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()) });
    const url = await surface.listen('127.0.0.1', 0);
    const answer = await ask(url, wire.delta(sample.key, id));
    expect([answer.status, answer.body.equals(payload)]).toEqual([200, true]);
    expect(answer.headers).toMatchObject({ 'cache-control': CACHE_IMMUTABLE, 'content-length': '600001', etag: `"${id}"` });
    expect((await ask(url, wire.delta(sample.key, id), { headers: { 'if-none-match': `"${id}"` } })).status).toBe(304);
    expect((await ask(url, wire.delta(sample.key, id), { method: 'HEAD' })).headers['content-length']).toBe('600001');
    expect((await ask(url, wire.delta(sample.key, id), { method: 'PUT' })).status).toBe(405);
    for (const path of [wire.delta(other.key, id), wire.delta({ ...sample.key, namespace: 'elsewhere' }, id), wire.delta(sample.key, other.key.root), wire.delta(sample.key, sample.key.root), wire.deltaHolding(sample.key, other.key.root)]) {
      expect([path, (await ask(url, path)).status]).toEqual([path, 404]);
    }
    for (const path of [wire.delta(sample.key, id).toUpperCase(), `${wire.delta(sample.key, id)}0`, `${wire.delta(sample.key, id)}?x`]) expect((await ask(url, path)).status).toBeGreaterThanOrEqual(400);
    await surface.close(0);
  });

  it('says which segments of a delta a device holds', async () => {
    const inner = new StoreContent(new MemoryStore(), () => performance.now());
    const [root, base] = ['a'.repeat(64) as never, 'b'.repeat(64) as never];
    const held = new Bitmap(11);
    held.add(3);
    held.add(10);
    const content: ContentProvider = {
      holdings: () => inner.holdings(),
      holding: (key) => inner.holding(key),
      page: (key, id) => inner.page(key, id),
      delta: (key, id) => inner.delta(key, id),
      deltaHolding: (key, from) => Promise.resolve(key.root === root && from === base ? held : undefined),
      span: (...wanted) => inner.span(...wanted),
    };
    const surface = await createSurface({ role: 'agent', version: '0', content });
    const url = await surface.listen('127.0.0.1', 0);
    const { status, headers, body } = await ask(url, wire.deltaHolding({ namespace: 'default', root }, base));
    expect([status, headers['cache-control'], Number(headers[HEADER_SEGMENTS])]).toEqual([200, 'no-store', 11]);
    expect(Bitmap.decode(body, 11).encode()).toEqual(held.encode());
    expect((await ask(url, wire.deltaHolding({ namespace: 'default', root }, root))).status).toBe(404);
    await surface.close(0);
  });
});

describe('a host that is asked what it holds of an artifact that it does not know', () => {
  it('says whether it looks for news, and nothing else', async () => {
    let looking = true;
    const askers: string[] = [];
    const surface = await createSurface({ role: 'agent', version: '0', content: new StoreContent(new MemoryStore(), () => performance.now()), onWanted: (address) => { askers.push(address); return looking; } });
    const url = await surface.listen('127.0.0.1', 0);
    const { key } = await makeSample(300_000);
    const answers = [];
    for (looking of [true, false]) answers.push(await ask(url, wire.holding(key)));
    expect(answers.map(({ status, headers }) => [status, headers[HEADER_WORKING]])).toEqual([[404, '1'], [404, undefined]]);
    expect(askers).toEqual(['127.0.0.1', '127.0.0.1']);
    await surface.close(0);
  });
});

describe('a host that has to fetch first what it is asked for', () => {
  it('tells those who said they have patience that it is at it, and nobody else', async () => {
    const sample = await makeSample(1_200_000, 9);
    const store = new MemoryStore();
    await publishSample(store, sample);
    const inner = new StoreContent(store, () => performance.now());
    let asked = Promise.withResolvers<() => void>();
    const content: ContentProvider = {
      holdings: () => inner.holdings(),
      holding: (key) => inner.holding(key),
      page: (key, id) => inner.page(key, id),
      delta: (key, id) => inner.delta(key, id),
      span: async (...wanted) => {
        await new Promise<void>((resolve) => { asked.resolve(resolve); });
        return inner.span(...wanted);
      },
    };
    const clock = new ManualClock();
    const surface = await createSurface({ role: 'gateway', version: '0', content, clock });
    const url = await surface.listen('127.0.0.1', 0);
    for (const patient of [true, false]) {
      asked = Promise.withResolvers();
      let told = 0;
      const answered = new Promise<number>((resolve, reject) => {
        const asking = request(`${url}${wire.span(sample.key, 0)}`, { headers: patient ? { [HEADER_PATIENT]: '1' } : {} }, (response) => {
          response.resume().once('end', () => { resolve(response.statusCode ?? 0); });
        });
        asking.on('information', ({ statusCode }) => {
          if (statusCode !== 102) return;
          if (++told < 3) clock.advance(PROCESSING_MS);
          else void asked.promise.then((goOn) => { goOn(); });
        });
        asking.once('error', reject).end();
      });
      const goOn = await asked.promise;
      clock.advance(PROCESSING_MS);
      if (!patient) goOn();
      expect(await answered).toBe(200);
      expect(told).toBe(patient ? 3 : 0);
    }
    await surface.close(0);
  });
});
