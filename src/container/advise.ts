import { CONTAINER_MAX_HELD } from '../core/limits.ts';
import type { Family } from './coding.ts';
import type { StreamCensus } from './expand.ts';

/** How a publisher could build an artifact so that its deltas become small. */
export interface Advice {
  /** A sentence or two. */
  readonly text: string;
  /** Bytes of the artifact that no delta can look into as they are. */
  readonly bytes: number;
  /** What the delta would take if it were followed, where that can be said. */
  readonly deltaBytes?: number;
}

const COMPRESSORS: Readonly<Record<number, string>> = { 2: 'lzma', 3: 'lzo', 4: 'xz', 5: 'lz4', 6: 'zstd' };
/** Streams that are an artifact's beginning, and so probably all of it. */
const WHOLE: readonly { readonly head: Buffer; readonly name: string }[] = [
  { head: Buffer.from([0x1f, 0x8b, 8]), name: 'gzip' },
  { head: Buffer.from('fd377a585a00', 'hex'), name: 'xz' },
  { head: Buffer.from('28b52ffd', 'hex'), name: 'zstd' },
  { head: Buffer.from('BZh'), name: 'bzip2' },
];
/** Less is not worth a sentence. */
const LEAST_SHARE = 0.1;

/** What to do about streams that can be read and not made again. */
const UNMADE: Readonly<Record<Family, string>> = {
  deflate: 'These deflate streams were not made by zlib or GNU gzip, and no other program\'s can be made again on a device. Compress with zlib, as mksquashfs and Python do, or leave them uncompressed.',
  zstd: 'These zstd frames come out otherwise from libzstd 1.5.4 and 1.5.7, the two that a device has: levels 5 to 10 depend on the processor and the version, others on the version. Compress with 1.5.4, 1.5.5 or 1.5.7 at level 15 (mksquashfs -comp zstd), 3 or 19, or with gzip.',
  xz: 'These xz streams come out otherwise from liblzma with its presets. Compress with liblzma at one of them, as mksquashfs -comp xz does, or with gzip.',
};

/** What is in the way of a small delta to `target`, the largest part of it; undefined when nothing is. */
export function adviceFor(target: Uint8Array, { found, unchanged, made, unmade = { deflate: found - unchanged - made } }: StreamCensus): Advice | undefined {
  const bytes = Buffer.from(target.buffer, target.byteOffset, target.byteLength);
  const all: Advice[] = [
    ...squashfsOf(bytes, found),
    ...(['deflate', 'zstd', 'xz'] as const).flatMap((family) => ((unmade[family] ?? 0) > 0 ? [{ bytes: unmade[family] ?? 0, text: UNMADE[family] }] : [])),
  ];
  const whole = WHOLE.find(({ head }) => bytes.subarray(0, head.length).equals(head));
  // A gzip stream that is short enough has been looked into.
  if (whole !== undefined && found < bytes.length / 2) {
    all.push({ bytes: bytes.length, text: `It is one ${whole.name} stream${whole.name === 'gzip' ? `, longer than the ${String(CONTAINER_MAX_HELD / 2 ** 20)} MiB that a device can make again` : ', longer than what a device makes again'}. Publish it uncompressed: content is compressed on its way, and deltas are of what changed.` });
  }
  const largest = all.reduce<Advice | undefined>((most, each) => (most === undefined || each.bytes > most.bytes ? each : most), undefined);
  return largest !== undefined && largest.bytes >= LEAST_SHARE * bytes.length ? largest : undefined;
}

/** Compressors that a device can have: what is not looked into of these lacks something that can be installed. */
const INSTALLED: Readonly<Record<string, string>> = {
  xz: 'With node-liblzma 5.1.3 installed beside shoal, here and on devices, or built with mksquashfs -comp gzip, deltas are of what its files hold (blocks of at most 1 MiB).',
  zstd: 'With the packages that npm left out installed, or built with mksquashfs -comp gzip, deltas are of what its files hold.',
};

/** Squashfs images that are compressed with something else than gzip; `found` bytes of whatever was looked into. */
function squashfsOf(bytes: Buffer, found: number): readonly Advice[] {
  const sizes = new Map<string, number>();
  for (let at = bytes.indexOf('hsqs'); at >= 0 && at + 96 <= bytes.length; ) {
    const name = COMPRESSORS[bytes.readUInt16LE(at + 20)];
    const used = Number(bytes.readBigUInt64LE(at + 40));
    // Version 4.0, and a block size that agrees with its logarithm.
    const real = bytes.readUInt32LE(at + 28) === 4 && bytes.readUInt32LE(at + 12) === 2 ** bytes.readUInt16LE(at + 22) && used > 96 && used <= bytes.length - at;
    if (real && name !== undefined) sizes.set(name, (sizes.get(name) ?? 0) + used);
    at = bytes.indexOf('hsqs', at + (real ? used : 4));
  }
  return Array.from(sizes, ([name, used]) => {
    const instead = INSTALLED[name] ?? 'No device makes that again. Built with mksquashfs -comp gzip, deltas would be of what its files hold.';
    return { bytes: INSTALLED[name] === undefined ? used : Math.max(0, used - found), text: `It is a squashfs compressed with ${name}, which was not looked into. ${instead}` };
  });
}
