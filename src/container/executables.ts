import type { Streams } from './streams.ts';

/**
 * Executables that lie in several streams, one after another, as a file does in the blocks of a file system. References are moved
 * where an executable is in one piece: its blocks that did not change are opened with those that did.
 */

/** Of an ELF file's header: 64 bits, little-endian; where its section headers lie, their size and number (System V ABI, "Object Files"). */
const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
const HEADER_BYTES = 64;
/** Where program headers lie, their size and number; of each: kind, place and size of its bytes. */
const PROGRAMS_AT = 32;
const PROGRAM_SIZE_AT = 54;
const PROGRAM_COUNT_AT = 56;
const PROGRAM_BYTES = 56;
const LOADED = 1;
const SECTIONS_AT = 40;
const SECTION_SIZE_AT = 58;
const SECTION_COUNT_AT = 60;

/** An executable that begins in what a stream holds. */
export interface Begun {
  readonly at: number;
  /** How long it is, all of it. */
  readonly bytes: number;
}

/**
 * Streams that did not change and lie in an executable of which others did.
 *
 * @param begun of each stream: what `executablesIn` finds in it
 */
export function unchangedInExecutables(streams: Streams, begun: readonly (readonly Begun[])[], changed: readonly boolean[]): readonly number[] {
  const found: number[] = [];
  // The executable that reaches furthest, of those that began before: its streams so far, and whether any changed.
  let end = 0;
  let own: number[] = [];
  let at = 0;
  const close = (): void => {
    if (own.some((n) => changed[n] === true)) found.push(...own.filter((n) => changed[n] !== true));
    own = [];
  };
  for (let n = 0; n < streams.at.length; n++) {
    const begin = streams.at[n] as number;
    // Bytes between streams belong to the file as they are: blocks that did not compress.
    if (n > 0) at += begin - (streams.at[n - 1] as number) - (streams.size[n - 1] as number);
    if (at >= end) close();
    const last = at + (streams.held[n] as number);
    if (at < end) own.push(n);
    for (const length of begun[n] ?? []) {
      const reaches = at + length.at + length.bytes;
      if (reaches <= Math.max(end, last)) continue;
      if (own.at(-1) !== n) {
        close();
        own.push(n);
      }
      end = reaches;
    }
    at = last;
  }
  close();
  return found;
}

export function executablesIn(content: Uint8Array): readonly Begun[] {
  const found: Begun[] = [];
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  for (let at = bytes.indexOf(MAGIC); at >= 0 && at + HEADER_BYTES <= bytes.length; at = bytes.indexOf(MAGIC, at + MAGIC.length)) {
    const sections = Number(bytes.readBigUInt64LE(at + SECTIONS_AT));
    // Sections' headers come last, but for Go's linker.
    let end = sections + bytes.readUInt16LE(at + SECTION_SIZE_AT) * bytes.readUInt16LE(at + SECTION_COUNT_AT);
    const [programs, size] = [at + Number(bytes.readBigUInt64LE(at + PROGRAMS_AT)), bytes.readUInt16LE(at + PROGRAM_SIZE_AT)];
    for (let n = bytes.readUInt16LE(at + PROGRAM_COUNT_AT); n > 0 && size === PROGRAM_BYTES; n--) {
      const head = programs + (n - 1) * size;
      if (head + size <= bytes.length && bytes.readUInt32LE(head) === LOADED) end = Math.max(end, Number(bytes.readBigUInt64LE(head + 8)) + Number(bytes.readBigUInt64LE(head + 32)));
    }
    found.push({ at, bytes: end });
  }
  return found;
}
