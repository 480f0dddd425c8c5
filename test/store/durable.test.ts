import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isShoalError } from '../../src/core/errors.ts';
import { makeDirectories, readWhole, removeDurably, removeTemporaries, writeDurably } from '../../src/store/durable.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { Files, OpenMode } from '../../src/store/files.ts';
import { CrashFiles } from '../support/crash-files.ts';
import type { CrashPolicy } from '../support/crash-files.ts';

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const modes: readonly CrashPolicy['mode'][] = ['drop', 'keep', 'random', 'ordered'];
let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'shoal-files-'));
});
afterAll(() => rm(scratch, { recursive: true }));

describe.each<[string, () => Files, () => string]>([
  ['the file system', () => nodeFiles, () => scratch],
  ['the recording layer', () => new CrashFiles(), () => '/'],
])('a file layer: %s', (_name, make, root) => {
  it('reads, writes, grows, truncates and renames', async () => {
    const files = make();
    const home = join(root(), 'a/b');
    await makeDirectories(files, home);
    await makeDirectories(files, home);
    const path = join(home, 'file');
    const file = await files.open(path, 'exclusive');
    await file.write(text('world'), 6);
    await file.write(text('hello '), 0);
    const into = new Uint8Array(20);
    expect(await file.read(into, 6)).toBe(5);
    await file.truncate(5);
    expect(await file.size()).toBe(5);
    await file.sync();
    await file.close();
    await files.rename(path, join(home, 'other'));
    expect(await files.list(home)).toEqual(['other']);
    expect((await files.stat(join(home, 'other')))?.size).toBe(5);
    expect(await readWhole(files, join(home, 'other'), 5)).toEqual(text('hello'));
    await removeDurably(files, join(home, 'other'));
    expect(await files.stat(join(home, 'other'))).toBeUndefined();
  });

  it('names what went wrong', async () => {
    const files = make();
    const path = join(root(), 'present');
    await writeDurably(files, path, text('12345'));
    await expect(files.open(join(root(), 'absent'), 'read')).rejects.toMatchObject({ code: 'NO_SUCH_FILE' });
    await expect(files.open(path, 'exclusive')).rejects.toMatchObject({ code: 'FILE_EXISTS', ids: { path } });
    await expect(readWhole(files, path, 4)).rejects.toMatchObject({ code: 'FILE_TOO_LARGE' });
    expect(await readWhole(files, join(root(), 'absent'), 4)).toBeUndefined();
  });
});

describe('writeDurably', () => {
  it('creates files with the permissions asked for and leaves no temporary file', async () => {
    const home = join(scratch, 'keys');
    await makeDirectories(nodeFiles, home);
    await writeDurably(nodeFiles, join(home, 'key'), text('secret'), { permissions: 0o600 });
    expect((await stat(join(home, 'key'))).mode & 0o777).toBe(0o600);
    expect(await readdir(home)).toEqual(['key']);
  });

  it('leaves the old contents when the disk is full', async () => {
    const files = new CrashFiles();
    await writeDurably(files, '/file', text('old'));
    files.space = 2;
    await expect(writeDurably(files, '/file', text('newer'))).rejects.toMatchObject({ code: 'DISK_FULL', retry: 'again' });
    expect(await readWhole(files, '/file', 10)).toEqual(text('old'));
    expect(await files.list('/')).toEqual(['file']);
  });

  it('is all or nothing at every crash point, and never loses what it acknowledged', async () => {
    const files = new CrashFiles();
    await makeDirectories(files, '/home/state');
    // Three sectors and a bit: enough to be torn in the middle.
    const versions = ['one', 'two', 'three'].map((word) => text(word.repeat(600)));
    for (const [index, bytes] of versions.entries()) {
      await writeDurably(files, '/home/state/file', bytes);
      files.mark(String(index));
    }
    for (let point = 0; point <= files.points; point++) {
      for (const mode of modes) {
        for (let seed = 0; seed < 8; seed++) {
          const medium = files.crash(point, { mode, seed });
          const acknowledged = Number(files.marksBefore(point).at(-1) ?? -1);
          const found = await readWhole(medium, '/home/state/file', 1e6).catch((error: unknown) => (isShoalError(error, 'NO_SUCH_FILE') ? undefined : Promise.reject(error as Error)));
          const index = found === undefined ? -1 : versions.findIndex((bytes) => Buffer.compare(bytes, found) === 0);
          if (found !== undefined) expect(index, `torn at ${files.describe(point)}, ${mode}, seed ${String(seed)}`).toBeGreaterThanOrEqual(0);
          expect(index, `lost at ${files.describe(point)}, ${mode}, seed ${String(seed)}`).toBeGreaterThanOrEqual(acknowledged);
          if (acknowledged >= 0) {
            await removeTemporaries(medium, '/home/state');
            expect(await medium.list('/home/state')).toEqual(['file']);
          }
        }
      }
    }
  });

  it('is seen to fail by the recording layer when a step is left out', async () => {
    // The layer itself under test: without syncs it must find a torn or lost file, or it proves nothing.
    const files = new CrashFiles();
    const careless: Files = Object.assign(Object.create(files) as Files, {
      open: async (path: string, mode: OpenMode) => Object.assign(await files.open(path, mode), { sync: () => Promise.resolve() }),
      rename: files.rename.bind(files),
      remove: files.remove.bind(files),
      syncDirectory: files.syncDirectory.bind(files),
    });
    const bytes = text('contents '.repeat(300));
    await writeDurably(careless, '/file', bytes);
    let torn = 0;
    for (let seed = 0; seed < 50; seed++) {
      const found = await readWhole(files.crash(files.points, { mode: 'random', seed }), '/file', 1e6);
      if (found === undefined || Buffer.compare(found, bytes) !== 0) torn++;
    }
    expect(torn).toBeGreaterThan(10);
  });
});
