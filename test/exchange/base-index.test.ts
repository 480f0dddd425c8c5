import { mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { BaseIndexes } from '../../src/exchange/base-index.ts';
import { LocalChunks } from '../../src/exchange/local-chunks.ts';
import type { ChunkRef } from '../../src/merkle/page.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { sampleBytes } from '../support/artifact.ts';

let folder: string;
let base: string;
let indexes: BaseIndexes;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-bases-'));
  base = join(folder, 'base');
  await writeFile(base, sampleBytes(1_000_000, 3));
  indexes = new BaseIndexes(nodeFiles, join(folder, 'indexes'));
});
afterEach(() => rm(folder, { recursive: true }));

async function scanned(): Promise<readonly ChunkRef[]> {
  const local = new LocalChunks();
  await local.scan([base], DEFAULT_CHUNKING, { indexes });
  await local.close();
  return (await found(base)) ?? [];
}

async function found(path: string, chunking = DEFAULT_CHUNKING): Promise<readonly ChunkRef[] | undefined> {
  const chunks: ChunkRef[] = [];
  return (await indexes.recall(path, chunking, (chunk) => void chunks.push(chunk))) ? chunks : undefined;
}

describe('the kept index of a base', () => {
  it('is made by the first scan and gives the chunks without another', async () => {
    const chunks = await scanned();
    expect(chunks.length).toBeGreaterThan(4);
    expect(chunks.reduce((sum, { length }) => sum + length, 0)).toBe(1_000_000);
    const local = new LocalChunks();
    await local.scan([base], DEFAULT_CHUNKING, { indexes });
    for (const chunk of chunks) expect((await local.chunk(chunk))?.id).toBe(chunk.id);
    await local.close();
  });

  it('counts for nothing once the file has changed, or is cut differently', async () => {
    await scanned();
    expect(await found(base, { ...DEFAULT_CHUNKING, avg: DEFAULT_CHUNKING.avg * 2 })).toBeUndefined();
    await utimes(base, 1, 1);
    expect(await found(base)).toBeUndefined();
    expect(await found(join(folder, 'other'))).toBeUndefined();
  });

  it('harms nobody when the file changed behind its back: chunks are hashed as they are taken', async () => {
    const chunks = await scanned();
    const bytes = await readFile(base);
    const local = new LocalChunks();
    await local.scan([base], DEFAULT_CHUNKING, { indexes });
    bytes[10] = (bytes[10] ?? 0) ^ 1;
    await writeFile(base, bytes);
    expect(await local.chunk(chunks[0] as ChunkRef)).toBeUndefined();
    expect((await local.chunk(chunks[1] as ChunkRef))?.id).toBe(chunks[1]?.id);
    await local.close();
  });

  it('counts for nothing once it is damaged itself, wherever', async () => {
    await scanned();
    const [name = ''] = await readdir(join(folder, 'indexes'));
    const place = join(folder, 'indexes', name);
    const bytes = await readFile(place);
    for (let at = 0; at < bytes.byteLength; at += 13) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x80;
      await writeFile(place, damaged);
      expect(await found(base)).toBeUndefined();
    }
    for (const length of [0, 7, 11, 43, bytes.byteLength - 1]) {
      await writeFile(place, bytes.subarray(0, length));
      expect(await found(base)).toBeUndefined();
    }
  });
});
