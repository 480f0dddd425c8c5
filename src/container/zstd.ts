import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { constants, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { createXXHash64 } from 'hash-wasm';
import type { IHasher } from 'hash-wasm';
import { CONTAINER_MAX_HELD } from '../core/limits.ts';
import { release } from '../kernel/heap.ts';
import { fitsDevice, zstdOf } from './coding.ts';

/**
 * Frames of Zstandard (RFC 8878) with the bytes of two libzstds, each pinned to the very version of the package that has it as WebAssembly:
 * what a level gives changes from version to version, not from processor to processor (docs/decisions/0041-xz-and-zstd.md).
 */

/** What is used of the packages. */
interface Libzstd {
  init(): Promise<void>;
  compress(content: Uint8Array, level: number): Uint8Array;
}

/** By `version` of a coding. */
const PACKAGES = ['zstd-wasm-155', 'zstd-wasm-157'] as const;
const load = createRequire(import.meta.url);

const libraries = new Map<number, Libzstd>();
const loading = new Map<number, Promise<void>>();
let hasher: IHasher | undefined;

/** Has to have been called before `zstdFrame`, for the version that is wanted: each has megabytes of memory of its own. */
export function loadZstd(version: 0 | 1): Promise<void> {
  const begun = loading.get(version) ?? begin(version);
  loading.set(version, begun);
  return begun;
}

async function begin(version: 0 | 1): Promise<void> {
  if (!hasZstd(version)) return;
  const [own, library] = [await createXXHash64(), load(PACKAGES[version]) as Libzstd];
  await library.init();
  hasher = own;
  libraries.set(version, library);
}

/** Whether there is a package that makes such frames. */
export function hasZstd(version: 0 | 1): boolean {
  return zstdHere(PACKAGES[version]);
}

function zstdHere(name: string): boolean {
  try {
    load.resolve(name);
    return true;
  } catch {
    // Not installed: such frames stay as they are here.
    return false;
  }
}

const CHECKSUM_BYTES = 4;
/** Frame header descriptor, the byte behind the magic number (RFC 8878, 3.1.1.1.1). */
const DESCRIPTOR_AT = 4;
const CHECKSUM_BIT = 4;

/** A frame of `content`, in memory of its own; undefined where nothing here makes it. Takes 1 to 100 ms for 128 KiB. */
export function zstdFrame(content: Uint8Array, coding: number): Uint8Array | undefined {
  const known = zstdOf(coding);
  const library = known === undefined ? undefined : libraries.get(known.version);
  if (known === undefined || library === undefined || hasher === undefined || known.level === 0 || !fitsDevice(coding, content.length)) return undefined;
  const frame = library.compress(content, known.level);
  if (!known.checksum) return frame;
  const out = Buffer.allocUnsafeSlow(frame.length + CHECKSUM_BYTES);
  out.set(frame);
  out[DESCRIPTOR_AT] = (out[DESCRIPTOR_AT] as number) | CHECKSUM_BIT;
  // The low half, little-endian, of a number that comes with its highest byte first.
  const sum = hasher.init().update(content).digest('binary');
  for (let n = 0; n < CHECKSUM_BYTES; n++) out[frame.length + n] = sum[sum.length - 1 - n] as number;
  release(frame);
  return out;
}

const decodeLater = promisify(zstdDecompress) as (bytes: Uint8Array, options: object) => Promise<Buffer>;
/** Decoding this much takes less than a millisecond. */
const AT_ONCE_BYTES = 128 * 1024;
/** Of 8 MiB: streams hold no more, and memory grows with it. */
const WINDOW_LOG_MAX = 23;

/** A buffer that is filled to its end gets another one of its size. */
const SPARE = 64;

function decodeOptions(held: number): object {
  return { maxOutputLength: held, chunkSize: held + SPARE, params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX } };
}

/** Decodes a frame into `out`, which it fills exactly. @returns false when `bytes` are no such frame */
export async function decodeZstd(bytes: Uint8Array, out: Uint8Array): Promise<boolean> {
  const options = decodeOptions(out.length);
  let content: Buffer;
  try {
    content = out.length <= AT_ONCE_BYTES ? zstdDecompressSync(bytes, options) : await decodeLater(bytes, options);
  } catch {
    // Whatever is wrong with it: it is no such frame.
    return false;
  }
  const fits = content.length === out.length;
  if (fits) out.set(content);
  // A base of 400 MB in blocks of 128 KiB would be as much garbage.
  dropBuffer(content);
  return fits;
}

/** Gives memory of its own back; small buffers share theirs. */
function dropBuffer(bytes: Uint8Array): void {
  if (bytes.buffer.byteLength > Buffer.poolSize) release(bytes);
}

/** A frame that was found, and how it is coded as far as it says so itself: the level of 3 is a guess. */
export interface FoundFrame {
  readonly size: number;
  readonly content: Uint8Array;
  readonly checksum: boolean;
}

const MAGIC = 0xfd2fb528;
const SINGLE_SEGMENT = 32;
const RESERVED_AND_DICTIONARY = 8 | 3;
const BLOCK_MAX = 128 * 1024;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** What the last frame held. */
let found = Buffer.alloc(0);

/** The frame that begins at `at`; undefined where none does that says how much it holds, or it holds too much. The content changes at the next call. */
export function zstdAt(whole: Buffer, at: number): FoundFrame | undefined {
  if (at + 9 > whole.length || whole.readUInt32LE(at) !== MAGIC) return undefined;
  const descriptor = whole[at + DESCRIPTOR_AT] as number;
  const single = (descriptor & SINGLE_SEGMENT) !== 0;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >>> 6] as number;
  let place = at + 5 + (single ? 0 : 1);
  if ((descriptor & RESERVED_AND_DICTIONARY) !== 0 || sizeBytes === 0 || place + sizeBytes > whole.length) return undefined;
  const held = sizeBytes === 8 ? Number(whole.readBigUInt64LE(place)) : whole.readUIntLE(place, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  if (held === 0 || held > CONTAINER_MAX_HELD) return undefined;
  place += sizeBytes;
  for (let last = false; !last;) {
    if (place + 3 > whole.length) return undefined;
    const head = whole.readUIntLE(place, 3);
    const [kind, bytes] = [(head >>> 1) & 3, head >>> 3];
    if (kind === RESERVED_BLOCK || bytes > BLOCK_MAX) return undefined;
    last = (head & 1) === 1;
    place += 3 + (kind === RLE_BLOCK ? 1 : bytes);
  }
  const checksum = (descriptor & CHECKSUM_BIT) !== 0;
  if (checksum) place += CHECKSUM_BYTES;
  if (place > whole.length) return undefined;
  try {
    const content = zstdDecompressSync(whole.subarray(at, place), decodeOptions(held));
    if (content.length !== held) return undefined;
    if (found.length < held) found = Buffer.allocUnsafeSlow(held);
    found.set(content);
    dropBuffer(content);
    return { size: place - at, content: found.subarray(0, held), checksum };
  } catch {
    // Looked like one and is none.
    return undefined;
  }
}
