import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { hashesDirectly, hashingRoom, readHashed } from '../../src/kernel/hash-file.ts';
import { blake3Pieces } from '../../src/kernel/hash.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { OpenFile } from '../../src/store/files.ts';
import { randomBytes } from '../support/random.ts';

let folder = '';
afterEach(() => rm(folder, { recursive: true, force: true }));

async function fileOf(content: Uint8Array): Promise<OpenFile> {
  folder = await mkdtemp(join(tmpdir(), 'shoal-hash-file-'));
  await writeFile(join(folder, 'file'), content);
  return nodeFiles.open(join(folder, 'file'), 'read');
}

/** The same file for whom there is no descriptor: what a recording file layer offers. */
const plain = (file: OpenFile): Pick<OpenFile, 'read'> => ({ read: (into, position) => file.read(into, position) });

describe('reading and hashing pieces of a file', () => {
  it('gives their bytes and hashes, with and without the kernel, also where the file ends early', async () => {
    const content = randomBytes(1_500_000);
    const file = await fileOf(content);
    const lengths = [70_000, 200_000, 262_144, 0, 500_000, 300_000, 400_000];
    for (const each of [file, plain(file)]) {
      const into = new Uint8Array(1_732_144);
      const { hashes, read } = await readHashed(each, into, 1000, lengths);
      expect(read).toBe(1_499_000);
      expect(Buffer.compare(into.subarray(0, read), content.subarray(1000))).toBe(0);
      expect(Buffer.compare(hashes, blake3Pieces(content.subarray(1000), lengths))).toBe(0);
    }
    await file.close();
  });

  it('needs little room where the kernel reads', async () => {
    const content = randomBytes(2_000_000);
    const file = await fileOf(content);
    const lengths = Array.from({ length: 20 }, () => 100_000);
    const room = new Uint8Array(hashesDirectly(file) ? hashingRoom(2_000_000) : 2_000_000);
    expect(Buffer.compare((await readHashed(file, room, 0, lengths)).hashes, blake3Pieces(content, lengths))).toBe(0);
    await file.close();
  });

  it('says what is wrong with a file that cannot be read', async () => {
    const file = await fileOf(randomBytes(10));
    await file.close();
    await expect(readHashed(file, new Uint8Array(10), 0, [10])).rejects.toMatchObject({ code: 'FILE_IO', message: expect.stringContaining('file') as string });
  });

  it('closes a file only when nobody reads it any more by itself', async () => {
    const file = await fileOf(randomBytes(10));
    const order: string[] = [];
    let end: () => void = () => undefined;
    const reading = file.direct?.(() => new Promise<void>((resolve) => (end = resolve))).then(() => order.push('read'));
    const closing = file.close().then(() => order.push('closed'));
    await file.size();
    end();
    await Promise.all([reading, closing]);
    expect(order).toEqual(['read', 'closed']);
  });
});
