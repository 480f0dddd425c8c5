import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Updater } from 'tuf-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeManifest } from '../../src/core/manifest.ts';
import { wire } from '../../src/core/wire.ts';
import { UpstreamMetadata } from '../../src/exchange/upstream-metadata.ts';
import { HttpUpstream } from '../../src/exchange/upstream.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { renewOnline } from '../../src/trust/repository/online.ts';
import { device, release } from '../support/trust-homes.ts';
import { livedClock } from '../support/lived-clock.ts';

let scratch: string;
let origin: Origin;
let root: Buffer;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-tuf-'));
  // The machine's own clock and file system, as in a real origin.
  const home = trustHome(join(scratch, 'home'));
  await initHome(home);
  // Names with everything that a URL may treat specially.
  await release(home, 'app+x', '1.0+b1');
  root = await readFile(home.paths.trustRoot);
  origin = await startOrigin({ store: new MemoryStore(), metadata: new RepositoryFiles(home), listen: { host: '127.0.0.1', port: 0 }, version: '0', gcMs: 0, resign: async () => (await renewOnline(home)).offline });
});
afterAll(async () => {
  await origin.close();
  await rm(scratch, { recursive: true });
});

describe('a release from a running origin', () => {
  it('reaches a device', async () => {
    const upstream = new HttpUpstream(origin.url, livedClock());
    try {
      const client = await device(join(scratch, 'device'), { trustedRoot: root, fetcher: new UpstreamMetadata([upstream]), now: () => new Date() });
      expect((await client.release('app+x')).manifest.version).toBe('1.0+b1');
      await expect(client.release('other')).rejects.toMatchObject({ code: 'NO_SUCH_RELEASE', ids: { source: origin.url } });
      await expect(new UpstreamMetadata([upstream]).fetch('metadata', 'timestamp.json', 10, AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: 'TOO_LONG' });
    } finally {
      await upstream.close();
    }
  });

  it('reaches plain tuf-js', async () => {
    const [metadataDir, targetDir] = [join(scratch, 'metadata'), join(scratch, 'targets')];
    for (const directory of [metadataDir, targetDir]) await mkdir(directory);
    await writeFile(join(metadataDir, 'root.json'), root);
    const updater = new Updater({ metadataDir, metadataBaseUrl: origin.url + wire.metadata, targetDir, targetBaseUrl: origin.url + wire.targets });
    const info = await updater.getTargetInfo('products/app+x/1.0+b1.json');
    if (info === undefined) throw new Error('not found');
    expect(decodeManifest(await readFile(await updater.downloadTarget(info))).product).toBe('app+x');
  });
});
