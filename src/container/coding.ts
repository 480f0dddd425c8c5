import { CONTAINER_MAX_HELD } from '../core/limits.ts';
import { codingOf } from './streams.ts';

/**
 * What a stream is coded with, as one number: below 128 deflate (`Coding` of `streams.ts`), else zstd or xz. What is in bounds here can be made by a
 * device; a level or effort of 0 can be read and not made.
 */

/** A frame of RFC 8878 with its content's size, of one call of libzstd. */
export interface ZstdCoding {
  /** 1 … 22. */
  readonly level: number;
  /** Which libzstd: 0 is 1.5.4 (up to level 3 and from 13 on the bytes of 1.5.5 as well), 1 is 1.5.7. */
  readonly version: 0 | 1;
  /** With the low half of its content's XXH64 behind it, as `zstd` writes it and mksquashfs does not. */
  readonly checksum: boolean;
}

/** A stream of the .xz format with one block, of liblzma. */
export interface XzCoding {
  /** Of `XZ_EFFORTS`, 1 … 9. */
  readonly effort: number;
  /** Size of the dictionary as the format has it: (2 | bit 0) << (the others + 11) bytes; at most `XZ_DICTIONARY_MAX`. */
  readonly dictionary: number;
  /** Kind of check: 0 none, 1 CRC32, 4 CRC64, 10 SHA-256. */
  readonly check: number;
  readonly lc: number;
  readonly lp: number;
  readonly pb: number;
  /** Filter before LZMA2, by its id: 4 x86 … 11 RISC-V; 0 none. */
  readonly filter: number;
  /** Whether the block's head has its sizes, as of a whole buffer at once (mksquashfs), or not, as of a stream (`xz`). */
  readonly sizes: boolean;
}

export type Family = 'deflate' | 'zstd' | 'xz';

const ZSTD_BIT = 2 ** 8;
const XZ_BIT = 2 ** 28;
const ZSTD_LEVELS = 22;
const EFFORTS = 9;
const CHECKS = [0, 1, 4, 10];
const FILTERS = [0, 4, 5, 6, 7, 8, 9, 10, 11];
/** Content of one xz stream at most: the encoder's memory has it twice. */
export const XZ_MAX_HELD = CONTAINER_MAX_HELD / 2;
/** Content that zstd may compress at levels beyond `LONG_LEVEL`: their tables grow with it. */
const ZSTD_MAX_HELD = 1024 * 1024;
const LONG_LEVEL = 4;
/** 1 MiB, the largest block of a squashfs. The encoder takes 12 times as much. */
export const XZ_DICTIONARY_MAX = 16;

/** Undefined for what no coding of this version has. */
export function familyOf(coding: number): Family | undefined {
  if (coding < 128) return codingOf(coding) === undefined ? undefined : 'deflate';
  if (zstdOf(coding) !== undefined) return 'zstd';
  return xzOf(coding) === undefined ? undefined : 'xz';
}

export function zstdCoding({ level, version, checksum }: ZstdCoding): number {
  return ZSTD_BIT | level | (version << 5) | (checksum ? 128 : 0);
}

export function zstdOf(coding: number): ZstdCoding | undefined {
  const level = coding & 31;
  const version = (coding >>> 5) & 3;
  if (coding >= 2 * ZSTD_BIT || coding < ZSTD_BIT || level > ZSTD_LEVELS || version > 1) return undefined;
  return { level, version: version === 0 ? 0 : 1, checksum: (coding & 128) !== 0 };
}

export function xzCoding({ effort, dictionary, check, lc, lp, pb, filter, sizes }: XzCoding): number {
  return XZ_BIT | effort | (dictionary << 4) | (check << 10) | (lc << 14) | (lp << 17) | (pb << 20) | (filter << 23) | (sizes ? 2 ** 27 : 0);
}

export function xzOf(coding: number): XzCoding | undefined {
  if (coding < XZ_BIT || coding >= 2 * XZ_BIT) return undefined;
  const field = (shift: number, bits: number): number => (coding >>> shift) & (2 ** bits - 1);
  const [effort, dictionary, check, lc, lp, pb, filter] = [field(0, 4), field(4, 6), field(10, 4), field(14, 3), field(17, 3), field(20, 3), field(23, 4)];
  if (effort > EFFORTS || dictionary > XZ_DICTIONARY_MAX || !CHECKS.includes(check) || lc + lp > 4 || pb > 4 || !FILTERS.includes(filter)) return undefined;
  return { effort, dictionary, check, lc, lp, pb, filter, sizes: field(27, 1) === 1 };
}

/** Bytes of a dictionary as the .xz format codes its size. */
export function dictionaryBytes(dictionary: number): number {
  return (2 | (dictionary & 1)) * 2 ** ((dictionary >>> 1) + 11);
}

/** Whether a device makes such a stream, rather than only reading it. */
export function canBeMade(coding: number): boolean {
  return paceOf(coding) > 0;
}

/** Whether a device has the memory to make such a stream of so much: some 20 MiB. */
export function fitsDevice(coding: number, held: number): boolean {
  const zstd = zstdOf(coding);
  if (zstd !== undefined) return held <= ZSTD_MAX_HELD || (zstd.level <= LONG_LEVEL && held <= CONTAINER_MAX_HELD);
  return held <= (xzOf(coding) === undefined ? CONTAINER_MAX_HELD : XZ_MAX_HELD);
}

/** One number for all codings that take alike long: levels 1 … 9 of deflate, 10 + level of zstd, 32 + effort of xz; 0 for what is not made. */
export function paceOf(coding: number): number {
  const zstd = zstdOf(coding);
  if (zstd !== undefined) return zstd.level === 0 ? 0 : 10 + zstd.level;
  const xz = xzOf(coding);
  if (xz !== undefined) return xz.effort === 0 ? 0 : 32 + xz.effort;
  return codingOf(coding)?.level ?? 0;
}

/** The same, to be read and not made. */
export function readOnly(coding: number): number {
  if (zstdOf(coding) !== undefined) return ZSTD_BIT;
  if (xzOf(coding) !== undefined) return XZ_BIT;
  return (codingOf(coding)?.zlib === true ? 32 : 0);
}
