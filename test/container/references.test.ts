import { describe, expect, test } from 'vitest';
import { compressible, image } from '../../fixtures/container/image.ts';
import type { ImagePart } from '../../fixtures/container/image.ts';
import { executable, random } from '../../fixtures/delta/inputs.ts';
import { kernelModules } from '../../fixtures/delta/modules.ts';
import { contentIn } from '../../src/container/effort.ts';
import { executablesIn, unchangedInExecutables } from '../../src/container/executables.ts';
import type { Begun } from '../../src/container/executables.ts';
import { findStreams } from '../../src/container/find.ts';
import { openedCovers, opener } from '../../src/container/opened.ts';
import { StreamList } from '../../src/container/streams.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { DeltaInput, MadeDelta } from '../../src/delta/making/made.ts';
import { deltaFileParts } from '../../src/delta/file.ts';
import { decodeParts } from '../../src/delta/parts.ts';
import { partsOf } from '../../src/container/layout.ts';
import { Codec } from '../../src/delta/types.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { native } from '../../src/kernel/native.ts';
import { rebuild } from '../support/rebuild.ts';

const input = (bytes: Uint8Array): DeltaInput => ({ root: idFromBytes(blake3(bytes)), bytes });
const BLOCK = 16 * 1024;

/** As a file system keeps a file. */
function blocks(content: Uint8Array): ImagePart[] {
  return Array.from({ length: Math.ceil(content.length / BLOCK) }, (_, n) => ({ bytes: content.subarray(n * BLOCK, (n + 1) * BLOCK), level: 6 }));
}

/** Bytes that no compressor makes shorter. */
function noise(seed: number, size: number): Buffer {
  const next = random(seed);
  return Buffer.from(Array.from({ length: size }, () => next() >>> 11));
}

function codecs({ manifest, objects }: MadeDelta): ReadonlySet<number> {
  let begin = 0;
  return new Set(manifest.segments.flatMap(({ codec, length, payload }) => {
    const from = begin;
    begin += length;
    if (codec !== Codec.PARTS || payload === undefined || manifest.views === undefined) return [codec];
    const lengths = partsOf(manifest.views.target, from, begin).map((part) => part.length);
    return decodeParts(objects.get(payload.id) ?? new Uint8Array(0), lengths).map((part) => 16 + part.codec);
  }));
}

describe.skipIf(native === undefined)('references of executables in artifacts with compressed streams', () => {
  const inside = (moved: boolean): Buffer => Buffer.concat([executable('x86', 21, 600, moved), kernelModules(22, 2, moved), executable('arm64', 23, 300, moved, 0x41_0000)]);
  const beside = (moved: boolean): Buffer => executable('x86', 31, 500, moved);
  const pack = (moved: boolean): Buffer => image([{ bytes: beside(moved) }, { bytes: noise(1, 3000) }, ...blocks(inside(moved)), { bytes: noise(moved ? 3 : 2, 500) }, { bytes: beside(moved) }]);
  const plain = (moved: boolean): Buffer => Buffer.concat([beside(moved), noise(1, 3000), inside(moved), noise(moved ? 3 : 2, 500), beside(moved)]);

  test('are moved in plain parts and in streams, also in those that lie in two segments', async () => {
    const packed = pack(true);
    const crossed = ((await findStreams(packed)).at[3] as number) + 100;
    // Zeros, so that the second span is as long as a segment may be, and has one to itself.
    const zeros = Buffer.alloc(8 * 2 ** 20 + crossed - packed.length);
    const [base, target] = [Buffer.concat([pack(false), zeros]), Buffer.concat([packed, zeros])];
    const made = await makeDelta(input(base), input(target), [crossed, target.length]);
    expect(made.manifest.segments.length).toBe(2);
    const [old, next] = [plain(false), plain(true)];
    const open = await makeDelta(input(old), input(next), [next.length]);
    expect(made.manifest.views?.target.at.length).toBeGreaterThan(5);
    expect(codecs(made)).toContain(16 + Codec.MOVED);
    // The same changes without containers; beside them the list of streams, and one that is in both segments.
    expect(made.bytes).toBeLessThan(1.6 * open.bytes + 400);
    const file = Buffer.concat([...deltaFileParts(made)]);
    expect((await rebuild(file, base)).equals(target)).toBe(true);
  });

  test('count what was compressed in the executable itself by the bytes that it took', async () => {
    // A section of an executable that an archiver packed: offsets behind it count packed bytes.
    const stuffed = (moved: boolean): Buffer => {
      const whole = executable('x86', 41, 700, moved);
      const packed = image([{ bytes: compressible(moved ? 8 : 7, 8000), level: 6 }]);
      // Zeros in front of the sections' headers make room.
      const sections = Number(whole.readBigUInt64LE(40));
      const shifted = Buffer.concat([whole.subarray(0, sections), packed, Buffer.alloc(-packed.length & 7), whole.subarray(sections)]);
      shifted.writeBigUInt64LE(BigInt(sections + packed.length + (-packed.length & 7)), 40);
      return Buffer.concat([shifted, image(blocks(compressible(moved ? 9 : 10, 120_000)))]);
    };
    const [old, next] = [stuffed(false), stuffed(true)];
    const made = await makeDelta(input(old), input(next), [20_000, next.length]);
    expect(made.manifest.views?.target.at.length).toBeGreaterThan(2);
    expect([...codecs(made)].some((codec) => codec === Codec.MOVED || codec === 16 + Codec.MOVED)).toBe(true);
    expect((await rebuild(Buffer.concat([...deltaFileParts(made)]), old)).equals(next)).toBe(true);
  });
});

describe('executables in several streams', () => {
  test('are opened whole: also their blocks that did not change', async () => {
    const file = executable('x86', 51, 1500);
    const whole = image([...blocks(file), ...blocks(compressible(52, 3 * BLOCK))]);
    const begun: (readonly Begun[])[] = [];
    const streams = await findStreams(whole, { onContent: (content) => begun.push(executablesIn(content)) });
    const count = Math.ceil(file.length / BLOCK);
    expect(count).toBeGreaterThan(3);
    expect(streams.at.length).toBe(count + 3);
    const changed = Array.from(streams.at.keys(), (n) => n === 1 || n === count + 1);
    expect(unchangedInExecutables(streams, begun, changed)).toEqual(Array.from({ length: count }, (_, n) => n).filter((n) => n !== 1));
    expect(unchangedInExecutables(streams, begun, changed.map(() => false))).toEqual([]);
  });
});

describe('what making a stretch of a target takes', () => {
  test('is what its streams hold, by level; one that crosses its end is made whole', () => {
    const list = new StreamList();
    list.add(100, 50, 8000, 9);
    list.add(200, 10, 100, 6);
    list.add(300, 100, 500, 73);
    const streams = list.end();
    expect([...contentIn(streams, 0, 1000)]).toEqual([[9, 8500], [6, 100]]);
    expect([...contentIn(streams, 120, 205)]).toEqual([[9, 8000], [6, 100]]);
    expect([...contentIn(streams, 150, 200)]).toEqual([]);
  });
});

describe('the opened target', () => {
  const list = new StreamList();
  list.add(100, 50, 80, 6);
  list.add(200, 10, 1000, 6);
  const streams = list.end();

  test('has each stream once; a place within one is that of its beginning', () => {
    expect([0, 100, 120, 150, 199, 205, 210, 300].map(opener(streams))).toEqual([0, 100, 100, 180, 229, 230, 1230, 1320]);
  });

  test('covers of a page are cut where a segment ends that a stream crosses, and nowhere else', () => {
    // Segments end at 120, within the first stream, which is in both; and at 180, which no stream crosses.
    const segments = [{ expanded: 0, opened: 0 }, { expanded: 180, opened: 100 }, { expanded: 290, opened: 210 }];
    const covers = Float64Array.of(10, 300, 5000, -1, 320, 10, 7, 9);
    expect([...openedCovers(covers, segments)]).toEqual([10, 170, 5000, -1, 100, 130, 5170, -1, 240, 10, 7, 9]);
  });
});
