import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { otherPair } from '../../fixtures/container/image.ts';
import { content } from '../../fixtures/container/inputs.ts';
import type { ContentKind } from '../../fixtures/container/inputs.ts';
import { random } from '../../fixtures/delta/inputs.ts';
import { compressStreams, decodeStream, requireCodecs } from '../../src/container/codec.ts';
import { familyOf, paceOf, readOnly, xzCoding, xzOf, zstdCoding, zstdOf } from '../../src/container/coding.ts';
import { findStreams } from '../../src/container/find.ts';
import { otherAt } from '../../src/container/others.ts';
import { proveStreams } from '../../src/container/prove.ts';
import { NO_STREAMS, StreamList } from '../../src/container/streams.ts';
import { withoutSizes } from '../../src/container/xz-format.ts';
import { decodeXz, loadXz, xzStream } from '../../src/container/xz.ts';
import { hasZstd, loadZstd, zstdFrame } from '../../src/container/zstd.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { deltaFileParts } from '../../src/delta/file.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { DeltaInput } from '../../src/delta/making/made.ts';
import { blake3 } from '../../src/kernel/hash.ts';
import { fc } from '../support/property.ts';
import { rebuild } from '../support/rebuild.ts';

// Packages that a checkout has, and an installation may lack.
const haveXz = await loadXz();
await Promise.all([loadZstd(0), loadZstd(1)]);
const haveZstd = hasZstd(0) && hasZstd(1);

type Golden = readonly [tool: 'xz' | 'zstd', kind: ContentKind, seed: number, size: number, effort: number, length: number, sha256: string];
const golden = JSON.parse(readFileSync(new URL('../../fixtures/container/others.json', import.meta.url), 'utf8')) as readonly Golden[];
const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
const input = (bytes: Uint8Array): DeltaInput => ({ root: idFromBytes(blake3(bytes)), bytes });
const streamed = { dictionary: 10, check: 1, lc: 3, lp: 0, pb: 2, filter: 0, sizes: false };

describe('compressors beside deflate', () => {
  test.skipIf(!haveXz)('xz: the bytes of liblzma 5.4.1, at every preset', () => {
    const wrong = golden.filter(([tool, kind, seed, size, effort, length, sha256]) => {
      const made = tool === 'xz' ? xzStream(content(seed, size, kind), xzCoding({ effort, ...streamed })) : undefined;
      return tool === 'xz' && (made?.length !== length || hash(made) !== sha256);
    });
    expect(wrong).toEqual([]);
  });

  test.skipIf(!haveZstd)('zstd: the bytes of libzstd 1.5.4, with and without a checksum', () => {
    const wrong = golden.filter(([tool, kind, seed, size, level, length, sha256]) => {
      const made = tool === 'zstd' ? zstdFrame(content(seed, size, kind), zstdCoding({ level, version: 0, checksum: true })) : undefined;
      return tool === 'zstd' && (made?.length !== length || hash(made) !== sha256);
    });
    expect(wrong).toEqual([]);
  });

  test.skipIf(!haveZstd || !haveXz)('what made a stream is found out, and it comes out of what it holds again', async () => {
    const data = content(4, 60_000, 'records');
    const codings = [
      zstdCoding({ level: 19, version: 0, checksum: false }), zstdCoding({ level: 19, version: 1, checksum: true }), zstdCoding({ level: 1, version: 0, checksum: true }),
      xzCoding({ effort: 7, ...streamed, sizes: true }), xzCoding({ effort: 9, ...streamed, check: 10 }), xzCoding({ effort: 7, ...streamed, check: 4, filter: 4 }), xzCoding({ effort: 5, ...streamed, check: 0, lc: 0, lp: 2 }),
    ];
    const streams = codings.map((coding) => Buffer.from((familyOf(coding) === 'xz' ? xzStream : zstdFrame)(data, coding) ?? []));
    const whole = Buffer.concat(streams.flatMap((stream, n) => [content(n, 100 + n, 'noise'), stream]));
    const found = await findStreams(whole);
    expect([...found.size]).toEqual(streams.map(({ length }) => length));
    expect([...found.held]).toEqual(streams.map(() => data.length));
    const { coding } = await proveStreams(whole, found, () => true);
    for (const [n, stream] of streams.entries()) {
      const out = Buffer.alloc(stream.length);
      expect(await compressStreams(data, Uint32Array.of(data.length), Uint32Array.of(coding[n] as number), out, Uint32Array.of(stream.length))).toEqual([true]);
      expect(out.equals(stream)).toBe(true);
      const back = Buffer.alloc(data.length);
      expect(await decodeStream(stream, readOnly(coding[n] as number), back)).toBe(true);
      expect(back.equals(data)).toBe(true);
    }
    // In their places among deflate streams, and too small a place is noticed.
    const out = Buffer.alloc((streams[0]?.length ?? 0) + 10);
    expect(await compressStreams(data, Uint32Array.of(data.length), Uint32Array.of(coding[0] as number), out, Uint32Array.of(out.length))).toEqual([false]);
  });

  test.skipIf(!haveZstd || !haveXz)('a delta between images of such streams is one of what they hold', async () => {
    const { base, target } = otherPair();
    const ends = [40_000, 80_000, target.length].filter((end, n, all) => end <= target.length && end > (all[n - 1] ?? 0));
    const made = await makeDelta(input(base), input(target), ends);
    const plain = await makeDelta(input(base), input(target), ends, { containers: false });
    expect(new Set(Array.from(made.manifest.views?.target.coding ?? [], familyOf))).toEqual(new Set(['deflate', 'zstd', 'xz']));
    expect(made.bytes).toBeLessThan(plain.bytes / 2);
    expect((await rebuild(Buffer.concat([...deltaFileParts(made)]), base)).equals(target)).toBe(true);
    expect(made.census.unmade).toEqual({});
  });

  test.skipIf(!haveZstd || !haveXz)('a golden file goes on being applied', async () => {
    const { base, target } = otherPair();
    const file = readFileSync(new URL('../../fixtures/container/golden-2-others.delta', import.meta.url));
    expect((await rebuild(file, base)).equals(target)).toBe(true);
  });

  test.skipIf(!haveZstd || !haveXz)('whatever bytes say, looking at them and decoding them ends well', async () => {
    const data = content(5, 9000, 'copies');
    const streams = [zstdFrame(data, zstdCoding({ level: 3, version: 0, checksum: true })), xzStream(data, xzCoding({ effort: 7, ...streamed, sizes: true }))].map((stream) => Buffer.from(stream ?? []));
    await fc.assert(fc.asyncProperty(fc.constantFrom(...streams), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), fc.nat({ max: 9000 }), async (stream, edits, cut) => {
      const bytes = Buffer.from(stream.subarray(0, cut > stream.length ? stream.length : cut));
      for (const [at, value] of edits) if (bytes.length > 0) bytes[edits.length === 3 ? at % Math.min(40, bytes.length) : at % bytes.length] = value;
      const found = bytes.length > 0 ? otherAt(bytes, 0) : undefined;
      if (found !== undefined) expect(found.size).toBeLessThanOrEqual(bytes.length);
      const out = Buffer.alloc(data.length);
      for (const coding of [readOnly(zstdCoding({ level: 3, version: 0, checksum: true })), readOnly(xzCoding({ effort: 7, ...streamed }))]) {
        if (await decodeStream(bytes, coding, out) && edits.length === 0) expect(out.equals(data)).toBe(true);
      }
      withoutSizes(bytes);
    }), { numRuns: 300 });
  });

  test.skipIf(!haveZstd)('blocks of zstd leave no buffers behind them, to decode and to compress: a device has no memory for an image of them', async () => {
    const data = content(6, 128 * 1024, 'records');
    const coding = zstdCoding({ level: 1, version: 0, checksum: true });
    const frame = Buffer.from(zstdFrame(data, coding) ?? []);
    const [back, out] = [Buffer.alloc(data.length), Buffer.alloc(frame.length)];
    const before = process.memoryUsage().arrayBuffers;
    // 25 MiB of content, which V8 does not see as a reason to collect where it is told to expect large buffers.
    for (let n = 0; n < 200; n++) {
      expect(await decodeStream(frame, readOnly(coding), back)).toBe(true);
      expect(await compressStreams(data, Uint32Array.of(data.length), Uint32Array.of(coding), out, Uint32Array.of(out.length))).toEqual([true]);
    }
    expect(back.equals(data)).toBe(true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 2 ** 20);
  });

  test.skipIf(!haveXz)('heads of xz without sizes are ones that liblzma reads', () => {
    const next = random(3);
    for (const size of [1, 5, 1000, 40_000, 300_000]) {
      const data = content(next(), size, size === 1000 ? 'noise' : 'copies');
      for (const filter of [0, 4, 7]) {
        const whole = Buffer.from(xzStream(data, xzCoding({ effort: 3, ...streamed, filter, sizes: true })) ?? []);
        const without = withoutSizes(whole) ?? whole;
        expect(without.length).toBeLessThanOrEqual(whole.length);
        expect(Buffer.from(withoutSizes(without) ?? []).equals(without)).toBe(true);
        const back = Buffer.alloc(size);
        expect(decodeXz(without, back)).toBe(true);
        expect(back.equals(data)).toBe(true);
      }
    }
  });

  test('a coding is one number, and every number is one coding or none', () => {
    fc.assert(fc.property(fc.nat(2 ** 32 - 1), (coding) => {
      const zstd = zstdOf(coding);
      const xz = xzOf(coding);
      expect(zstd === undefined || xz === undefined).toBe(true);
      if (zstd !== undefined) expect(zstdCoding(zstd)).toBe(coding);
      if (xz !== undefined) expect(xzCoding(xz)).toBe(coding);
      if (familyOf(coding) !== undefined) expect(familyOf(readOnly(coding))).toBe(familyOf(coding));
      expect(paceOf(readOnly(coding))).toBe(0);
    }));
  });

  test('a delta that needs what is not installed is refused before anything of it is fetched', async () => {
    const list = new StreamList();
    list.add(0, 100, 1000, xzCoding({ effort: 7, ...streamed }));
    const views = { base: NO_STREAMS, target: list.end() };
    if (haveXz) await expect(requireCodecs(views)).resolves.toBeUndefined();
    else await expect(requireCodecs(views)).rejects.toThrow('node-liblzma');
  });
});
