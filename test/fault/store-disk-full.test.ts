import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PackStore } from '../../src/store/pack/store.ts';
import { missingFrom, publish, sampleArtifact, storedOf } from '../support/artifacts.ts';
import { needsDebian, needsRoot } from '../support/needs.ts';

const skipped = needsRoot('to mount a small file system') || needsDebian('e2fsprogs', 'mkfs.ext4');

describe.skipIf(skipped)('a store on a full disk', () => {
  let directory: string;
  let mount: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'shoal-full-'));
    mount = join(directory, 'mount');
    const image = join(directory, 'image');
    writeFileSync(image, '');
    // 24 MiB: a small ext4 with room for some ten releases.
    truncateSync(image, 24 * 1024 * 1024);
    mkdirSync(mount);
    execFileSync('mkfs.ext4', ['-q', '-F', image]);
    execFileSync('mount', ['-o', 'loop', image, mount]);
  });
  afterAll(() => {
    execFileSync('umount', ['-l', mount]);
    rmSync(directory, { recursive: true });
  });

  it('says so, keeps what it had, and goes on once there is room', async () => {
    const home = join(mount, 'store');
    // Odd seeds do not compress: 1.6 MB a release.
    const release = (number: number): ReturnType<typeof sampleArtifact> => sampleArtifact([Array.from({ length: 16 }, (_, index) => number * 1000 + index * 2 + 1)], 'default', 100_000);
    let store = await PackStore.open(home, { level: 1, packBytes: 1024 * 1024, graceMs: 0, reserveBytes: 4 * 1024 * 1024 });
    const kept: Awaited<ReturnType<typeof release>>[] = [];
    for (;;) {
      const artifact = await release(kept.length);
      const batch = await store.begin();
      try {
        for (const chunks of artifact.spansOfChunks) await batch.putSpan(chunks);
        for (const page of artifact.pages) await batch.putPage(page);
        await batch.commit([storedOf(artifact)]);
        kept.push(artifact);
      } catch (error) {
        await batch.abort();
        expect(error).toMatchObject({ code: 'DISK_FULL', retry: 'again' });
        break;
      }
      expect(kept.length).toBeLessThan(30);
    }
    expect(kept.length).toBeGreaterThan(4);
    await store.close();
    store = await PackStore.open(home, { level: 1, packBytes: 1024 * 1024, graceMs: 0, reserveBytes: 4 * 1024 * 1024 });
    for (const artifact of kept) expect(await missingFrom(store, artifact)).toEqual([]);
    const [first, second] = kept;
    for (const gone of [first, second]) if (gone !== undefined) await store.forget(gone);
    expect((await store.gc()).freedBytes).toBeGreaterThan(2_000_000);
    const next = await release(99);
    await publish(store, next);
    for (const artifact of [...kept.slice(2), next]) expect(await missingFrom(store, artifact)).toEqual([]);
    expect(await store.verify()).toMatchObject({ damaged: [], incomplete: [] });
    await store.close();
  });
});
