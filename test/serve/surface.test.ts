import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { PROCESSING_MS } from '../../src/core/limits.ts';
import { HEADER_PATIENT, wire } from '../../src/core/wire.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { makeSample, publishSample } from '../support/artifact.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { surfaceContract } from './contract.ts';

// Three spans and a bit: first, middle and last span differ in what can go wrong.
surfaceContract('a store in memory', () => makeSample(3_500_000), async (sample) => {
  const store = new MemoryStore();
  await publishSample(store, sample);
  const surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()) });
  return { url: await surface.listen('127.0.0.1', 0), close: () => surface.close() };
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
