import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ShoalError } from '../../src/core/errors.ts';
import { MediumCheck } from '../../src/exchange/medium.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { checkMedium } from '../../src/install/medium.ts';
import { HashThread } from '../../src/kernel/hash-thread.ts';
import { sealChunk } from '../../src/merkle/verify.ts';
import { nodeFiles } from '../../src/store/files.ts';
import type { Files, OpenFile } from '../../src/store/files.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
const SPAN_BYTES = 4 * MiB;
// 18 spans of 4 MiB: a round of 32 MiB while spans still come, smaller ones towards the end, and a rest.
const SPANS = 18;
const bytes = randomBytes(SPAN_BYTES);
const chunks = [sealChunk(bytes.subarray(0, MiB)), sealChunk(bytes.subarray(MiB, SPAN_BYTES - 1)), sealChunk(bytes.subarray(SPAN_BYTES - 1))];
const refs = chunks.map(({ id, bytes: { byteLength } }) => ({ id, length: byteLength }));
const spanAt = (index: number) => ({ index, offset: index * SPAN_BYTES, bytes: SPAN_BYTES, leaf: refs[0]?.id ?? ('' as never) });

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'shoal-medium-')); });
afterAll(() => rm(folder, { recursive: true }));

/** The real file system, with one file call replaced. */
function faulty(change: (file: OpenFile) => Partial<OpenFile>): Files {
  return {
    ...nodeFiles,
    async open(path, mode, options) {
      const file = await nodeFiles.open(path, mode, options);
      const plain: OpenFile = {
        read: (into, position) => file.read(into, position),
        write: (from, position) => file.write(from, position),
        truncate: (size) => file.truncate(size),
        sync: () => file.sync(),
        size: () => file.size(),
        close: () => file.close(),
      };
      return { ...plain, ...change(file) };
    },
  };
}

async function proved(files: Files, order: readonly number[], more: (slot: FileSlot) => Promise<void> = () => Promise.resolve(), thread?: () => HashThread | undefined): Promise<string> {
  const slot = await FileSlot.open(files, join(folder, randomBytes(4).toString('hex')));
  const check = new MediumCheck(slot, SPANS * SPAN_BYTES, false, thread);
  try {
    for (const index of order) {
      const span = spanAt(index);
      await slot.writeRun(span.offset, chunks);
      check.add(span, refs);
    }
    await more(slot);
    await check.finish(SPANS * SPAN_BYTES, SPANS);
    return slot.partial;
  } finally {
    await check.close();
    await slot.close();
  }
}

const anyOrder = [7, 17, 0, 3, 12, 16, 1, 2, 15, 4, 5, 11, 6, 8, 14, 9, 10, 13];

describe('the proof of what is on the medium', () => {
  it('takes spans in any order, reads every byte back once after a sync, and cuts what is too long', async () => {
    let [reads, synced, early] = [0, 0, 0];
    const files = faulty((file) => ({
      sync: async () => { await file.sync(); synced++; },
      read: async (into, position) => { reads += into.byteLength; if (synced === 0) early++; return file.read(into, position); },
    }));
    const path = await proved(files, anyOrder, (slot) => slot.write(SPANS * SPAN_BYTES, chunks[0] ?? sealChunk(bytes)));
    expect([reads, early]).toEqual([SPANS * SPAN_BYTES, 0]);
    // Two in the background at least, and the last.
    expect(synced).toBeGreaterThanOrEqual(2);
    expect((await stat(path)).size).toBe(SPANS * SPAN_BYTES);
  });

  it.each([[0, 'here'], [9, 'here'], [17, 'here'], [0, 'in a thread'], [9, 'in a thread'], [17, 'in a thread']] as const)('names span %i when it reads back as other bytes, hashed %s', async (bad, where) => {
    const files = faulty((file) => ({
      read: async (into, position) => {
        const count = await file.read(into, position);
        if (position === bad * SPAN_BYTES) into[SPAN_BYTES - 1] = (into[SPAN_BYTES - 1] ?? 0) ^ 1;
        return count;
      },
    }));
    await expect(proved(files, anyOrder, undefined, () => (where === 'here' ? undefined : new HashThread()))).rejects.toMatchObject({ code: 'MEDIUM_MISMATCH', retry: 'again', ids: { span: bad, expected: refs[2]?.id } });
  });

  it('says so where the medium itself cannot be read', async () => {
    const slot = await FileSlot.open(faulty(() => ({})), join(folder, 'remembered'));
    await expect(checkMedium(slot)).rejects.toMatchObject({ code: 'MEDIUM_UNREADABLE' });
    await slot.close();
  });

  it('does without a thread that dies', async () => {
    let started = 0;
    const dying = (): HashThread => {
      const thread = new HashThread();
      started++;
      void thread.close();
      return thread;
    };
    await proved(nodeFiles, anyOrder, undefined, dying);
    expect(started).toBe(1);
  });

  it('does not take a second sync for an answer when one has failed', async () => {
    let failed = false;
    const files = faulty((file) => ({
      sync: async () => {
        if (failed) return file.sync();
        failed = true;
        throw new ShoalError('FILE_IO', 'the medium is gone');
      },
    }));
    await expect(proved(files, anyOrder)).rejects.toMatchObject({ code: 'FILE_IO' });
  });

  it('says so when a span is missing or a file is cut short', async () => {
    await expect(proved(nodeFiles, anyOrder.slice(1))).rejects.toMatchObject({ code: 'INCOMPLETE_SLOT' });
    const short = faulty((file) => ({ read: async (into, position) => Math.min(await file.read(into, position), SPAN_BYTES - 1) }));
    await expect(proved(short, anyOrder)).rejects.toMatchObject({ code: 'MEDIUM_MISMATCH' });
  });
});
