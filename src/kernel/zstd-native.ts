import { createRequire } from 'node:module';
import { firstLine } from './choice.ts';
import { DEFAULT_ZSTD_LEVEL, type ZstdTier } from './zstd-tier.ts';

/** The part of `zstd-napi/binding` used here; the package is optional, so its own types may be absent. */
interface Binding {
  readonly CCtx: new () => CompressContext;
  readonly DCtx: new () => DecompressContext;
  readonly CParameter: {
    readonly compressionLevel: number;
    readonly windowLog: number;
    readonly enableLongDistanceMatching: number;
  };
  readonly DParameter: { readonly windowLogMax: number };
  readonly ResetDirective: { readonly sessionAndParameters: number };
  compressBound(bytes: number): number;
}

interface CompressContext {
  reset(what: number): void;
  setParameter(parameter: number, value: number): void;
  loadDictionary(dictionary: Uint8Array): void;
  compress2(output: Uint8Array, input: Uint8Array): number;
}

interface DecompressContext {
  reset(what: number): void;
  setParameter(parameter: number, value: number): void;
  loadDictionary(dictionary: Uint8Array): void;
  decompress(output: Uint8Array, input: Uint8Array): number;
}

/** Loads zstd-napi, or returns why it cannot. */
export function loadNativeZstd(): ZstdTier | string {
  let zstd: Binding;
  try {
    zstd = createRequire(import.meta.url)('zstd-napi/binding.js') as Binding;
  } catch (error) {
    return `zstd-napi does not load (${firstLine(error)})`;
  }
  // One context each: calls are synchronous, and a context costs more to make than to reset.
  const compressor = new zstd.CCtx();
  const decompressor = new zstd.DCtx();
  const { sessionAndParameters } = zstd.ResetDirective;
  return {
    compress(bytes, options) {
      compressor.reset(sessionAndParameters);
      compressor.setParameter(zstd.CParameter.compressionLevel, options.level ?? DEFAULT_ZSTD_LEVEL);
      if (options.windowLog !== undefined) compressor.setParameter(zstd.CParameter.windowLog, options.windowLog);
      if (options.longDistance === true) compressor.setParameter(zstd.CParameter.enableLongDistanceMatching, 1);
      if (options.dictionary !== undefined) compressor.loadDictionary(options.dictionary);
      const output = new Uint8Array(zstd.compressBound(bytes.length));
      return output.slice(0, compressor.compress2(output, bytes));
    },
    decompress(frame, options) {
      decompressor.reset(sessionAndParameters);
      decompressor.setParameter(zstd.DParameter.windowLogMax, options.windowLogMax);
      if (options.dictionary !== undefined) decompressor.loadDictionary(options.dictionary);
      const output = new Uint8Array(options.capacity);
      const written = decompressor.decompress(output, frame);
      return written === output.length ? output : output.slice(0, written);
    },
  };
}
