import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SpanFill } from '../../src/exchange/span-fill.ts';
import { FileSlot } from '../../src/install/file-slot.ts';
import { sealChunk } from '../../src/merkle/verify.ts';
import type { VerifiedChunk } from '../../src/merkle/verify.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { randomBytes } from '../support/random.ts';

// Five chunks of different lengths, so that a wrong place shows; the span does not begin where the artifact does.
const bytes = randomBytes(5_000);
const cuts = [0, 100, 1_300, 2_000, 4_999, 5_000];
const chunks = cuts.slice(1).map((end, index) => sealChunk(bytes.subarray(cuts[index], end)));
const refs = chunks.map(({ id, bytes: { byteLength } }) => ({ id, length: byteLength }));
const span = { index: 3, offset: 777, bytes: 5_000, leaf: refs[0]?.id ?? ('' as never) };
const pick = (...positions: number[]): VerifiedChunk[] => positions.flatMap((position) => chunks[position] ?? []);

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'shoal-fill-')); });
afterAll(() => rm(folder, { recursive: true }));

async function inSlot(work: (slot: FileSlot) => Promise<void>): Promise<Buffer> {
  const slot = await FileSlot.open(nodeFiles, join(folder, randomBytes(4).toString('hex')));
  try {
    await work(slot);
    return Buffer.from(await slot.read(span.offset, span.bytes));
  } finally {
    await slot.close();
  }
}

describe('a span on its way into a slot', () => {
  it('is asked for as a whole when all of it is missing, and is whole once every batch is written', async () => {
    const fill = new SpanFill(span, { chunks: refs, lacking: [0, 1, 2, 3, 4] });
    const request = fill.request();
    expect(request).toEqual({ span: 3, positions: undefined, chunks: refs, offsets: [777, 877, 2_077, 2_777, 5_776] });
    const found = await inSlot(async (slot) => {
      const writing = [fill.take(slot, request, pick(0, 1), 0), fill.take(slot, request, pick(2, 3, 4), 2)];
      // Nothing is left to ask for, yet it may not be served before it is written.
      expect([fill.wanted, fill.whole]).toEqual([false, false]);
      expect(await Promise.all(writing)).toEqual([1_300, 3_700]);
      expect(fill.whole).toBe(true);
    });
    expect(found.equals(bytes)).toBe(true);
  });

  it('keeps what a broken connection brought and asks only for the rest', async () => {
    const fill = new SpanFill(span, { chunks: refs, lacking: [0, 1, 2, 3, 4] });
    const found = await inSlot(async (slot) => {
      await fill.take(slot, fill.request(), pick(0, 1), 0);
      const rest = fill.request();
      expect(rest).toEqual({ span: 3, positions: [2, 3, 4], chunks: refs.slice(2), offsets: [2_077, 2_777, 5_776] });
      await fill.take(slot, rest, pick(2, 3, 4), 0);
    });
    expect(found.equals(bytes)).toBe(true);
  });

  it('puts chunks that do not adjoin in their places', async () => {
    const fill = new SpanFill(span, { chunks: refs, lacking: [0, 2, 3] });
    const found = await inSlot(async (slot) => {
      const request = fill.request();
      expect(request.positions).toEqual([0, 2, 3]);
      expect(await fill.take(slot, request, pick(0, 2, 3), 0)).toBe(100 + 700 + 2_999);
      expect(fill.whole).toBe(true);
    });
    expect(found.subarray(0, 100).equals(bytes.subarray(0, 100))).toBe(true);
    expect(found.subarray(1_300, 4_999).equals(bytes.subarray(1_300, 4_999))).toBe(true);
    expect(found.subarray(100, 1_300).equals(Buffer.alloc(1_200))).toBe(true);
  });

  it('writes each chunk once when two sources bring it', async () => {
    const fill = new SpanFill(span, { chunks: refs, lacking: [0, 1, 2, 3, 4] });
    const found = await inSlot(async (slot) => {
      const one = fill.request();
      await fill.take(slot, one, pick(0), 0);
      const other = fill.request();
      expect(await Promise.all([fill.take(slot, one, pick(1, 2), 1), fill.take(slot, other, pick(1, 2, 3, 4), 0)])).toEqual([1_900, 3_000]);
      expect(slot.written).toBe(5_000);
    });
    expect(found.equals(bytes)).toBe(true);
  });
});
