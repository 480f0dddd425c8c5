import { describe, expect, test } from 'vitest';
import { adviceFor } from '../../src/container/advise.ts';

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
