import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { randomBytes } from '../../fixtures/chunk/inputs.ts';
import { Chunker } from '../../src/chunk/chunker.ts';
import { findCuts } from '../../src/chunk/cuts.ts';
import { CHUNK_ALGORITHM, DEFAULT_CHUNKING } from '../../src/chunk/params.ts';
import { walkChunks } from '../../src/chunk/walk.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { fc } from '../support/property.ts';

const PARAMS = { algorithm: CHUNK_ALGORITHM, min: 4096, avg: 16_384, max: 65_536 };
// More than two windows of the chunker, with a stretch that has no ends of its own.
const DATA = Buffer.concat([randomBytes(21, 1_200_000), new Uint8Array(200_000), randomBytes(22, 1_100_003)]);
const ENDS = [...findCuts(DATA, PARAMS, true)];

function cutInPieces(sizes: Iterable<number>): number[] {
  const chunker = new Chunker(PARAMS);
  const ends: number[] = [];
  const take = (chunks: Iterable<{ offset: number; length: number; bytes: Uint8Array }>): void => {
    for (const { offset, length, bytes } of chunks) {
      expect(offset).toBe(ends.at(-1) ?? 0);
      expect(DATA.subarray(offset, offset + length).equals(bytes)).toBe(true);
      ends.push(offset + length);
    }
  };
  let at = 0;
  for (const size of sizes) {
    if (at >= DATA.length) break;
    take(chunker.push(DATA.subarray(at, at + size)));
    at += size;
  }
  if (at < DATA.length) take(chunker.push(DATA.subarray(at)));
  take(chunker.end());
  return ends;
}

describe('a stream', () => {
  it('has the same chunks however it is divided', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 400_000 })), { maxLength: 40 }), (sizes) => {
        expect(cutInPieces(sizes)).toEqual(ENDS);
      }),
      { numRuns: 30 },
    );
  });

  it('may come in small pieces of one size', () => {
    expect(cutInPieces(Array.from({ length: DATA.length / 997 }, () => 997))).toEqual(ENDS);
  });

  it('without bytes has no chunks', () => {
    const chunker = new Chunker(PARAMS);
    expect([...chunker.end()]).toEqual([]);
    expect(() => [...chunker.push(DATA)]).toThrow(expect.objectContaining({ code: 'CHUNKER_ENDED' }));
    expect(() => [...chunker.end()]).toThrow(expect.objectContaining({ code: 'CHUNKER_ENDED' }));
  });

  it('goes on after a consumer that stopped early', () => {
    const chunker = new Chunker(PARAMS);
    const ends: number[] = [];
    for (const { offset, length } of chunker.push(DATA.subarray(0, 1_000_000))) {
      ends.push(offset + length);
      break;
    }
    for (const { offset, length } of chunker.push(DATA.subarray(1_000_000))) ends.push(offset + length);
    for (const { offset, length } of chunker.end()) ends.push(offset + length);
    expect(ends).toEqual(ENDS);
  });

  it('refuses more bytes than there was space for', () => {
    const chunker = new Chunker(PARAMS);
    const room = chunker.space().length;
    expect(() => [...chunker.advance(room + 1)]).toThrow(expect.objectContaining({ code: 'CHUNKER_SPACE' }));
  });
});

describe('a file', () => {
  it('has its chunks with offsets and ids', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-walk-'));
    try {
      await writeFile(join(folder, 'file'), DATA);
      await using file = await open(join(folder, 'file'));
      const ends: number[] = [];
      for await (const { id, offset, length } of walkChunks(file, PARAMS)) {
        expect(id).toBe(idFromBytes(blake3(DATA.subarray(offset, offset + length))));
        ends.push(offset + length);
      }
      expect(ends).toEqual(ENDS);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('may be read in short reads', async () => {
    const source = {
      read: (buffer: Uint8Array, offset: number, length: number, position: number) => {
        const some = DATA.subarray(position, position + Math.min(length, 77_777));
        buffer.set(some, offset);
        return Promise.resolve({ bytesRead: some.length });
      },
    };
    const ends: number[] = [];
    for await (const { offset, length } of walkChunks(source, PARAMS)) ends.push(offset + length);
    expect(ends).toEqual(ENDS);
  });

  it('that is empty has none', async () => {
    const source = { read: () => Promise.resolve({ bytesRead: 0 }) };
    expect(await walkChunks(source, DEFAULT_CHUNKING).next()).toEqual({ done: true, value: undefined });
  });
});
