import { promisify } from 'node:util';
import {
  type ZstdOptions,
  constants,
  zstdCompress,
  zstdCompressSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib';
import {
  type AsyncZstdTier,
  DEFAULT_ZSTD_LEVEL,
  type ZstdCompressOptions,
  type ZstdFrameOptions,
} from './zstd-tier.ts';

const compressOnPool: (bytes: Uint8Array, options: ZstdOptions) => Promise<Buffer> = promisify(zstdCompress);
const decompressOnPool: (bytes: Uint8Array, options: ZstdOptions) => Promise<Buffer> = promisify(zstdDecompress);

/** Node's output buffers have at least 64 bytes and, here, at most 4 MiB, so that one usually takes it all. */
const MIN_OUTPUT_CHUNK = 64;
const MAX_OUTPUT_CHUNK = 4 * 1024 * 1024;

function outputChunk(bytes: number): number {
  return Math.min(Math.max(bytes, MIN_OUTPUT_CHUNK), MAX_OUTPUT_CHUNK);
}

function compressSettings(bytes: Uint8Array, options: ZstdCompressOptions): ZstdOptions {
  const params: Record<number, number | boolean> = {
    [constants.ZSTD_c_compressionLevel]: options.level ?? DEFAULT_ZSTD_LEVEL,
    [constants.ZSTD_c_enableLongDistanceMatching]: options.longDistance === true ? 1 : 0,
  };
  if (options.windowLog !== undefined) params[constants.ZSTD_c_windowLog] = options.windowLog;
  // Half a percent and a little over the input is the most that zstd ever writes.
  const chunkSize = outputChunk(bytes.length + (bytes.length >>> 8) + 512);
  // The synchronous call finds the size itself, the one on the pool does not; a frame should always state it.
  const pledgedSrcSize = bytes.length;
  return { params, chunkSize, pledgedSrcSize, ...(options.dictionary === undefined ? {} : { dictionary: options.dictionary }) };
}

function decompressSettings(options: ZstdFrameOptions): ZstdOptions {
  return {
    params: { [constants.ZSTD_d_windowLogMax]: options.windowLogMax },
    chunkSize: outputChunk(options.capacity + 1),
    maxOutputLength: Math.max(1, options.capacity),
    ...(options.dictionary === undefined ? {} : { dictionary: options.dictionary }),
  };
}

function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Node's own zstd: always there. */
export const nodeZstd: AsyncZstdTier = {
  compress: (bytes, options) => plain(zstdCompressSync(bytes, compressSettings(bytes, options))),
  compressAsync: async (bytes, options) => plain(await compressOnPool(bytes, compressSettings(bytes, options))),
  decompress: (frame, options) => plain(zstdDecompressSync(frame, decompressSettings(options))),
  decompressAsync: async (frame, options) => plain(await decompressOnPool(frame, decompressSettings(options))),
};
