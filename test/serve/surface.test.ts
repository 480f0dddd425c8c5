import { MemoryStore } from '../../src/store/memory.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import { makeSample, publishSample } from '../support/artifact.ts';
import { surfaceContract } from './contract.ts';

// Three spans and a bit: first, middle and last span differ in what can go wrong.
surfaceContract('a store in memory', () => makeSample(3_500_000), async (sample) => {
  const store = new MemoryStore();
  await publishSample(store, sample);
  const surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()) });
  return { url: await surface.listen('127.0.0.1', 0), close: () => surface.close() };
});
