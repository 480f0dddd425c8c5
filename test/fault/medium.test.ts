import { closeSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MediumCheck } from '../../src/exchange/medium.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { hashesDirectly } from '../../src/kernel/hash-file.ts';
import { native } from '../../src/kernel/native.ts';
import { sealChunk } from '../../src/merkle/verify.ts';
import { fetchRelease } from '../../src/roles/fetch.ts';
import type { FetchOptions } from '../../src/roles/fetch.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { Files } from '../../src/store/files.ts';
import { startFleet } from '../support/fleet.ts';
import { randomBytes } from '../support/random.ts';
import { shoalBeside } from '../support/shoal.ts';
import { needsSmallDisk, smallDisk } from '../support/small-disk.ts';
import type { SmallDisk } from '../support/small-disk.ts';

const SPAN_BYTES = 300_001;
const bytes = randomBytes(SPAN_BYTES);
const chunks = [sealChunk(bytes.subarray(0, 77_777)), sealChunk(bytes.subarray(77_777))];
const refs = chunks.map(({ id, bytes: { byteLength } }) => ({ id, length: byteLength }));
const span = { index: 0, offset: 0, bytes: SPAN_BYTES, leaf: refs[0]?.id ?? ('' as never) };

/** Where `wanted` lies on the disk itself, behind the file system's back. */
function flipOn(image: string, wanted: Buffer): void {
  const at = readFileSync(image).indexOf(wanted);
  expect(at).toBeGreaterThan(0);
  const disk = openSync(image, 'r+');
  writeSync(disk, Buffer.of((wanted[0] ?? 0) ^ 1), 0, 1, at);
  closeSync(disk);
}

describe.skipIf(needsSmallDisk())('a medium that keeps other bytes than it was given', () => {
  let disk: SmallDisk;
  beforeAll(() => { disk = smallDisk(32 * 1024 * 1024); });
  afterAll(() => { disk.close(); });

  const image = (): string => join(dirname(disk.path), 'image');

  /** The files of this machine; something happens to the disk when a slot has been synced. */
  function syncing(afterSync: () => void): Files {
    return {
      ...nodeFiles,
      async open(path, mode, options) {
        const file = await nodeFiles.open(path, mode, options);
        const sync = file.sync.bind(file);
        file.sync = async () => {
          await sync();
          if (path.endsWith('.shoal-partial')) afterSync();
        };
        return file;
      },
    };
  }

  async function prove(name: string, afterSync: () => void): Promise<void> {
    const files = syncing(afterSync);
    const slot = await FileSlot.open(files, join(disk.path, name));
    const check = new MediumCheck(slot, SPAN_BYTES, true);
    try {
      await slot.writeRun(0, chunks);
      check.add(span, refs);
      await check.finish(SPAN_BYTES, 1);
    } finally {
      await check.close();
      await slot.close();
    }
  }

  it('is found out before anything becomes active, though the system still remembers what was written', async (context) => {
    const file = await nodeFiles.open(join(disk.path, 'probe'), 'create');
    const direct = hashesDirectly(file);
    await file.close();
    // Without the native kernel what is read back may come from memory.
    if (!direct) return context.skip();
    let damaged = false;
    await expect(prove('slot', () => {
      if (damaged) return;
      damaged = true;
      // The second chunk begins where no block does.
      flipOn(image(), bytes.subarray(200_000, 200_064));
    })).rejects.toMatchObject({ code: 'MEDIUM_MISMATCH', ids: { span: 0, expected: refs[1]?.id } });
    await prove('another', () => undefined);
  });

  it.skipIf(native === undefined)('fails the fetch of whoever asked for that proof, and of nobody else', async () => {
    const fleet = await startFleet();
    try {
      const wanted = randomBytes(SPAN_BYTES);
      await fleet.publish('os', '1', { image: wanted });
      const fetching = (name: string, more: Partial<FetchOptions>) =>
        fetchRelease({ product: 'os', origin: fleet.origin, trustedRoot: fleet.trustedRoot, state: join(fleet.folder, 'state'), output: join(disk.path, name), ...more });
      const once = (): Files => {
        let damaged = false;
        return syncing(() => {
          if (!damaged) flipOn(image(), wanted.subarray(200_000, 200_064));
          damaged = true;
        });
      };
      await expect(fetching('proved', { fromMedium: true, files: once() })).rejects.toMatchObject({ code: 'MEDIUM_MISMATCH', retry: 'again' });
      // Nothing took its place; the next run fetches anew what is damaged.
      expect(existsSync(join(disk.path, 'proved'))).toBe(false);
      await expect(fetching('proved', { fromMedium: true })).resolves.toMatchObject({ manifest: { version: '1' } });
      await expect(fetching('believed', { files: once() })).resolves.toMatchObject({ manifest: { version: '1' } });

      const trust = join(fleet.folder, 'root.json');
      writeFileSync(trust, fleet.trustedRoot);
      const { code, errors } = await shoalBeside('fetch', 'os', '--origin', fleet.origin, '--trust', trust, '--state', join(fleet.folder, 'other'), '-o', join(disk.path, 'by-command'), '--from-medium');
      expect([code, errors]).toEqual([0, expect.stringContaining('os 1 is in')]);
    } finally {
      await fleet.close();
    }
  });
});
