import { createHash } from 'node:crypto';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IndexReader } from '../../src/merkle/reader.ts';
import { verifyChunk } from '../../src/merkle/verify.ts';
import { ingestArtifact } from '../../src/publish/artifact.ts';
import { PackStore } from '../../src/store/pack/store.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
const namespace = 'default';
let folder: string;
let store: PackStore;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-publish-'));
  store = await PackStore.open(join(folder, 'store'), { level: 3 });
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

/** The artifact's bytes as a device would rebuild them: index from the root, chunks by id, each verified. */
async function readBack(root: Parameters<typeof IndexReader.open>[0], size: number): Promise<Buffer> {
  const index = await IndexReader.open(root, size, {
    page: async (id) => {
      const page = await store.object('page', id);
      if (page === undefined) throw new Error(`page ${id} is missing`);
      return page;
    },
  });
  const parts: Uint8Array[] = [];
  for await (const span of index.allSpans()) {
    for (const { id } of (await index.leaf(span)).chunks) {
      const bytes = await store.chunk(id);
      if (bytes === undefined) throw new Error(`chunk ${id} is missing`);
      parts.push(verifyChunk(id, bytes).bytes);
    }
  }
  return Buffer.concat(parts);
}

async function publish(name: string, content: Uint8Array): Promise<Awaited<ReturnType<typeof ingestArtifact>>> {
  const path = join(folder, name);
  await writeFile(path, content);
  const batch = await store.begin();
  const result = await ingestArtifact(batch, { path, name }, { namespace });
  await batch.commit([result.stored]);
  return result;
}

describe('an artifact on its way into the store', () => {
  // Nothing, less than a chunk, less than a span, and several spans: each ends in another branch.
  it.each([0, 1, 100_000, 9 * MiB])('can be rebuilt from its root: %i bytes', async (size) => {
    const content = randomBytes(size);
    const { record, stored } = await publish(`file-${String(size)}`, content);
    expect(record).toMatchObject({ size, role: 'image', sha256: createHash('sha256').update(content).digest('hex') });
    expect(Buffer.compare(await readBack(record.root, size), content)).toBe(0);
    expect(await store.artifacts()).toContainEqual(stored);
  });

  it('costs the store only what changed, and the same content gets the same root', async () => {
    const old = randomBytes(12 * MiB);
    const first = await publish('image-1', old);
    // One inserted byte moves everything behind it.
    const changed = Buffer.concat([old.subarray(0, 5 * MiB), Buffer.from([1]), old.subarray(5 * MiB)]);
    const second = await publish('image-2', changed);
    expect(first.addedBytes).toBeGreaterThan(12 * MiB);
    // The chunk that was hit, and its neighbour when the cut moved: 256 KiB each at most.
    expect(second.addedBytes).toBeLessThan(0.6 * MiB);
    expect(second.record.root).not.toBe(first.record.root);
    expect((await publish('image-3', old)).record.root).toBe(first.record.root);
  });

  it('says what is wrong with a file and leaves nothing behind', async () => {
    const held = await store.artifacts();
    const attempt = async (path: string, onProgress?: () => void): Promise<unknown> => {
      const batch = await store.begin();
      try {
        return await ingestArtifact(batch, { path, name: 'image' }, { namespace, ...(onProgress === undefined ? {} : { onProgress }) });
      } finally {
        await batch.abort();
      }
    };
    await expect(attempt(join(folder, 'absent'))).rejects.toMatchObject({ code: 'UNREADABLE', ids: { path: join(folder, 'absent') } });
    await expect(attempt(folder)).rejects.toMatchObject({ code: 'UNREADABLE' });

    const path = join(folder, 'growing');
    await writeFile(path, randomBytes(9 * MiB));
    let touched: Promise<void> | undefined;
    await expect(attempt(path, () => { touched ??= appendFile(path, 'more'); })).rejects.toMatchObject({ code: 'FILE_CHANGED', retry: 'again' });
    await touched;
    expect(await store.artifacts()).toEqual(held);
  });

  it('stops when it is told to', async () => {
    const path = join(folder, 'long');
    await writeFile(path, randomBytes(9 * MiB));
    const abort = new AbortController();
    const batch = await store.begin();
    const run = ingestArtifact(batch, { path, name: 'image' }, { namespace, signal: abort.signal, onProgress: () => { abort.abort(new Error('enough')); } });
    await expect(run).rejects.toThrow('enough');
    await batch.abort();
  });
});
