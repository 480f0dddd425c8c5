import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { firstLine, forcedTier, type Tier, unavailable } from './choice.ts';

/** What a build of this very source exports; see `kAbi` in native/addon.cc. */
const ABI = 16;

/** A native object, and nothing else will do. */
export interface NativeShifts {
  readonly native: 'shoal_delta_shifts';
}

/** The functions of native/addon.cc. Each kernel's TypeScript side adds what it uses. */
export interface NativeAddon {
  abi(): number;
  /** See native/chunk/chunk.h; `isa` is one of its instruction sets. Returns how many `cuts` it wrote. */
  chunkCuts(data: Uint8Array, min: number, avg: number, max: number, final: boolean, cuts: Uint32Array, isa: number): number;
  /** Bit n is set when instruction set n can run here. */
  chunkIsas(): number;
  /**
   * BLAKE3-256 of pieces of `lengths` that lie one after another in `data`, 32 bytes each in `out`; `isa` is one of
   * native/hash/hash.h. With `later` on a thread of the pool: nobody touches the buffers until the answer. Returns a status.
   */
  hashPieces(data: Uint8Array, lengths: Uint32Array, out: Uint8Array, isa: number, later: false): number;
  hashPieces(data: Uint8Array, lengths: Uint32Array, out: Uint8Array, isa: number, later: true): Promise<number>;
  /** Bit n is set when instruction set n of native/hash/hash.h can run here. */
  hashIsas(): number;
  /** See native/walk/walk.h. Bytes in use, chunks found, whether the file has ended; or a status. Nobody touches the buffers meanwhile. */
  walkChunks(fd: number, position: number, buffer: Uint8Array, filled: number, min: number, avg: number, max: number, cuts: Uint32Array, hashes: Uint8Array): Promise<Float64Array | number>;
  /** See native/walk/walk.h. Bytes read, or a status below 0. Nobody touches `into` and `hashes` meanwhile. */
  walkPieces(fd: number, position: number, into: Uint8Array, lengths: Uint32Array, medium: boolean, hashes: Uint8Array): Promise<number>;
  /** The covers of a map page, each target, length, base, fill; or a status of native/delta/delta.h. */
  deltaDecodePage(page: Uint8Array, begin: number, end: number, baseSize: number, covers: number): Promise<Float64Array | number>;
  /**
   * What to read of a base for the prediction of the segment that begins at `begin`, whose runs and zeros it writes into `into`:
   * pieces; reads (native/delta/plan.h); copies, for `deltaCopy`. Or a status. Nobody touches the buffers meanwhile.
   */
  deltaPlan(covers: Float64Array, begin: number, into: Uint8Array): Promise<readonly [Uint32Array, Float64Array, Uint32Array] | number>;
  /** Copies from `window` into `into` what the numbers of `copies` from `from` up to `to` say. */
  deltaCopy(window: Uint8Array, into: Uint8Array, copies: Uint32Array, from: number, to: number): void;
  /** Where places of a base went, of the covers of all pages: for `deltaDecodeSegment`. Or a status. */
  deltaShifts(pages: readonly Float64Array[], baseSize: number): Promise<NativeShifts | number>;
  /** Corrects `buffer` in place; `pieces` are length, kind, lower and upper half of the base position of each. Returns a status. Nobody else touches the buffers meanwhile. */
  deltaDecodeSegment(codec: number, payload: Uint8Array, buffer: Uint8Array, origin: number, pieces: Uint32Array, shifts: NativeShifts | undefined): Promise<number>;
  /**
   * What a payload's bytes are spent on: bits for each stretch of the segment that ends at one of `ends`, four by kind of piece, and
   * last those of rules; or a status. The other arguments are those of `deltaDecodeSegment`; `buffer` becomes `target`.
   */
  deltaSpent(codec: number, payload: Uint8Array, buffer: Uint8Array, origin: number, pieces: Uint32Array, shifts: NativeShifts | undefined, target: Uint8Array, ends: Uint32Array): Promise<Float64Array | number>;
  /** `units` are the ends of units, empty when there are none. `control[0]`: progress, of about three times the target; `control[1]`: not 0 cancels. `skips`: begins and ends of base bytes that the index leaves out. `lookBack`: covers may show earlier segments, behind the base's end. Segments, pages, payloads, map; or a status. */
  deltaEncode(base: Uint8Array, target: Uint8Array, ends: Float64Array, units: Float64Array, memoryCap: number, segmentPayload: number, threads: number, control: BigUint64Array, begins: Float64Array, streams: Float64Array, plain: boolean, skips: Float64Array, lookBack: boolean): Promise<readonly [Float64Array, Float64Array, Uint8Array, Uint8Array] | number>;
  /**
   * Deflate as zlib makes it (native/deflate/deflate.h) of streams of `sizes` that lie one after another in `data`, each at the
   * beginning of its own of `rooms` in `out`; `settings` are level + 16 × memory level + 256 with zlib's head and checksum. Writes
   * what each took into `made`, 2^32 − 1 where there was no room. `work`: 2 MiB of a buffer of their own. Returns a status. Nobody touches the buffers meanwhile.
   */
  deflateStreams(data: Uint8Array, sizes: Uint32Array, out: Uint8Array, rooms: Uint32Array, settings: Uint16Array, made: Uint32Array, work: Uint8Array): Promise<number>;
  /** Decodes raw deflate that fills `out` exactly. With `later` on a thread of the pool: nobody touches the buffers until the answer. Returns a status. */
  inflate(data: Uint8Array, out: Uint8Array, later: false): number;
  inflate(data: Uint8Array, out: Uint8Array, later: true): Promise<number>;
  /**
   * Decodes the stream that `data` begins with, raw deflate or with `zlib` around it, into `out` (at most 8 MiB), whatever follows. `found`: what it takes
   * and what it holds. Returns a status; not 0 as well where `out` is too short, or zlib's checksum is wrong.
   */
  inflateFirst(data: Uint8Array, out: Uint8Array, zlib: boolean, found: Uint32Array): number;
  /** From now on memory that is freed goes back to the system, where the C library would keep it for the next time. */
  returnMemory(): void;
  /** `size` bytes, more than 0, of a file that is made at `path` and has no name afterwards (native/scratch/scratch.h); or why not. */
  scratchMemory(path: string, size: number): Uint8Array | string;
  /** Pages of scratch memory leave the process while it has more than `bytes` in memory; 0: no longer. False: not on this system. */
  scratchKeepBelow(bytes: number): boolean;
  /** Looks at it now. */
  scratchCheck(): void;
}

interface Loaded {
  readonly addon: NativeAddon | undefined;
  readonly tier: Tier;
}

function load(): Loaded {
  const forced = forcedTier('SHOAL_KERNEL', ['native', 'portable']);
  if (forced === 'portable') return { addon: undefined, tier: { tier: 'portable', reason: 'SHOAL_KERNEL=portable' } };
  // The same relative place from src/kernel and from dist/kernel.
  const path = fileURLToPath(new URL('../../native/build/Release/shoal.node', import.meta.url));
  let reason: string;
  try {
    const addon = createRequire(import.meta.url)(path) as NativeAddon;
    const abi = addon.abi();
    if (abi === ABI) return { addon, tier: { tier: 'native' } };
    reason = `the native addon is version ${abi}, this code needs ${ABI}: run \`npm run native\``;
  } catch (error) {
    reason = `the native addon does not load (${firstLine(error)})`;
  }
  if (forced === 'native') unavailable('SHOAL_KERNEL', forced, reason);
  return { addon: undefined, tier: { tier: 'portable', reason } };
}

const loaded = load();

/** The native kernels, or undefined on the portable tier. */
export const native: NativeAddon | undefined = loaded.addon;

/** Which tier Shoal's own kernels (the chunker and later ones) run on. */
export const nativeTier: Tier = loaded.tier;
