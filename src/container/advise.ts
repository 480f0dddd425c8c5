import { CONTAINER_MAX_HELD } from '../core/limits.ts';
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

/** What is in the way of a small delta to `target`, the largest part of it; undefined when nothing is. */
export function adviceFor(target: Uint8Array, { found, unchanged, made }: StreamCensus): Advice | undefined {
  const bytes = Buffer.from(target.buffer, target.byteOffset, target.byteLength);
  const unmade = found - unchanged - made;
  const all: Advice[] = [
    ...squashfsOf(bytes),
    ...(unmade > 0 ? [{ bytes: unmade, text: 'These deflate streams were not made by zlib, and no other program\'s can be made again on a device. Compress with zlib, as mksquashfs and Python do, or leave them uncompressed.' }] : []),
  ];
  const whole = WHOLE.find(({ head }) => bytes.subarray(0, head.length).equals(head));
  // A gzip stream that is short enough has been looked into.
  if (whole !== undefined && found < bytes.length / 2) {
    all.push({ bytes: bytes.length, text: `It is one ${whole.name} stream${whole.name === 'gzip' ? `, longer than the ${String(CONTAINER_MAX_HELD / 2 ** 20)} MiB that a device can make again` : ', which no device makes again'}. Publish it uncompressed: content is compressed on its way, and deltas are of what changed.` });
  }
  const largest = all.reduce<Advice | undefined>((most, each) => (most === undefined || each.bytes > most.bytes ? each : most), undefined);
  return largest !== undefined && largest.bytes >= LEAST_SHARE * bytes.length ? largest : undefined;
}

/** Squashfs images that are compressed with something else than gzip. */
function squashfsOf(bytes: Buffer): readonly Advice[] {
  const sizes = new Map<string, number>();
  for (let at = bytes.indexOf('hsqs'); at >= 0 && at + 96 <= bytes.length; ) {
    const name = COMPRESSORS[bytes.readUInt16LE(at + 20)];
    const used = Number(bytes.readBigUInt64LE(at + 40));
    // Version 4.0, and a block size that agrees with its logarithm.
    const real = bytes.readUInt32LE(at + 28) === 4 && bytes.readUInt32LE(at + 12) === 2 ** bytes.readUInt16LE(at + 22) && used > 96 && used <= bytes.length - at;
    if (real && name !== undefined) sizes.set(name, (sizes.get(name) ?? 0) + used);
    at = bytes.indexOf('hsqs', at + (real ? used : 4));
  }
  return Array.from(sizes, ([name, used]) => ({ bytes: used, text: `It is a squashfs compressed with ${name}, which no device makes again. Built with mksquashfs -comp gzip, deltas would be of what its files hold.` }));
}
