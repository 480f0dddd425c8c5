import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { ObjectId } from '../../src/core/ids.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { storeContract } from '../contract/store.ts';
import { missingFrom, publish, sampleArtifact, storedOf } from '../support/artifacts.ts';
import { CrashFiles } from '../support/crash-files.ts';

const scratch: string[] = [];
afterAll(async () => {
  for (const directory of scratch) await rm(directory, { recursive: true });
});

storeContract('in memory', false, async () => {
  let now = 0;
  const store = new MemoryStore(() => now);
  return Promise.resolve({ store, pass: (ms: number) => void (now += ms), corrupt: async (id: ObjectId) => Promise.resolve(store.corrupt(id)) });
});

storeContract('pack files on disk', true, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  scratch.push(directory);
  let now = 1e12;
  // Packs of 16 KiB: a few records each, so that gc meets whole dead packs, mixed ones and the one being written.
  const options = { packBytes: 16 * 1024, now: () => now };
  const store = await PackStore.open(directory, options);
  return {
    store,
    pass: (ms) => void (now += ms),
    corrupt: async (id) => {
      const wanted = Buffer.from((await store.chunk(id)) ?? []).subarray(0, 64);
      for (const name of await readdir(join(directory, 'packs'))) {
        const path = join(directory, 'packs', name);
        const bytes = await readFile(path);
        const at = bytes.indexOf(wanted);
        if (at < 0) continue;
        bytes[at + 70] = (bytes[at + 70] ?? 0) ^ 1;
        await writeFile(path, bytes);
      }
    },
    reopen: async () => {
      await store.close();
      return PackStore.open(directory, options);
    },
  };
});

storeContract('pack files on the recording layer', true, async () => {
  let now = 1e12;
  const files = new CrashFiles();
  const store = await PackStore.open('/store', { files, indexPath: ':memory:', packBytes: 16 * 1024, now: () => now });
  return {
    store,
    pass: (ms) => void (now += ms),
    corrupt: async (id) => {
      const wanted = Buffer.from((await store.chunk(id)) ?? []).subarray(0, 64);
      for (const name of await files.list('/store/packs')) {
        files.corrupt(`/store/packs/${name}`, (bytes) => {
          const at = Buffer.from(bytes).indexOf(wanted);
          if (at >= 0) bytes[at + 70] = (bytes[at + 70] ?? 0) ^ 1;
        });
      }
    },
    // The index is lost with the process: everything comes from the packs.
    reopen: async () => {
      await store.close();
      return PackStore.open('/store', { files, indexPath: ':memory:', packBytes: 16 * 1024, now: () => now });
    },
  };
});

describe('stores of every kind', () => {
  it('give back the same artifacts, and all of each, whatever they keep them in', async () => {
    const artifacts = [await sampleArtifact([[1, 2, 3], [4, 5]]), await sampleArtifact([[3, 4], [6]], 'other')];
    const directory = await mkdtemp(join(tmpdir(), 'shoal-store-'));
    scratch.push(directory);
    const stores = [new MemoryStore(), await PackStore.open(directory), await PackStore.open('/store', { files: new CrashFiles(), indexPath: ':memory:' })];
    const order = (one: { readonly root: string }, other: { readonly root: string }): number => (one.root < other.root ? -1 : 1);
    for (const store of stores) {
      await publish(store, ...artifacts);
      expect([...(await store.artifacts())].sort(order)).toEqual(artifacts.map(storedOf).sort(order));
      for (const artifact of artifacts) expect(await missingFrom(store, artifact)).toEqual([]);
      await store.close();
    }
  });
});
