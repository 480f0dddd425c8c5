import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin, OriginOptions, Signature } from '../../src/roles/origin.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { surfaceContract } from '../serve/contract.ts';
import { makeSample, publishSample } from '../support/artifact.ts';
import { DirectoryMetadata } from '../support/directory-metadata.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { ask } from '../support/raw-http.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function repository(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-origin-'));
  closing.push(() => rm(directory, { recursive: true }));
  for (const name of ['metadata', 'targets/product']) await mkdir(join(directory, name), { recursive: true });
  await writeFile(join(directory, 'metadata/timestamp.json'), '{"first":1}');
  await writeFile(join(directory, 'metadata/1.root.json'), '{"root":1}');
  await writeFile(join(directory, 'targets/product/abc.1.json'), '{"target":1}');
  await writeFile(join(directory, 'secret.json'), '{}');
  return directory;
}

async function origin(options: Partial<OriginOptions> & { readonly directory: string }): Promise<Origin> {
  const { directory, ...rest } = options;
  const started = await startOrigin({ store: new MemoryStore(), metadata: new DirectoryMetadata(nodeFiles, directory), listen: { host: '127.0.0.1', port: 0 }, version: '0', ...rest });
  closing.push(() => started.close());
  return started;
}

surfaceContract('an origin', () => makeSample(3_500_000), async (sample) => {
  const store = new MemoryStore();
  await publishSample(store, sample);
  const { url, close } = await startOrigin({ store, metadata: new DirectoryMetadata(nodeFiles, '/nowhere'), listen: { host: '127.0.0.1', port: 0 }, version: '0' });
  return { url, close };
});

describe('origin', () => {
  it('serves its TUF repository: what changes with no-cache and an ETag, the rest immutable', async () => {
    const directory = await repository();
    const { url } = await origin({ directory });
    const timestamp = await ask(url, `${wire.metadata}/timestamp.json`);
    expect([timestamp.status, timestamp.headers['cache-control'], timestamp.body.toString()]).toEqual([200, 'no-cache', '{"first":1}']);
    const etag = timestamp.headers.etag ?? '';
    expect((await ask(url, `${wire.metadata}/timestamp.json`, { headers: { 'if-none-match': etag } })).status).toBe(304);
    await writeFile(join(directory, 'metadata/timestamp.json'), '{"second":2}');
    expect((await ask(url, `${wire.metadata}/timestamp.json`, { headers: { 'if-none-match': etag } })).body.toString()).toBe('{"second":2}');
    for (const path of [`${wire.metadata}/1.root.json`, `${wire.targets}/product/abc.1.json`]) {
      expect((await ask(url, path)).headers['cache-control']).toContain('immutable');
    }
    for (const path of [`${wire.metadata}/2.root.json`, `${wire.metadata}/..secret.json`, `${wire.targets}/../secret.json`, `${wire.targets}/product`, `${wire.metadata}/secret.json`]) {
      const { status } = await ask(url, path);
      expect([path, status >= 400 && status < 500]).toEqual([path, true]);
    }
  });

  it('signs at the start and again when the time comes, and goes on when signing fails', async () => {
    const clock = new ManualClock();
    const errors: string[] = [];
    let signed = 0;
    const resign = async (): Promise<readonly Signature[]> => {
      await Promise.resolve();
      if (++signed === 2) throw new Error('no key');
      return [{ role: 'root', expires: new Date(signed * 1_000_000) }];
    };
    const { url } = await origin({ directory: await repository(), clock, resign, resignMs: 60_000, onError: (error, where) => errors.push(`${where}: ${(error as Error).message}`) });
    expect(signed).toBe(1);
    for (const wanted of [2, 3]) {
      clock.advance(60_000);
      await expect.poll(() => signed).toBe(wanted);
      // Until the turn is over the next one is not due.
      await new Promise(setImmediate);
    }
    expect(errors).toEqual(['resign: no key']);
    expect((await ask(url, wire.health)).status).toBe(200);
    expect((await ask(url, wire.metrics)).body.toString()).toContain('shoal_offline_signature_expires_seconds{role="root"} 3000');
  });

  it('collects garbage in its turn', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore();
    const [kept, dropped] = [await makeSample(200_000, 1), await makeSample(300_000, 2)];
    await publishSample(store, kept);
    await publishSample(store, dropped);
    await store.forget(dropped.key);
    const { url } = await origin({ directory: await repository(), store, clock, gcMs: 3_600_000 });
    clock.advance(3_600_000);
    await expect.poll(async () => Number(/shoal_gc_freed_bytes (\d+)/.exec((await ask(url, '/metrics')).body.toString())?.[1])).toBeGreaterThan(300_000);
    expect((await ask(url, wire.span(kept.key, 0))).status).toBe(200);
    expect((await ask(url, wire.span(dropped.key, 0))).status).toBe(404);
  });
});
