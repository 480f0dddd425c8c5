import { crc32 } from 'node:zlib';
import { WASM_MAGIC, wasmSections } from './wasm-regions.ts';

/** What lies where in an artifact, for people: sections of the ELF files and WebAssembly modules in it, and what else can be told by its own marks. */

export interface Region {
  readonly name: string;
  /** Of what: programs and libraries; objects that are linked later, as kernel modules; anything else. */
  readonly kind: 'executable' | 'object' | 'rest';
  /** Where it ends; it begins where the one before does. */
  readonly end: number;
}

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');
/** Where each class of files (little-endian) has what is read of it: in its header, and in the head of a section of so many bytes. */
const LAYOUTS = {
  1: { word: 4, sections: 32, counts: 46, head: 40, offset: 16, size: 20 },
  2: { word: 8, sections: 40, counts: 58, head: 64, offset: 24, size: 32 },
} as const;
const FILE_HEADER_BYTES = 64;
/** Of a file, before its first section. */
const MOST_HEADERS = 64 * 1024;
/** Of sections without bytes in the file. */
const NOTHING_TYPES = new Set([0, 8]);
const RELOCATABLE = 1;
export const REST = 'other bytes';

/** Regions one after another, up to the end. Files inside files count with the outer one. */
export function regionsOf(bytes: Buffer): readonly Region[] {
  const regions: Region[] = [];
  const add = (name: string, kind: Region['kind'], end: number): void => {
    if (end > (regions.at(-1)?.end ?? 0)) regions.push({ name, kind, end });
  };
  const addRest = (end: number): void => {
    for (const { name, at, size } of markedIn(bytes, regions.at(-1)?.end ?? 0, end)) {
      add(REST, 'rest', at);
      add(name, 'rest', at + size);
    }
    add(REST, 'rest', end);
  };
  const next = { elf: -1, wasm: -1 };
  for (let from = 0; ; ) {
    // Each is looked for once.
    if (next.elf < from) next.elf = placeOf(bytes, ELF_MAGIC, from);
    if (next.wasm < from) next.wasm = placeOf(bytes, WASM_MAGIC, from);
    const at = Math.min(next.elf, next.wasm);
    if (at === Infinity) break;
    from = at + 4;
    const isElf = at === next.elf;
    const sections = isElf ? sectionsOf(bytes, at) : wasmSections(bytes, at);
    if (sections.length === 0) continue;
    addRest(at);
    const kind = isElf && bytes.readUInt16LE(at + 16) === RELOCATABLE ? 'object' : 'executable';
    for (const { name, begin, end } of sections) {
      add('between sections', kind, begin);
      add(name, kind, end);
    }
    from = Math.max(from, regions.at(-1)?.end ?? 0);
  }
  addRest(bytes.length);
  return regions;
}

function placeOf(bytes: Buffer, magic: Buffer, from: number): number {
  const at = bytes.indexOf(magic, from);
  return at < 0 ? Infinity : at;
}

interface Marked {
  readonly name: string;
  readonly at: number;
  readonly size: number;
}

const SIGNED = Buffer.from('~Module signature appended~\n', 'latin1');
/** A signature, with what is said of it, has less. */
const SIGNATURE_BYTES = 4096;
const STREAMS: readonly { readonly name: string; readonly magic: Buffer; readonly sizeAt: (bytes: Buffer, at: number) => number }[] = [
  { name: 'xz streams', magic: Buffer.from('fd377a585a00', 'hex'), sizeAt: xzSize },
  { name: 'zstd frames', magic: Buffer.from('28b52ffd', 'hex'), sizeAt: zstdSize },
];

/** What can be told of bytes that are no ELF file: kernel modules' signatures, streams of xz and zstd. In order; they may overlap. */
function markedIn(bytes: Buffer, begin: number, end: number): readonly Marked[] {
  const rest = bytes.subarray(begin, end);
  const found: Marked[] = [];
  // It follows its module.
  const signed = begin === 0 ? -1 : rest.subarray(0, SIGNATURE_BYTES).indexOf(SIGNED);
  if (signed >= 0) found.push({ name: 'module signatures', at: begin, size: signed + SIGNED.length });
  for (const { name, magic, sizeAt } of STREAMS) {
    for (let at = rest.indexOf(magic); at >= 0; ) {
      const size = sizeAt(rest, at);
      if (size > 0) found.push({ name, at: begin + at, size });
      at = rest.indexOf(magic, at + Math.max(1, size));
    }
  }
  return found.sort((a, b) => a.at - b.at);
}

const XZ_HEAD_BYTES = 12;

/** Of the stream that begins at `at`; 0: it is none. (The .xz file format, 2.1: flags are in its header and its footer, both with a check.) */
function xzSize(bytes: Buffer, at: number): number {
  const flags = bytes.subarray(at + 6, at + 8);
  if (at + XZ_HEAD_BYTES > bytes.length || crc32(flags) !== bytes.readUInt32LE(at + 8)) return 0;
  const last = Buffer.concat([flags, Buffer.from('YZ')]);
  for (let mark = bytes.indexOf(last, at + XZ_HEAD_BYTES); mark >= 0; mark = bytes.indexOf(last, mark + 1)) {
    const size = mark + last.length - at;
    if (size % 4 === 0 && crc32(bytes.subarray(mark - 4, mark + 2)) === bytes.readUInt32LE(mark - 8)) return size;
  }
  return 0;
}

/** Of the frame that begins at `at`; 0: it is none. (RFC 8878, 3.1.1.) */
function zstdSize(bytes: Buffer, at: number): number {
  const descriptor = bytes[at + 4] ?? 8;
  if ((descriptor & 8) !== 0) return 0;
  const single = (descriptor & 32) !== 0;
  let place = at + 5 + (single ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0) + ([single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0);
  for (let last = false; !last; ) {
    if (place + 3 > bytes.length) return 0;
    const head = bytes.readUIntLE(place, 3);
    const kind = (head >> 1) & 3;
    if (kind === 3) return 0;
    last = (head & 1) !== 0;
    place += 3 + (kind === 1 ? 1 : head >> 3);
  }
  place += (descriptor & 4) === 0 ? 0 : 4;
  return place <= bytes.length ? place - at : 0;
}

function sectionsOf(bytes: Buffer, at: number): readonly { readonly name: string; readonly begin: number; readonly end: number }[] {
  const kind = bytes[at + 4];
  if (at + FILE_HEADER_BYTES > bytes.length || (kind !== 1 && kind !== 2) || bytes[at + 5] !== 1 || bytes[at + 6] !== 1) return [];
  const is = LAYOUTS[kind];
  const word = (place: number): number => (is.word === 8 ? Number(bytes.readBigUInt64LE(place)) : bytes.readUInt32LE(place));
  const table = at + word(at + is.sections);
  const count = bytes.readUInt16LE(at + is.counts + 2);
  const names = table + is.head * bytes.readUInt16LE(at + is.counts + 4);
  if (bytes.readUInt16LE(at + is.counts) !== is.head || table + is.head * count > bytes.length || names + is.head > bytes.length) return [];
  const text = at + word(names + is.offset);
  const found = [{ name: 'heads of sections', begin: table, end: table + is.head * count }];
  for (let n = 0; n < count; n++) {
    const head = table + is.head * n;
    const begin = at + word(head + is.offset);
    const end = begin + word(head + is.size);
    const name = text + bytes.readUInt32LE(head);
    if (NOTHING_TYPES.has(bytes.readUInt32LE(head + 4)) || end > bytes.length || name >= bytes.length) continue;
    found.push({ name: bytes.toString('latin1', name, Math.min(name + 64, Math.max(name, bytes.indexOf(0, name)))), begin, end });
  }
  found.sort((a, b) => a.begin - b.begin);
  // Headers come first in a file; where the first section is far away what looks like a list of them is something else.
  return (found[0]?.begin ?? 0) - at > MOST_HEADERS ? [] : found;
}
