import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VerifiedPage } from '../../src/merkle/verify.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { sampleArtifact } from '../support/artifacts.ts';
import type { SampleArtifact } from '../support/artifacts.ts';

let folder: string;
let path: string;
let artifact: SampleArtifact;
const open = (root = artifact.root): Promise<PageFile> => PageFile.open(nodeFiles, path, root);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-pages-'));
  path = join(folder, 'pages');
  artifact = await sampleArtifact([[1, 2], [3], [4, 5, 6], [7]]);
  const file = await open();
  for (const page of artifact.pages) await file.put(page);
  await file.close();
});
afterEach(() => rm(folder, { recursive: true }));

async function found(): Promise<readonly VerifiedPage[]> {
  const file = await open();
  const kept: VerifiedPage[] = [];
  for (const page of artifact.pages) if (Buffer.compare((await file.get(page.id))?.encoded ?? Buffer.alloc(0), page.encoded) === 0) kept.push(page);
  await file.close();
  return kept;
}

describe('the index pages of a device', () => {
  it('are there after a restart', async () => {
    expect(await found()).toEqual(artifact.pages);
  });

  it('take nothing twice', async () => {
    const before = (await readFile(path)).byteLength;
    const file = await open();
    for (const page of artifact.pages) await file.put(page);
    await file.close();
    expect((await readFile(path)).byteLength).toBe(before);
  });

  it('are those of one root: another one starts anew', async () => {
    const other = await sampleArtifact([[9]]);
    await (await open(other.root)).close();
    expect(await found()).toEqual([]);
  });

  it('survive whatever a crash made of the end, and go on behind what is whole', async () => {
    const whole = (await readFile(path)).byteLength;
    for (const tear of [() => truncate(path, whole - 3), () => appendFile(path, Buffer.alloc(100, 0xff)), () => appendFile(path, Buffer.alloc(2_000_000))]) {
      await tear();
      const kept = await found();
      expect(kept.length).toBeGreaterThanOrEqual(artifact.pages.length - 1);
      const file = await open();
      for (const page of artifact.pages) await file.put(page);
      await file.close();
      expect(await found()).toEqual(artifact.pages);
    }
  });

  it('never give out a page that is damaged, and take it again', async () => {
    const bytes = await readFile(path);
    for (let at = 44; at < bytes.byteLength; at += 7) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x40;
      await writeFile(path, damaged);
      const file = await open();
      for (const page of artifact.pages) {
        const got = await file.get(page.id);
        if (got !== undefined) expect(Buffer.compare(got.encoded, page.encoded)).toBe(0);
        await file.put(page);
        expect(Buffer.compare((await file.get(page.id))?.encoded ?? Buffer.alloc(0), page.encoded)).toBe(0);
      }
      await file.close();
    }
  });
});
