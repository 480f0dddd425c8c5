import { XZ_DICTIONARY_MAX, XZ_MAX_HELD, dictionaryBytes, xzOf } from './coding.ts';
import type { XzCoding } from './coding.ts';
import { readXz, withoutSizes } from './xz-format.ts';

/**
 * Streams of the .xz format with the bytes of liblzma, 5.8.4 as WebAssembly in the package node-liblzma, which an operator installs
 * beside this one where it is wanted. Nothing is compiled: the same bytes on every processor (docs/decisions/0041-xz-and-zstd.md).
 */

/** What is used of the package: liblzma's own functions on memory of its own, where pointers and sizes are 32 bits. */
interface Liblzma {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(at: number): void;
  setValue(at: number, value: number | bigint, type: 'i32' | 'i64'): void;
  getValue(at: number, type: 'i32'): number;
  _lzma_stream_buffer_encode(filters: number, check: number, allocator: number, input: number, inputSize: number, out: number, outAt: number, outSize: number): number;
  _lzma_stream_buffer_decode(memory: number, flags: number, allocator: number, input: number, inputAt: number, inputSize: number, out: number, outAt: number, outSize: number): number;
}

interface Package {
  initModule(): Promise<Liblzma>;
  wasmVersionString(): string;
}

// Not a literal: the compiler would look it up.
const PACKAGE: string = 'node-liblzma/wasm';
/** Whose bytes are those that the format means. */
const VERSION = '5.8.4';
const OK = 0;

let library: Liblzma | undefined;
let tried = false;

/** Has to have been called before any other function here; says whether there is a liblzma. */
export async function loadXz(): Promise<boolean> {
  if (!tried) {
    tried = true;
    try {
      const found = await import(PACKAGE) as Package;
      const loaded = await found.initModule();
      if (found.wasmVersionString() === VERSION) library = loaded;
    } catch {
      // Not installed: such streams stay as they are here.
    }
  }
  return library !== undefined;
}

/** What the format adds to content that does not compress. */
const SLACK = 64 * 1024;
/** Of the decoder: the dictionary, and some. */
const DECODER_BYTES = 16 * 1024 * 1024;

/** By effort − 1: mode, nice length, match finder, depth of liblzma's presets 0 to 6 (beyond, only dictionaries differ), 3e and 5e, and the other e. */
const EFFORTS = [
  [1, 128, 0x03, 4], [1, 128, 0x04, 8], [1, 273, 0x04, 24], [1, 273, 0x04, 48],
  [2, 16, 0x14, 0], [2, 32, 0x14, 0], [2, 64, 0x14, 0],
  [2, 192, 0x14, 0], [2, 273, 0x14, 512],
] as const;
const LZMA2 = 0x21n;
const NO_FILTER = 2n ** 64n - 1n;
/** `lzma_filter` is an id of 8 bytes and a pointer, in 16; `lzma_options_lzma` has ten numbers that matter and zeros. */
const FILTER_BYTES = 16;
const FILTERS_BYTES = 3 * FILTER_BYTES;
const OPTIONS_BYTES = 128;
const RESULT_BYTES = 8;

/** Places in the library's memory: made once, larger ones when they are needed. */
let places: { readonly filters: number; readonly options: number; readonly results: number } | undefined;
let room = { at: 0, bytes: 0 };

function placesOf(lzma: Liblzma, bytes: number): { readonly filters: number; readonly options: number; readonly results: number; readonly input: number; readonly output: number } {
  places ??= { filters: lzma._malloc(FILTERS_BYTES), options: lzma._malloc(OPTIONS_BYTES), results: lzma._malloc(3 * RESULT_BYTES) };
  const each = Math.ceil((bytes + SLACK) / SLACK) * SLACK;
  if (room.bytes < each) {
    if (room.bytes > 0) lzma._free(room.at);
    room = { at: 0, bytes: 0 };
    const at = lzma._malloc(2 * each);
    if (at === 0) throw new RangeError('liblzma has no more memory');
    room = { at, bytes: each };
  }
  return { ...places, input: room.at, output: room.at + room.bytes };
}

/** A stream of `content`; undefined where nothing here makes it. Takes 30 to 300 ms for 128 KiB. The bytes change at the next call. */
export function xzStream(content: Uint8Array, coding: number): Uint8Array | undefined {
  const known = xzOf(coding);
  const effort = known === undefined ? undefined : EFFORTS[known.effort - 1];
  if (library === undefined || known === undefined || effort === undefined || content.length > XZ_MAX_HELD || known.dictionary > XZ_DICTIONARY_MAX) return undefined;
  const { filters, options, results, input, output } = placesOf(library, content.length);
  const memory = library.HEAPU8;
  memory.fill(0, options, options + OPTIONS_BYTES);
  memory.fill(0, filters, filters + FILTERS_BYTES);
  const [mode, nice, finder, depth] = effort;
  for (const [n, value] of [dictionaryBytes(known.dictionary), 0, 0, known.lc, known.lp, known.pb, mode, nice, finder, depth].entries()) library.setValue(options + 4 * n, value, 'i32');
  const chain = [...(known.filter === 0 ? [] : [BigInt(known.filter)]), LZMA2, NO_FILTER];
  for (const [n, id] of chain.entries()) {
    library.setValue(filters + FILTER_BYTES * n, id, 'i64');
    if (id === LZMA2) library.setValue(filters + FILTER_BYTES * n + 8, options, 'i32');
  }
  library.setValue(results, 0, 'i32');
  memory.set(content, input);
  const status = library._lzma_stream_buffer_encode(filters, known.check, 0, input, content.length, output, results, room.bytes);
  if (status !== OK) return undefined;
  const made = library.HEAPU8.subarray(output, output + library.getValue(results, 'i32'));
  return known.sizes ? made : withoutSizes(made);
}

/** Decodes a stream into `out`, which it fills exactly. @returns false when `bytes` are no such stream */
export function decodeXz(bytes: Uint8Array, out: Uint8Array): boolean {
  const content = decoded(bytes, out.length);
  if (content?.length !== out.length) return false;
  out.set(content);
  return true;
}

function decoded(bytes: Uint8Array, held: number): Uint8Array | undefined {
  if (library === undefined || held > XZ_MAX_HELD || bytes.length > XZ_MAX_HELD) return undefined;
  const { results, input, output } = placesOf(library, Math.max(bytes.length, held));
  library.HEAPU8.set(bytes, input);
  library.setValue(results, 0, 'i32');
  library.setValue(results + RESULT_BYTES, 0, 'i32');
  library.setValue(results + 2 * RESULT_BYTES, BigInt(DECODER_BYTES), 'i64');
  const status = library._lzma_stream_buffer_decode(results + 2 * RESULT_BYTES, 0, 0, input, results, bytes.length, output, results + RESULT_BYTES, held);
  return status === OK ? library.HEAPU8.subarray(output, output + library.getValue(results + RESULT_BYTES, 'i32')) : undefined;
}

/** A stream that was found, and all that it says of how it was made. */
export interface FoundXz {
  readonly size: number;
  readonly content: Uint8Array;
  readonly coding: Omit<XzCoding, 'effort'>;
}

/** The stream that begins at `at`; undefined where none does, or a device could not make it. The content changes at the next call. */
export function xzAt(whole: Buffer, at: number): FoundXz | undefined {
  const format = readXz(whole, at);
  if (format === undefined || format.held > XZ_MAX_HELD || format.size > XZ_MAX_HELD || format.coding.dictionary > XZ_DICTIONARY_MAX) return undefined;
  const content = decoded(whole.subarray(at, at + format.size), format.held);
  return content?.length === format.held ? { size: format.size, content, coding: format.coding } : undefined;
}
