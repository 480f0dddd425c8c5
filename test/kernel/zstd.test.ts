import { describe, expect, it } from 'vitest';
import { ZSTD_MAX_FRAMES } from '../../src/core/limits.ts';
import {
  type ZstdCompressOptions,
  zstdCompress,
  zstdCompressAsync,
  zstdDecompress,
  zstdDecompressAsync,
} from '../../src/kernel/zstd.ts';
import { zstdFrames } from '../../src/kernel/zstd-frame.ts';
import { loadNativeZstd } from '../../src/kernel/zstd-native.ts';
import { nodeZstd } from '../../src/kernel/zstd-node.ts';
import { fc } from '../support/property.ts';
import { randomBytes } from '../support/random.ts';

type Compress = (bytes: Uint8Array, options?: ZstdCompressOptions) => Uint8Array | Promise<Uint8Array>;

const native = loadNativeZstd();
const compressors = new Map<string, Compress>([
  ['chosen', zstdCompress],
  ['pool', zstdCompressAsync],
  ['node', (bytes, options = {}) => nodeZstd.compress(bytes, options)],
]);
if (typeof native !== 'string') compressors.set('native', (bytes, options = {}) => native.compress(bytes, options));

const decompressors = [
  ['at once', zstdDecompress],
  ['on the pool', zstdDecompressAsync],
] as const;

/** Text-like bytes, so that there is something to compress. */
const content = fc.array(fc.constantFrom('shoal', 'origin', 'gateway', 'device', '\n', '0123456789'), { maxLength: 400 });
const settings = fc.record(
  {
    level: fc.integer({ min: 1, max: 19 }),
    windowLog: fc.integer({ min: 10, max: 23 }),
    longDistance: fc.boolean(),
    // Shorter than 8 bytes zstd leaves a dictionary out, on both sides.
    dictionary: fc.uint8Array({ maxLength: 300 }),
  },
  { requiredKeys: [] },
);

function bytesOf(words: readonly string[]): Uint8Array {
  return new TextEncoder().encode(words.join(' '));
}

function cause(code: string): unknown {
  return expect.objectContaining({ code });
}

/** A frame without a stated size that holds `count` times 128 KiB of zeros in run-length blocks: 4 bytes each. */
function bomb(count: number): Uint8Array {
  // Magic; descriptor 0: window byte follows, no content size; window 2^17.
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (17 - 10) << 3];
  const block = (last: boolean): number[] => {
    const header = ((128 * 1024) << 3) | (1 << 1) | (last ? 1 : 0);
    return [header & 0xff, (header >>> 8) & 0xff, header >>> 16, 0];
  };
  return Uint8Array.from([...head, ...Array.from({ length: count }, (_, at) => block(at === count - 1)).flat()]);
}

describe.each([...compressors])('zstd written by the %s tier', (_, compress) => {
  it.each(decompressors)('comes back %s, one frame or several, whatever the settings', async (_name, decompress) => {
    await fc.assert(
      fc.asyncProperty(fc.array(content, { minLength: 1, maxLength: 4 }), settings, async (pieces, options) => {
        const plain = pieces.map(bytesOf);
        const frames = await Promise.all(plain.map(async (each) => compress(each, options as ZstdCompressOptions)));
        const whole = Buffer.concat(plain);
        const { dictionary } = options;
        const given = dictionary === undefined ? {} : { dictionary };
        const back = await decompress(Buffer.concat(frames), whole.length, given);
        expect(Buffer.compare(back, whole)).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  it('states the content size, so that a reader can refuse before it decompresses', async () => {
    const [frame] = zstdFrames(await compress(new Uint8Array(100_000)));
    expect(frame?.contentSize).toBe(100_000);
  });

  it('refers to a dictionary that begins like a structured one as raw bytes', async () => {
    const dictionary = Buffer.concat([Buffer.from([0x37, 0xa4, 0x30, 0xec]), randomBytes(4096)]);
    if (compress !== zstdCompress && compress !== zstdCompressAsync) return;
    const packed = await compress(dictionary.subarray(100, 3000), { dictionary });
    // 2,900 random bytes that are all in the dictionary cost a match or two.
    expect(packed.length).toBeLessThan(100);
    expect(Buffer.compare(zstdDecompress(packed, 2900, { dictionary }), dictionary.subarray(100, 3000))).toBe(0);
  });
});

describe.each(decompressors)('zstd from outside, read %s', (_, decompress) => {
  const run = async (bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> => decompress(bytes, maxBytes);

  it('accepts a result of exactly the limit and refuses one byte more', async () => {
    const packed = zstdCompress(new Uint8Array(1000));
    expect((await run(packed, 1000)).length).toBe(1000);
    await expect(run(packed, 999)).rejects.toEqual(cause('ZSTD_TOO_LARGE'));
    const two = Buffer.concat([packed, packed]);
    expect((await run(two, 2000)).length).toBe(2000);
    await expect(run(two, 1999)).rejects.toEqual(cause('ZSTD_TOO_LARGE'));
  });

  it('holds the limit when the frame does not state its size', async () => {
    expect((await run(bomb(8), 8 * 128 * 1024)).length).toBe(8 * 128 * 1024);
    await expect(run(bomb(8), 8 * 128 * 1024 - 1)).rejects.toEqual(cause('ZSTD_TOO_LARGE'));
    // 40 KB that claim 1.3 GB: the limit must hold before the memory is spent.
    const before = process.memoryUsage.rss();
    await expect(run(bomb(10_000), 1 << 20)).rejects.toEqual(cause('ZSTD_TOO_LARGE'));
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
  });

  it('refuses a frame that claims more than its blocks can hold', async () => {
    const packed = Uint8Array.from(zstdCompress(new Uint8Array(100_000)));
    // The 4-byte size field of a frame of this size lies behind magic and descriptor.
    new DataView(packed.buffer, packed.byteOffset).setUint32(5, 1 << 30, true);
    await expect(run(packed, 2 ** 31)).rejects.toEqual(cause('ZSTD_CORRUPT'));
  });

  it('refuses a window that the limit does not call for', async () => {
    const packed = bomb(1);
    packed[5] = (30 - 10) << 3;
    await expect(run(packed, 128 * 1024)).rejects.toEqual(cause('ZSTD_CORRUPT'));
  });

  it('refuses every cut of a valid stream, and bytes after its end', async () => {
    const packed = Buffer.concat([zstdCompress(bytesOf(['one'])), zstdCompress(randomBytes(300))]);
    const first = zstdFrames(packed)[0]?.end;
    for (let end = 0; end < packed.length; end += 1) {
      // The end of the first frame is the one place where a cut leaves a whole stream.
      if (end !== first) await expect(run(packed.subarray(0, end), 1000)).rejects.toEqual(cause('ZSTD_CORRUPT'));
    }
    await expect(run(Buffer.concat([packed, Buffer.from([0])]), 1000)).rejects.toEqual(cause('ZSTD_CORRUPT'));
  });

  it('skips skippable frames', async () => {
    const skip = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const packed = Buffer.concat([skip, zstdCompress(bytesOf(['one'])), skip]);
    expect(Buffer.from(await run(packed, 3)).toString()).toBe('one');
  });

  it('refuses more frames than anyone needs', async () => {
    const frame = zstdCompress(new Uint8Array(0));
    const frames = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => frame));
    expect((await run(frames(ZSTD_MAX_FRAMES), 0)).length).toBe(0);
    await expect(run(frames(ZSTD_MAX_FRAMES + 1), 0)).rejects.toEqual(cause('ZSTD_CORRUPT'));
  });

  it('answers damage with an error of its own, or with other bytes within the limit', async () => {
    const packed = zstdCompress(bytesOf(Array.from({ length: 300 }, (_x, at) => `shoal ${at * at}`)));
    await fc.assert(
      fc.asyncProperty(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const damaged = Uint8Array.from(packed);
        damaged[at] = (damaged[at] ?? 0) ^ flip;
        const outcome = await run(damaged, 20_000).catch((error: unknown) => error);
        if (outcome instanceof Uint8Array) expect(outcome.length).toBeLessThanOrEqual(20_000);
        else expect(['ZSTD_CORRUPT', 'ZSTD_TOO_LARGE']).toContain((outcome as { code?: string }).code);
      }),
      { numRuns: 300 },
    );
  });

  it.each([Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY])('refuses %d as a limit', async (limit) => {
    await expect(run(zstdCompress(new Uint8Array(1)), limit)).rejects.toEqual(cause('ZSTD_LIMIT'));
  });
});

it('decompresses noise into nothing but an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      expect(() => zstdFrames(Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), noise, noise]))).toSatisfy(
        (call: () => unknown) => {
          try {
            call();
            return true;
          } catch (error) {
            return (error as { code?: string }).code === 'ZSTD_CORRUPT';
          }
        },
      );
    }),
    { numRuns: 500 },
  );
});
