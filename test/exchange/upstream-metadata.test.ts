import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Updater } from 'tuf-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeManifest } from '../../src/core/manifest.ts';
import { HEADER_ROOT, wire } from '../../src/core/wire.ts';
import { UpstreamMetadata } from '../../src/exchange/upstream-metadata.ts';
import { HttpUpstream } from '../../src/exchange/upstream.ts';
import { HeldMetadata } from '../../src/roles/agent/metadata.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { acceptStaged } from '../../src/trust/repository/accept.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { renewOnline } from '../../src/trust/repository/online.ts';
import { createRoleKey, stageRotation } from '../../src/trust/repository/rotate.ts';
import { device, noContent, release } from '../support/trust-homes.ts';
import { livedClock } from '../support/lived-clock.ts';

let scratch: string;
let home: TrustHome;
let origin: Origin;
let root: Buffer;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-tuf-'));
  // The machine's own clock and file system, as in a real origin.
  home = trustHome(join(scratch, 'home'));
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

  it('costs one short question where there is no news, whatever the host says of its roots', async () => {
    const upstream = new HttpUpstream(origin.url, livedClock());
    const asked: string[] = [];
    let silent = false;
    const watched = { url: upstream.url, get: async (...given: Parameters<HttpUpstream['get']>) => {
      asked.push(given[1]);
      const answer = await upstream.get(...given);
      return silent ? { ...answer, headers: new Map([...answer.headers].filter(([name]) => name !== HEADER_ROOT)) } : answer;
    } } as HttpUpstream;
    const directory = join(scratch, 'polling');
    const held = new HeldMetadata(nodeFiles, directory);
    const client = await device(directory, { trustedRoot: root, fetcher: new UpstreamMetadata([watched], undefined, held), now: () => new Date() });
    const poll = async (): Promise<readonly string[]> => {
      asked.length = 0;
      await held.keep((await client.release('app+x')).manifestBytes);
      return asked.map((path) => path.split('/').at(-1) ?? '').toSorted();
    };
    try {
      await poll();
      const before = upstream.totals.control;
      expect(await poll()).toEqual(['timestamp.json']);
      // The head of a 304: its tag, the version of the root, what HTTP and Node want.
      expect(upstream.totals.control - before).toBeLessThan(250);
      silent = true;
      expect(await poll()).toEqual(['2.root.json', 'timestamp.json']);
      silent = false;
      const key = await createRoleKey(home, 'root');
      await stageRotation(home, join(scratch, 'rotation'), { root: { keys: [key], threshold: 1 } });
      await acceptStaged(home, join(scratch, 'rotation'), noContent);
      expect(await poll()).toEqual(expect.arrayContaining(['2.root.json', 'timestamp.json']));
      expect(asked.some((path) => path.endsWith('3.root.json'))).toBe(false);
      await release(home, 'app+x', '2.0');
      await poll();
      expect((await client.release('app+x')).manifest.version).toBe('2.0');
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
