/**
 * Zstandard on zstd-napi, else on Node's own. `SHOAL_ZSTD=native|node` forces one. The tiers read each other's frames
 * but may write different ones: whatever must be reproduced byte for byte is never made here (DESIGN.md, decision 14).
 */
import { ShoalError } from '../core/errors.ts';
import { type Tier, forcedTier, unavailable } from './choice.ts';
import { type ZstdFrame, corruptZstd, zstdFrames } from './zstd-frame.ts';
import { loadNativeZstd } from './zstd-native.ts';
import { nodeZstd } from './zstd-node.ts';
import type { ZstdCompressOptions, ZstdTier } from './zstd-tier.ts';

export type { ZstdCompressOptions } from './zstd-tier.ts';

export interface ZstdDecompressOptions {
  /** The raw bytes given to the compressor. */
  readonly dictionary?: Uint8Array;
  /** Largest window a frame may ask for, as a power of two; default: what `maxBytes` needs, at least 23 (8 MiB). */
  readonly windowLogMax?: number;
}

/** RFC 8878, 3.1.1.1.2 recommends that every decoder supports 8 MiB. */
const DEFAULT_WINDOW_LOG = 23;
/** 128 MiB: what zstd itself accepts without being asked. */
const LARGEST_DEFAULT_WINDOW_LOG = 27;
/** How every structured dictionary begins (RFC 8878, section 5). */
const DICTIONARY_MAGIC = [0x37, 0xa4, 0x30, 0xec] as const;

function choose(): { readonly zstd: ZstdTier; readonly tier: Tier } {
  const forced = forcedTier('SHOAL_ZSTD', ['native', 'node']);
  if (forced === 'node') return { zstd: nodeZstd, tier: { tier: 'node', reason: 'SHOAL_ZSTD=node' } };
  const found = loadNativeZstd();
  if (typeof found !== 'string') return { zstd: found, tier: { tier: 'native' } };
  if (forced === 'native') unavailable('SHOAL_ZSTD', forced, found);
  return { zstd: nodeZstd, tier: { tier: 'node', reason: found } };
}

const chosen = choose();

/** Which implementation compresses. */
export const zstdTier: Tier = chosen.tier;

/** Compresses into one frame that states its content size. For calls over a millisecond use `zstdCompressAsync`. */
export function zstdCompress(bytes: Uint8Array, options: ZstdCompressOptions = {}): Uint8Array {
  return chosen.zstd.compress(bytes, rawDictionary(options));
}

/** Like `zstdCompress`, on the thread pool. */
export function zstdCompressAsync(bytes: Uint8Array, options: ZstdCompressOptions = {}): Promise<Uint8Array> {
  return nodeZstd.compressAsync(bytes, rawDictionary(options));
}

/**
 * Decompresses one or several concatenated frames. Memory stays within `maxBytes` plus the window, whatever the
 * frames claim: bytes from outside may come in.
 *
 * @param maxBytes largest result accepted, in bytes
 * @throws ShoalError `ZSTD_TOO_LARGE` when the result would exceed `maxBytes`; `ZSTD_CORRUPT` for anything else
 */
export function zstdDecompress(bytes: Uint8Array, maxBytes: number, options: ZstdDecompressOptions = {}): Uint8Array {
  const frames = boundedFrames(bytes, maxBytes);
  const prepared = rawDictionary(options);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (const frame of frames) {
    const settings = {
      ...prepared,
      capacity: capacity(frame, maxBytes - total),
      windowLogMax: windowLog(maxBytes, options),
    };
    parts.push(checked(frame, chosen.zstd.decompress(bytes.subarray(frame.start, frame.end), settings)));
    total += parts.at(-1)?.length ?? 0;
  }
  return joined(parts, total);
}

/** Like `zstdDecompress`, on the thread pool. */
export async function zstdDecompressAsync(
  bytes: Uint8Array,
  maxBytes: number,
  options: ZstdDecompressOptions = {},
): Promise<Uint8Array> {
  const frames = boundedFrames(bytes, maxBytes);
  const prepared = rawDictionary(options);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (const frame of frames) {
    const settings = {
      ...prepared,
      capacity: capacity(frame, maxBytes - total),
      windowLogMax: windowLog(maxBytes, options),
    };
    parts.push(checked(frame, await nodeZstd.decompressAsync(bytes.subarray(frame.start, frame.end), settings)));
    total += parts.at(-1)?.length ?? 0;
  }
  return joined(parts, total);
}

function tooLarge(maxBytes: number): ShoalError {
  return new ShoalError('ZSTD_TOO_LARGE', `Compressed data holds more than the ${maxBytes} bytes allowed here.`, {
    retry: 'elsewhere',
  });
}

/** The frames, once it is certain that what they claim together fits. */
function boundedFrames(bytes: Uint8Array, maxBytes: number): readonly ZstdFrame[] {
  const frames = zstdFrames(bytes);
  if (frames.length === 0) throw corruptZstd('it holds no frame');
  let claimed = 0;
  for (const frame of frames) claimed += frame.contentSize ?? 0;
  if (claimed > maxBytes) throw tooLarge(maxBytes);
  return frames;
}

/** How many bytes a frame may take up: its claim, else what its blocks can hold, but never more than `left`. */
function capacity(frame: ZstdFrame, left: number): number {
  return Math.min(frame.contentSize ?? frame.maxContentSize, left);
}

function windowLog(maxBytes: number, options: ZstdDecompressOptions): number {
  if (options.windowLogMax !== undefined) return options.windowLogMax;
  const needed = Math.ceil(Math.log2(Math.max(1, maxBytes)));
  return Math.min(Math.max(needed, DEFAULT_WINDOW_LOG), LARGEST_DEFAULT_WINDOW_LOG);
}

function checked(frame: ZstdFrame, content: Uint8Array): Uint8Array {
  if (frame.contentSize !== undefined && content.length !== frame.contentSize) {
    throw corruptZstd(`a frame of ${frame.contentSize} bytes came out as ${content.length}`);
  }
  return content;
}

function joined(parts: readonly Uint8Array[], total: number): Uint8Array {
  const only = parts[0];
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Dictionaries here are slices of ordinary content. zstd would read one that happens to begin with its dictionary
 * magic as a structured dictionary, so both sides leave such beginnings out.
 */
function rawDictionary<Options extends { readonly dictionary?: Uint8Array }>(options: Options): Options {
  const { dictionary } = options;
  if (dictionary === undefined || !DICTIONARY_MAGIC.every((byte, at) => dictionary[at] === byte)) return options;
  return { ...options, dictionary: dictionary.subarray(1) };
}
