import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReleaseDirectory } from '../../src/install/release-directory.ts';
import { nodeFiles } from '../../src/store/files.ts';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-release-'));
  path = join(folder, 'os');
});
afterEach(() => rm(folder, { recursive: true }));

async function put(key: string, artifacts: Readonly<Record<string, string>>, kept: readonly string[] = []): Promise<void> {
  const directory = await ReleaseDirectory.open(nodeFiles, path, key);
  for (const name of kept) expect(await directory.adopt(name)).toBe(true);
  for (const [name, text] of Object.entries(artifacts)) await writeFile(join(directory.place, name), text);
  await directory.show();
}

async function shown(): Promise<Readonly<Record<string, string>>> {
  const names = await readdir(path);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(path, name), 'utf8')] as const)));
}

describe('the directory of a release', () => {
  it('is replaced as a whole, and nothing of the one before stays', async () => {
    await put('1', { kernel: 'k1', rootfs: 'r1', old: 'o1' });
    expect(await shown()).toEqual({ kernel: 'k1', rootfs: 'r1', old: 'o1' });
    const directory = await ReleaseDirectory.open(nodeFiles, path, '2');
    await writeFile(join(directory.place, 'kernel'), 'k2');
    await writeFile(join(directory.place, 'rootfs'), 'r2');
    // All of it is there, and none of it is to be seen yet.
    expect(await shown()).toEqual({ kernel: 'k1', rootfs: 'r1', old: 'o1' });
    await directory.show();
    expect(await shown()).toEqual({ kernel: 'k2', rootfs: 'r2' });
    expect((await readdir(join(folder, '.os.shoal-releases'))).length).toBe(1);
  });

  it('takes over what has not changed without copying it', async () => {
    await put('1', { kernel: 'k1', rootfs: 'same' });
    const before = await stat(join(path, 'rootfs'));
    await put('2', { kernel: 'k2' }, ['rootfs']);
    expect(await shown()).toEqual({ kernel: 'k2', rootfs: 'same' });
    expect((await stat(join(path, 'rootfs'))).ino).toBe(before.ino);
  });

  it('can be brought again, after a crash or to mend it', async () => {
    const broken = await ReleaseDirectory.open(nodeFiles, path, '1');
    await writeFile(join(broken.place, 'kernel'), 'half');
    await put('1', { kernel: 'k1' });
    await put('1', { kernel: 'k1 mended' });
    expect(await shown()).toEqual({ kernel: 'k1 mended' });
  });

  it('leads to a place beside it, so that both can be moved to another machine together', async () => {
    await put('1', { kernel: 'k1' });
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readlink(path)).toBe('.os.shoal-releases/1');
  });

  it('takes the place of an empty directory, and of nothing else that somebody made', async () => {
    await mkdir(path);
    await put('1', { kernel: 'k1' });
    expect(await shown()).toEqual({ kernel: 'k1' });
    await rm(path);
    await writeFile(path, 'mine');
    await expect(ReleaseDirectory.open(nodeFiles, path, '2')).rejects.toMatchObject({ code: 'OUTPUT_TAKEN' });
    expect(await readFile(path, 'utf8')).toBe('mine');
    await rm(path);
    await mkdir(path);
    await writeFile(join(path, 'file'), 'mine');
    await expect(ReleaseDirectory.open(nodeFiles, path, '2')).rejects.toMatchObject({ code: 'OUTPUT_TAKEN' });
    await rm(path, { recursive: true });
    await symlink('/elsewhere', path);
    await expect(ReleaseDirectory.open(nodeFiles, path, '2')).rejects.toMatchObject({ code: 'OUTPUT_TAKEN' });
  });

  it('does not remove what came into an empty directory meanwhile', async () => {
    await mkdir(path);
    const directory = await ReleaseDirectory.open(nodeFiles, path, '1');
    await writeFile(join(path, 'file'), 'mine');
    await expect(directory.show()).rejects.toMatchObject({ code: 'DIRECTORY_NOT_EMPTY' });
    expect(await shown()).toEqual({ file: 'mine' });
  });
});
