import { constants, deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { compressible, image } from '../../fixtures/container/image.ts';
import { relinked } from '../../fixtures/delta/inputs.ts';
import { adviceFor } from '../../src/container/advise.ts';
import { idFromBytes } from '../../src/core/ids.ts';
import { bytesIfMade } from '../../src/delta/making/if-made.ts';
import { makeDelta } from '../../src/delta/making/make.ts';
import type { DeltaInput } from '../../src/delta/making/made.ts';
import { blake3 } from '../../src/kernel/hash.ts';

const nothing = { found: 0, unchanged: 0, made: 0 };

/** The first bytes of a squashfs of version 4 (docs of the kernel: filesystems/squashfs), and something behind them. */
function squashfs(compressor: number, size = 5000): Buffer {
  const head = Buffer.alloc(size, 7);
  head.write('hsqs', 0, 'latin1');
  head.writeUInt32LE(131_072, 12);
  head.writeUInt16LE(compressor, 20);
  head.writeUInt16LE(17, 22);
  head.writeUInt16LE(4, 28);
  head.writeUInt16LE(0, 30);
  head.writeBigUInt64LE(BigInt(size), 40);
  return head;
}

describe('advice to publishers', () => {
  test('a squashfs that no delta can look into is named, wherever it lies', () => {
    const image = Buffer.concat([Buffer.alloc(700), squashfs(4)]);
    expect(adviceFor(image, nothing)).toMatchObject({ bytes: 5000, text: expect.stringContaining('compressed with xz') as string });
    expect(adviceFor(squashfs(6), nothing)?.text).toContain('zstd');
    expect(adviceFor(squashfs(1), { found: 4900, unchanged: 0, made: 4900 })).toBeUndefined();
  });

  test('so are streams of other programs and whole compressed files', () => {
    expect(adviceFor(Buffer.alloc(10_000), { found: 8000, unchanged: 1000, made: 500 })).toMatchObject({ bytes: 6500 });
    expect(adviceFor(Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(900)]), nothing)?.text).toContain('xz');
    expect(adviceFor(Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(900)]), nothing)?.text).toContain('longer than the 8 MiB');
  });

  test('what following it would bring is near what the delta of the same content has that zlib compressed', async () => {
    const before = compressible(1, 200_000);
    const after = relinked(2, before, 12);
    const pack = (content: Uint8Array, compress: (piece: Uint8Array) => Uint8Array): Buffer => Buffer.concat(Array.from({ length: 12 }, (_, n) => compress(content.subarray(n * 16_384, (n + 1) * 16_384))));
    const fixed = (piece: Uint8Array): Uint8Array => deflateSync(piece, { level: 9, strategy: constants.Z_FIXED });
    const zlib = (piece: Uint8Array): Uint8Array => image([{ bytes: piece, level: 9 }]);
    const input = (bytes: Buffer): DeltaInput => ({ root: idFromBytes(blake3(bytes)), bytes });
    const [old, next] = [input(pack(before, fixed)), input(pack(after, fixed))];
    const made = await makeDelta(old, next, [next.bytes.length]);
    expect(made.census).toMatchObject({ unchanged: 0, made: 0 });
    const best = await makeDelta(input(pack(before, zlib)), input(pack(after, zlib)), [pack(after, zlib).length]);
    const said = (await bytesIfMade(old, next)) ?? 0;
    expect(said).toBeLessThan(made.bytes / 4);
    expect(said).toBeGreaterThan(best.bytes / 2);
    expect(said).toBeLessThan(best.bytes * 1.2);
    // No more memory than there is.
    expect(await bytesIfMade(old, next, { indexBytes: 300_000 })).toBeUndefined();
  });

  test('what only looks like a head says nothing', () => {
    const noise = Buffer.alloc(3000, 'hsqs');
    expect(adviceFor(noise, nothing)).toBeUndefined();
    expect(adviceFor(Buffer.alloc(0), nothing)).toBeUndefined();
    expect(adviceFor(squashfs(4).subarray(0, 90), nothing)).toBeUndefined();
    // A size that goes beyond the end.
    const cut = squashfs(4).subarray(0, 4000);
    expect(adviceFor(cut, nothing)).toBeUndefined();
  });
});
