import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createXXHash64 } from 'hash-wasm';
import type { IHasher } from 'hash-wasm';
import { CONTAINER_MAX_HELD, CONTAINER_MAX_SIZE } from '../core/limits.ts';
import { fitsDevice, zstdOf } from './coding.ts';

/**
 * Frames of Zstandard (RFC 8878) with the bytes of two libzstds, each pinned to the very version of the package that has it as WebAssembly:
 * what a level gives changes from version to version, not from processor to processor (docs/decisions/0041-xz-and-zstd.md). Frames are decoded there as
 * well, in memory that stays: Node's decoder makes a context for each frame that only its garbage collector gives back, 6 KiB a frame.
 */

/** What is used of the packages: libzstd's own functions on memory of its own, where pointers and sizes are 32 bits. Below 0: it failed. */
interface Libzstd {
  readonly memory: () => Uint8Array;
  readonly malloc: (size: number) => number;
  readonly free: (at: number) => void;
  readonly compress: (out: number, outSize: number, input: number, inputSize: number, level: number) => number;
  readonly decompress: (out: number, outSize: number, input: number, inputSize: number) => number;
}

/** As the packages have them. */
interface Foxglove {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(at: number): void;
  _compress(out: number, outSize: number, input: number, inputSize: number, level: number): number;
  _decompress(out: number, outSize: number, input: number, inputSize: number): number;
}
interface Bokuweb {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(at: number): void;
  _ZSTD_compress(out: number, outSize: number, input: number, inputSize: number, level: number): number;
  _ZSTD_decompress(out: number, outSize: number, input: number, inputSize: number): number;
}

const load = createRequire(import.meta.url);

/** A file beside a package's main one: that hands out copies, and what is wanted is its memory. */
function beside(name: string, file: string): string {
  return join(dirname(load.resolve(name)), file);
}

/** By `version` of a coding. */
const PACKAGES: readonly { readonly name: string; readonly open: (name: string) => Promise<Libzstd> }[] = [
  {
    name: 'zstd-wasm-154',
    open: async (name) => {
      const own = await (load(beside(name, 'wasm-zstd.js')) as () => Promise<Foxglove>)();
      return { memory: () => own.HEAPU8, malloc: own._malloc, free: own._free, compress: own._compress, decompress: own._decompress };
    },
  },
  {
    name: 'zstd-wasm-157',
    open: async (name) => {
      await (load(name) as { init(): Promise<void> }).init();
      const own = (load(beside(name, 'module.js')) as { readonly Module: Bokuweb }).Module;
      return { memory: () => own.HEAPU8, malloc: own._malloc, free: own._free, compress: own._ZSTD_compress, decompress: own._ZSTD_decompress };
    },
  },
];

/** A libzstd, and a place in its memory for content and one for a frame: larger ones are made when they are needed. */
class Library {
  readonly #own: Libzstd;
  #content = 0;
  #frame = 0;
  #contentBytes = 0;

  constructor(own: Libzstd) {
    this.#own = own;
  }

  /** The bytes change at the next call. */
  compress(content: Uint8Array, level: number): Uint8Array | undefined {
    this.#makeRoom(content.length);
    this.#own.memory().set(content, this.#content);
    return this.#result(this.#frame, this.#own.compress(this.#frame, frameBound(this.#contentBytes), this.#content, content.length, level));
  }

  /** What `frame` holds, `held` bytes at most. The bytes change at the next call. */
  decompress(frame: Uint8Array, held: number): Uint8Array | undefined {
    this.#makeRoom(Math.max(frame.length, held));
    this.#own.memory().set(frame, this.#frame);
    return this.#result(this.#content, this.#own.decompress(this.#content, held, this.#frame, frame.length));
  }

  #result(at: number, bytes: number): Uint8Array | undefined {
    return bytes < 0 ? undefined : this.#own.memory().subarray(at, at + bytes);
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#contentBytes) return;
    if (this.#contentBytes > 0) for (const at of [this.#content, this.#frame]) this.#own.free(at);
    this.#contentBytes = 0;
    const rounded = Math.ceil(bytes / ROOM_STEP) * ROOM_STEP;
    [this.#content, this.#frame] = [this.#own.malloc(rounded), this.#own.malloc(frameBound(rounded) + CHECKSUM_BYTES)];
    if (this.#content === 0 || this.#frame === 0) throw new RangeError('libzstd has no more memory');
    this.#contentBytes = rounded;
  }
}

const ROOM_STEP = 128 * 1024;

/** At least `ZSTD_compressBound`: no frame of so much content is longer. */
function frameBound(held: number): number {
  return held + (held >>> 8) + 1024;
}

const libraries = new Map<number, Library>();
const loading = new Map<number, Promise<void>>();
let hasher: IHasher | undefined;

/** Has to have been called before `zstdFrame`, for the version that is wanted: each has megabytes of memory of its own. */
export function loadZstd(version: 0 | 1): Promise<void> {
  const begun = loading.get(version) ?? begin(version);
  loading.set(version, begun);
  return begun;
}

/** Has to have been called before `zstdAt` and `decodeZstd`: any version reads all frames, and one is enough. */
export async function loadAnyZstd(): Promise<void> {
  await Promise.all(loading.values());
  if (libraries.size === 0) for (const version of [0, 1] as const) if (libraries.size === 0) await loadZstd(version);
}

async function begin(version: 0 | 1): Promise<void> {
  if (!hasZstd(version)) return;
  const { name, open } = packageOf(version);
  const [own, library] = [await createXXHash64(), await open(name)];
  hasher = own;
  libraries.set(version, new Library(library));
}

function packageOf(version: 0 | 1): (typeof PACKAGES)[number] {
  return PACKAGES[version] as (typeof PACKAGES)[number];
}

/** Whether there is a package that makes such frames. */
export function hasZstd(version: 0 | 1): boolean {
  try {
    load.resolve(packageOf(version).name);
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

/** A frame of `content`; undefined where nothing here makes it. Takes 1 to 100 ms for 128 KiB. The bytes change at the next call of this library. */
export function zstdFrame(content: Uint8Array, coding: number): Uint8Array | undefined {
  const known = zstdOf(coding);
  const library = known === undefined ? undefined : libraries.get(known.version);
  if (known === undefined || library === undefined || hasher === undefined || known.level === 0 || !fitsDevice(coding, content.length)) return undefined;
  const frame = library.compress(content, known.level);
  if (frame === undefined || !known.checksum) return frame;
  // There is room behind it.
  const out = new Uint8Array(frame.buffer, frame.byteOffset, frame.length + CHECKSUM_BYTES);
  out[DESCRIPTOR_AT] = (out[DESCRIPTOR_AT] as number) | CHECKSUM_BIT;
  // The low half, little-endian, of a number that comes with its highest byte first.
  const sum = hasher.init().update(content).digest('binary');
  for (let n = 0; n < CHECKSUM_BYTES; n++) out[frame.length + n] = sum[sum.length - 1 - n] as number;
  return out;
}

/** Decodes a frame into `out`, which it fills exactly. @returns false when `bytes` are no such frame, or nothing here decodes it */
export function decodeZstd(bytes: Uint8Array, out: Uint8Array): boolean {
  const content = decoded(bytes, out.length);
  if (content?.length !== out.length) return false;
  out.set(content);
  return true;
}

/** What a frame holds, `held` bytes at most. The bytes change at the next call. */
function decoded(bytes: Uint8Array, held: number): Uint8Array | undefined {
  const [library] = libraries.values();
  return bytes.length > CONTAINER_MAX_SIZE || held > CONTAINER_MAX_HELD ? undefined : library?.decompress(bytes, held);
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
  const content = decoded(whole.subarray(at, place), held);
  return content?.length === held ? { size: place - at, content, checksum } : undefined;
}
