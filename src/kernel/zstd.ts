/**
 * Zstandard on zstd-napi, else on Node's own. `SHOAL_ZSTD=native|node` forces one. The tiers read each other's frames
 * but may write different ones: whatever must be reproduced byte for byte is never made here (DESIGN.md, decision 14).
 */
import { ShoalError, messageOf } from '../core/errors.ts';
import { type Tier, forcedTier, unavailable } from './choice.ts';
import { type ZstdFrame, corruptZstd, zstdFrames } from './zstd-frame.ts';
import { loadNativeZstd } from './zstd-native.ts';
import { nodeZstd } from './zstd-node.ts';
import type { ZstdCompressOptions, ZstdFrameOptions, ZstdTier } from './zstd-tier.ts';

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
  const output = new BoundedOutput(bytes, maxBytes, rawDictionary(options));
  for (const frame of output.frames) {
    let content: Uint8Array;
    try {
      content = output.tier(frame).decompress(...output.job(frame));
    } catch (error) {
      throw output.failure(frame, error);
    }
    output.accept(frame, content);
  }
  return output.joined();
}

/** Like `zstdDecompress`, on the thread pool. */
export async function zstdDecompressAsync(
  bytes: Uint8Array,
  maxBytes: number,
  options: ZstdDecompressOptions = {},
): Promise<Uint8Array> {
  const output = new BoundedOutput(bytes, maxBytes, rawDictionary(options));
  for (const frame of output.frames) {
    let content: Uint8Array;
    try {
      content = await nodeZstd.decompressAsync(...output.job(frame));
    } catch (error) {
      throw output.failure(frame, error);
    }
    output.accept(frame, content);
  }
  return output.joined();
}

/** What the frames of one call decompress to, never more than `maxBytes` in all. */
class BoundedOutput {
  readonly frames: readonly ZstdFrame[];
  private readonly bytes: Uint8Array;
  private readonly maxBytes: number;
  private readonly options: ZstdDecompressOptions;
  private readonly parts: Uint8Array[] = [];
  private total = 0;

  constructor(bytes: Uint8Array, maxBytes: number, options: ZstdDecompressOptions) {
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
      throw new ShoalError('ZSTD_LIMIT', `${maxBytes} is no limit for decompressed bytes.`);
    }
    this.frames = zstdFrames(bytes);
    this.bytes = bytes;
    this.maxBytes = maxBytes;
    this.options = options;
    if (this.frames.length === 0) throw corruptZstd('it holds no frame');
    let claimed = 0;
    for (const frame of this.frames) claimed += frame.contentSize ?? 0;
    if (claimed > maxBytes) throw this.tooLarge();
  }

  /** zstd-napi needs a buffer for the whole result beforehand, so it gets the frames that say their size. */
  tier(frame: ZstdFrame): ZstdTier {
    return frame.contentSize === undefined ? nodeZstd : chosen.zstd;
  }

  job(frame: ZstdFrame): [Uint8Array, ZstdFrameOptions] {
    const capacity = Math.min(frame.contentSize ?? frame.maxContentSize, this.maxBytes - this.total);
    const { dictionary, windowLogMax = defaultWindowLog(this.maxBytes) } = this.options;
    const settings = { capacity, windowLogMax, ...(dictionary === undefined ? {} : { dictionary }) };
    return [this.bytes.subarray(frame.start, frame.end), settings];
  }

  failure(frame: ZstdFrame, error: unknown): ShoalError {
    const full = frame.contentSize === undefined && (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    return full ? this.tooLarge() : corruptZstd(messageOf(error), error);
  }

  accept(frame: ZstdFrame, content: Uint8Array): void {
    if (frame.contentSize !== undefined && content.length !== frame.contentSize) {
      throw corruptZstd(`a frame of ${frame.contentSize} bytes came out as ${content.length}`);
    }
    this.total += content.length;
    if (this.total > this.maxBytes) throw this.tooLarge();
    this.parts.push(content);
  }

  joined(): Uint8Array {
    const only = this.parts[0];
    if (this.parts.length === 1 && only !== undefined) return only;
    const whole = new Uint8Array(this.total);
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  private tooLarge(): ShoalError {
    const message = `Compressed data holds more than the ${this.maxBytes} bytes allowed here.`;
    return new ShoalError('ZSTD_TOO_LARGE', message, { retry: 'elsewhere' });
  }
}

function defaultWindowLog(maxBytes: number): number {
  const needed = Math.ceil(Math.log2(Math.max(1, maxBytes)));
  return Math.min(Math.max(needed, DEFAULT_WINDOW_LOG), LARGEST_DEFAULT_WINDOW_LOG);
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
