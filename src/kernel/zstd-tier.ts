export interface ZstdCompressOptions {
  /** 1 to 22; default 3. */
  readonly level?: number;
  /** Window as a power of two, 10 to 31; default: the level's. A decoder must be told about windows above 27. */
  readonly windowLog?: number;
  /** Finds repetitions far apart; wants a large window. Default false. */
  readonly longDistance?: boolean;
  /** Raw bytes that matches may refer to, as if they stood before the content. The decoder needs the same ones. */
  readonly dictionary?: Uint8Array;
}

export interface ZstdFrameOptions {
  readonly dictionary?: Uint8Array;
  /** Largest result in bytes; a frame that holds more is an error. */
  readonly capacity: number;
  readonly windowLogMax: number;
}

/**
 * What each implementation of zstd offers. Decompression is of exactly one frame whose extent is known; errors are the
 * library's own.
 */
export interface ZstdTier {
  compress(bytes: Uint8Array, options: ZstdCompressOptions): Uint8Array;
  decompress(frame: Uint8Array, options: ZstdFrameOptions): Uint8Array;
}

/** The same on the thread pool. */
export interface AsyncZstdTier extends ZstdTier {
  compressAsync(bytes: Uint8Array, options: ZstdCompressOptions): Promise<Uint8Array>;
  decompressAsync(frame: Uint8Array, options: ZstdFrameOptions): Promise<Uint8Array>;
}

export const DEFAULT_ZSTD_LEVEL = 3;
