import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acceptRelease, publishRelease } from '../../src/publish/release.ts';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import { startOrigin } from '../../src/roles/origin.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { readWhole } from '../../src/store/durable.ts';
import { TamperingProxy } from './tampering-proxy.ts';

/** A publisher and an origin in this process, over real sockets, with a proxy in front that counts and tampers. */
export interface Fleet {
  readonly folder: string;
  readonly trustedRoot: Uint8Array;
  /** Of the proxy. */
  readonly origin: string;
  readonly proxy: TamperingProxy;
  publish(product: string, version: string, artifacts: Readonly<Record<string, Uint8Array>>): Promise<ReleaseManifest>;
  close(): Promise<void>;
}

export async function startFleet(): Promise<Fleet> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-fleet-'));
  const home = trustHome(join(folder, 'home'));
  await initHome(home);
  const store = await PackStore.open(home.paths.store, { level: 3 });
  const origin = await startOrigin({ store, metadata: new RepositoryFiles(home), listen: { host: '127.0.0.1', port: 0 }, version: '0', gcMs: 0 });
  const proxy = new TamperingProxy();
  let serial = 0;
  return {
    folder,
    trustedRoot: (await readWhole(nodeFiles, join(home.directory, 'trust', 'root.json'), 1_000_000)) ?? new Uint8Array(),
    origin: await proxy.start(origin.url),
    proxy,
    publish: async (product, version, artifacts) => {
      const inputs = [];
      for (const [name, bytes] of Object.entries(artifacts)) {
        const path = join(folder, `published-${String(serial++)}`);
        await writeFile(path, bytes);
        inputs.push({ name, path });
      }
      const staging = join(folder, `staging-${String(serial++)}`);
      const { manifest } = await publishRelease(home, store, staging, { product, version, artifacts: inputs }, { namespace: 'default' });
      await acceptRelease(home, staging, store, undefined);
      return manifest;
    },
    close: async () => {
      await proxy.close();
      await origin.close();
      await rm(folder, { recursive: true });
    },
  };
}
