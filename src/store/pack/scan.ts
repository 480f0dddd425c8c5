import { crc32 } from 'node:zlib';
import type { OpenFile } from '../files.ts';
import { HEAD_MAX_BYTES, MARKER_BYTES, decodeHead } from './format.ts';
import type { RecordHead } from './format.ts';

/** Bytes read at a time: bounds memory whatever a record claims. */
const PIECE = 1024 * 1024;

export interface FoundRecord {
  readonly offset: number;
  readonly head: RecordHead;
}

/**
 * Finds the whole, undamaged records of a pack from byte `from` on, payload checksums included. What lies between them
 * (a torn end, a hole, rot) is stepped over by looking for the next marker.
 */
export async function* scanPack(file: OpenFile, marker: Uint8Array, from: number): AsyncGenerator<FoundRecord> {
  const size = await file.size();
  const window = new Uint8Array(HEAD_MAX_BYTES);
  for (let offset = from; offset < size; ) {
    const head = decodeHead(marker, window.subarray(0, await file.read(window, offset)));
    const end = head === undefined ? Infinity : offset + head.head + head.stored;
    if (head !== undefined && end <= size && (await checksumOf(file, offset + head.head, head.stored)) === head.crc) {
      yield { offset, head };
      offset = end;
    } else {
      offset = await nextMarker(file, marker, offset + 1, size);
    }
  }
}

/** Reads the head of the record at `offset`, or undefined when it is damaged. */
export async function readHead(file: OpenFile, marker: Uint8Array, offset: number): Promise<RecordHead | undefined> {
  const window = new Uint8Array(HEAD_MAX_BYTES);
  return decodeHead(marker, window.subarray(0, await file.read(window, offset)));
}

/** CRC-32 of `length` bytes at `offset`; of fewer when the file ends before. */
async function checksumOf(file: OpenFile, offset: number, length: number): Promise<number> {
  const piece = new Uint8Array(Math.min(PIECE, length));
  let crc = 0;
  for (let done = 0; done < length; ) {
    const count = await file.read(piece.subarray(0, Math.min(PIECE, length - done)), offset + done);
    if (count === 0) break;
    crc = crc32(piece.subarray(0, count), crc);
    done += count;
  }
  return crc;
}

async function nextMarker(file: OpenFile, marker: Uint8Array, from: number, size: number): Promise<number> {
  const piece = Buffer.allocUnsafe(Math.min(PIECE, Math.max(0, size - from)));
  for (let at = from; at < size; at += PIECE - MARKER_BYTES + 1) {
    const count = await file.read(piece, at);
    const found = piece.subarray(0, count).indexOf(marker);
    if (found >= 0) return at + found;
  }
  return size;
}
