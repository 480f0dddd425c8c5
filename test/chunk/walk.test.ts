import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { type ByteReaderAt, type HashedChunk, walkChunks } from '../../src/chunk/walk.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import { randomFrom } from '../support/random.ts';

const folder = mkdtempSync(join(tmpdir(), 'shoal-walk-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function chunksOf(file: ByteReaderAt): Promise<Omit<HashedChunk, 'bytes'>[]> {
  const found = [];
  for await (const { offset, length, id, bytes } of walkChunks(file, DEFAULT_CHUNKING)) {
    expect(chunkIdOf(bytes)).toBe(id);
    found.push({ offset, length, id });
  }
  return found;
}

describe('the chunks of a file', () => {
  // Shorter than a chunk, than a window, as long as what is read at a time, and over several.
  it.each([0, 1, 40_000, 1_000_000, 4_456_448, 9_500_001])('are the same whether a kernel reads the file or this process does: %i bytes', async (size) => {
    const random = randomFrom(size);
    const path = join(folder, String(size));
    writeFileSync(path, Uint8Array.from({ length: size }, () => random() * 256));
    await using file = await open(path);
    const chunks = await chunksOf(file);
    expect(chunks.reduce((sum, { length }) => sum + length, 0)).toBe(size);
    expect(await chunksOf({ read: (buffer, offset, length, position) => file.read(buffer, offset, length, position) })).toEqual(chunks);
  });

  it('are not given out of a file that cannot be read', async () => {
    const file = await open(folder);
    await expect(chunksOf(file)).rejects.toMatchObject({ code: 'EISDIR' });
    await file.close();
    await expect(chunksOf(file)).rejects.toThrow();
  });
});
