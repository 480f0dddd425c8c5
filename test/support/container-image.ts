import { createRequire } from 'node:module';
import { crc32 } from 'node:zlib';
import { adler32, zlibHead } from '../../src/container/deflate.ts';
import { random } from '../../fixtures/delta/inputs.ts';

/** An image like squashfs: bytes that stand for themselves, and blocks that are compressed alone as zlib does. */
export interface ImagePart {
  readonly bytes: Uint8Array;
  /** Undefined: as it is. */
  readonly level?: number;
  /** With gzip's head and trailer; default: zlib's. */
  readonly gzip?: boolean;
}

export function image(parts: readonly ImagePart[]): Buffer {
  const out: Uint8Array[] = [];
  for (const { bytes, level, gzip } of parts) {
    if (level === undefined) out.push(bytes);
    else out.push(gzip === true ? gzipped(bytes, level) : deflated(bytes, level, true));
  }
  return Buffer.concat(out);
}

const pako = createRequire(import.meta.url)('pako') as { readonly deflateRaw: (data: Uint8Array, options: object) => Uint8Array };

function deflated(bytes: Uint8Array, level: number, zlib: boolean): Uint8Array {
  const raw = pako.deflateRaw(bytes, { level, memLevel: 8, windowBits: 15 });
  if (!zlib) return raw;
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(adler32(bytes));
  return Buffer.concat([Uint8Array.from(zlibHead(level)), raw, sum]);
}

function gzipped(bytes: Uint8Array, level: number): Uint8Array {
  const end = Buffer.alloc(8);
  end.writeUInt32LE(crc32(bytes), 0);
  end.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, level === 9 ? 2 : level === 1 ? 4 : 0, 3]), deflated(bytes, level, false), end]);
}

/** Content that compresses somewhat: records with noise in them. */
export function compressible(seed: number, size: number): Buffer {
  const next = random(seed);
  const out = Buffer.alloc(size);
  for (let at = 0; at + 16 <= size; at += 16) {
    out.writeUInt32LE(next() >>> 8, at);
    out.writeUInt16LE(next() % 700, at + 8);
  }
  return out;
}
