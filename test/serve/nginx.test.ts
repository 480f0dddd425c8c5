import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { zstdCompress, zstdDecompress } from '../../src/kernel/zstd.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { Surface } from '../../src/serve/surface.ts';
import type { MetadataProvider } from '../../src/serve/content.ts';
import { makeSample } from '../support/artifact.ts';
import type { Sample } from '../support/artifact.ts';
import { freePort } from '../support/free-port.ts';
import { FrameStore } from '../support/memory-cache.ts';
import { needsDebian } from '../support/needs.ts';
import { ask } from '../support/raw-http.ts';

const requests = async (surface: Surface): Promise<number> => Promise.resolve(surface.metrics.totals.requests);

describe.skipIf(needsDebian('nginx'))('an ordinary nginx cache in front of an origin', () => {
  let sample: Sample;
  let surface: Surface;
  let front: string;
  let timestamp = 1;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    sample = await makeSample(3_500_000);
    const metadata: MetadataProvider = {
      metadata: (name) => Promise.resolve(name === 'timestamp.json' ? Buffer.from(String(timestamp)) : name === '1.root.json' ? Buffer.from('root') : undefined),
      target: () => Promise.resolve(undefined),
    };
    const store = await new FrameStore().fill(sample, zstdCompress);
    surface = await createSurface({ role: 'origin', version: '0', content: new StoreContent(store, () => performance.now()), metadata });
    const origin = new URL(await surface.listen('127.0.0.1', 0));
    closing.push(() => surface.close(0));
    const directory = await mkdtemp(join(tmpdir(), 'shoal-nginx-'));
    closing.push(() => rm(directory, { recursive: true }));
    const address = `127.0.0.1:${String(await freePort())}`;
    const template = await readFile(new URL('../../docs/examples/nginx.conf', import.meta.url), 'utf8');
    const config = template.replaceAll('RUN_DIRECTORY', directory).replace('ORIGIN_ADDRESS', origin.host).replace('LISTEN_ADDRESS', address);
    await writeFile(join(directory, 'nginx.conf'), config);
    // Workers of a root's nginx run as another user, who must be able to write the cache.
    spawnSync('chmod', ['777', directory]);
    const nginx = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf'), '-g', 'daemon off;'], { stdio: 'ignore' });
    closing.push(async () => {
      const gone = once(nginx, 'exit');
      nginx.kill('SIGQUIT');
      await gone;
    });
    front = `http://${address}`;
    await vi.waitFor(async () => expect((await ask(front, wire.health)).status).toBe(200), { timeout: 200_000, interval: 50 });
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });

  it('answers the second request for content without the origin', async () => {
    const paths = [wire.page(sample.key, sample.key.root), wire.span(sample.key, 0), wire.span(sample.key, 0, [1, 2]), wire.artifact(sample.key), `${wire.metadata}/1.root.json`];
    for (const path of paths) {
      const first = await ask(front, path);
      await expect.poll(async () => (await ask(front, path, { method: 'HEAD' })).headers['x-cache']).toBe('HIT');
      const before = await requests(surface);
      const second = await ask(front, path);
      expect([path, first.status, second.status, second.headers['x-cache'], (await requests(surface)) - before]).toEqual([path, 200, 200, 'HIT', 0]);
      expect(second.body.equals(first.body)).toBe(true);
      expect(second.headers.etag).toBe(first.headers.etag);
    }
  });

  it('keeps plain and zstd apart', async () => {
    const path = wire.span(sample.key, 1);
    const wanted = sample.spans[1]?.bytes ?? new Uint8Array();
    for (let round = 0; round < 2; round++) {
      const zstd = await ask(front, path, { headers: { 'accept-encoding': 'zstd' } });
      const plain = await ask(front, path);
      expect([zstd.headers['content-encoding'], plain.headers['content-encoding']]).toEqual(['zstd', undefined]);
      expect(Buffer.compare(zstdDecompress(zstd.body, wanted.byteLength), wanted)).toBe(0);
      expect(Buffer.compare(plain.body, wanted)).toBe(0);
    }
  });

  it('serves ranges of the artifact and 304 from the cache', async () => {
    const path = wire.artifact(sample.key);
    await ask(front, path);
    await expect.poll(async () => (await ask(front, path, { method: 'HEAD' })).headers['x-cache']).toBe('HIT');
    const before = await requests(surface);
    const part = await ask(front, path, { headers: { range: 'bytes=1000000-1999999' } });
    expect([part.status, part.body.equals(sample.bytes.subarray(1_000_000, 2_000_000))]).toEqual([206, true]);
    expect((await ask(front, path, { headers: { 'if-none-match': `"${sample.key.root}"` } })).status).toBe(304);
    expect(await requests(surface)).toBe(before);
  });

  it('never keeps what changes, nor errors', async () => {
    const missing = wire.page(sample.key, 'e'.repeat(64) as never);
    for (const path of [`${wire.metadata}/timestamp.json`, wire.health, '/v1/holdings', missing, wire.span(sample.key, 999)]) {
      await ask(front, path);
      const before = await requests(surface);
      await ask(front, path);
      expect([path, (await requests(surface)) - before]).toEqual([path, 1]);
    }
    timestamp = 2;
    expect((await ask(front, `${wire.metadata}/timestamp.json`)).body.toString()).toBe('2');
  });

  it('asks the origin once for what many ask for at the same time', async () => {
    const path = wire.span(sample.key, 2);
    const before = await requests(surface);
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(front, path)));
    expect(answers.every(({ body }) => Buffer.compare(body, sample.spans[2]?.bytes ?? new Uint8Array()) === 0)).toBe(true);
    expect((await requests(surface)) - before).toBe(1);
  });
});
