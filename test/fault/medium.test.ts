import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MediumCheck } from '../../src/exchange/medium.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { hashesDirectly } from '../../src/kernel/hash-file.ts';
import { sealChunk } from '../../src/merkle/verify.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { Files } from '../../src/store/files.ts';
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

  async function prove(name: string, afterSync: () => void): Promise<void> {
    const files: Files = {
      ...nodeFiles,
      async open(path, mode, options) {
        const file = await nodeFiles.open(path, mode, options);
        const sync = file.sync.bind(file);
        file.sync = async () => {
          await sync();
          afterSync();
        };
        return file;
      },
    };
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
    const image = join(dirname(disk.path), 'image');
    let damaged = false;
    await expect(prove('slot', () => {
      if (damaged) return;
      damaged = true;
      // The second chunk begins where no block does.
      flipOn(image, bytes.subarray(200_000, 200_064));
    })).rejects.toMatchObject({ code: 'MEDIUM_MISMATCH', ids: { span: 0, expected: refs[1]?.id } });
    await prove('another', () => undefined);
  });
});
