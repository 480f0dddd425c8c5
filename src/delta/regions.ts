/** What lies where in an artifact, for people: sections of the ELF files in it. */

export interface Region {
  readonly name: string;
  /** Where it ends; it begins where the one before does. */
  readonly end: number;
}

const MAGIC = Buffer.from('\x7fELF\x02\x01\x01', 'latin1');
/** Of a section's head: bytes; types without bytes in the file. */
const HEAD_BYTES = 64;
const NOTHING_TYPES = new Set([0, 8]);
export const REST = 'other bytes';

/** Regions one after another, up to the end. Files inside files count with the outer one. */
export function regionsOf(bytes: Buffer): readonly Region[] {
  const regions: Region[] = [];
  const add = (name: string, end: number): void => {
    if (end > (regions.at(-1)?.end ?? 0)) regions.push({ name, end });
  };
  for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, Math.max(at + 4, regions.at(-1)?.end ?? 0))) {
    const sections = sectionsOf(bytes, at);
    if (sections.length === 0) continue;
    add(REST, at);
    for (const { name, begin, end } of sections) {
      add('between sections', begin);
      add(name, end);
    }
  }
  add(REST, bytes.length);
  return regions;
}

function sectionsOf(bytes: Buffer, at: number): readonly { readonly name: string; readonly begin: number; readonly end: number }[] {
  if (at + HEAD_BYTES > bytes.length) return [];
  const table = at + Number(bytes.readBigUInt64LE(at + 40));
  const count = bytes.readUInt16LE(at + 60);
  const names = table + HEAD_BYTES * bytes.readUInt16LE(at + 62);
  if (bytes.readUInt16LE(at + 58) !== HEAD_BYTES || table + HEAD_BYTES * count > bytes.length || names + HEAD_BYTES > bytes.length) return [];
  const text = at + Number(bytes.readBigUInt64LE(names + 24));
  const found = [{ name: 'heads of sections', begin: table, end: table + HEAD_BYTES * count }];
  for (let n = 0; n < count; n++) {
    const head = table + HEAD_BYTES * n;
    const begin = at + Number(bytes.readBigUInt64LE(head + 24));
    const end = begin + Number(bytes.readBigUInt64LE(head + 32));
    const name = text + bytes.readUInt32LE(head);
    if (NOTHING_TYPES.has(bytes.readUInt32LE(head + 4)) || end > bytes.length || name >= bytes.length) continue;
    found.push({ name: bytes.toString('latin1', name, Math.min(name + 64, Math.max(name, bytes.indexOf(0, name)))), begin, end });
  }
  return found.sort((a, b) => a.begin - b.begin);
}
