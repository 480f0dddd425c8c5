import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_MAX_PREREQUISITES, DELTA_MAX_SEGMENTS } from '../core/limits.ts';
import { blake3 } from '../kernel/hash.ts';
import type { DeltaObjects } from './apply.ts';
import type { MadeDelta } from './make.ts';
import { CONTAINER_FEATURE, decodeDeltaManifest } from './manifest.ts';
import type { DeltaManifest } from './manifest.ts';
import type { BaseReader } from './predict.ts';

/**
 * One file that is a whole delta: a head, the manifest without the ids, which follow from the rest of the file, then map pages and
 * payloads in the manifest's order (docs/delta.md, "One file").
 */

export const DELTA_FILE_MAGIC = 'SHDF';
const VERSION = 1;
const HEAD_BYTES = 5;
/** Of a manifest: magic and version, which the file's stand for; all up to its pages; a page and a segment without ids. */
const SKIPPED_BYTES = 5;
const ENDS_BYTES = 6 + 2 * 38 + 8;
const PAGE_BYTES = 9;
const SEGMENT_BYTES = 45;
const ID_BYTES = 32;

/** The bytes of the file, in order. */
export function* deltaFileParts({ manifest, manifestBytes, objects }: MadeDelta): Generator<Uint8Array> {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(DELTA_FILE_MAGIC, 'latin1');
  head.writeUInt8(VERSION, 4);
  yield head;
  yield manifestBytes.subarray(SKIPPED_BYTES, ENDS_BYTES);
  let at = ENDS_BYTES;
  for (let n = 0; n < manifest.pages.length; n++, at += ID_BYTES + PAGE_BYTES) yield manifestBytes.subarray(at + ID_BYTES, at + ID_BYTES + PAGE_BYTES);
  for (const { prerequisites, payload } of manifest.segments) {
    const end = at + SEGMENT_BYTES + 3 * prerequisites.length;
    yield manifestBytes.subarray(at, end);
    at = end + (payload === undefined ? 0 : ID_BYTES);
  }
  // The streams of containers, where there are any.
  yield manifestBytes.subarray(at);
  for (const { id } of objectsOf(manifest)) yield objects.get(id) ?? new Uint8Array(0);
}

interface Sized {
  readonly id: ObjectId;
  readonly size: number;
}

function objectsOf({ pages, segments }: DeltaManifest): readonly Sized[] {
  return [...pages, ...segments.flatMap(({ payload }) => (payload === undefined ? [] : [payload]))];
}

export interface DeltaFile extends DeltaObjects {
  readonly manifest: DeltaManifest;
  readonly manifestBytes: number;
}

function bad(why: string): ShoalError {
  return new ShoalError('BAD_DELTA', `this is no delta file: ${why}`);
}

/**
 * Opens a delta file of `size` bytes by random reads. Reads all of it once: the ids of its parts are what they hash to.
 *
 * @throws ShoalError `BAD_DELTA` and what `decodeDeltaManifest` throws
 */
export async function openDeltaFile(file: BaseReader, size: number): Promise<DeltaFile> {
  const read = async (position: number, length: number, into?: Uint8Array): Promise<Buffer> => {
    if (length > size - position) throw bad('it ends too early');
    const bytes = into === undefined ? Buffer.allocUnsafeSlow(length) : Buffer.from(into.buffer, into.byteOffset, length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(bytes, done, length - done, position + done);
      if (bytesRead === 0) throw bad('it ends too early');
      done += bytesRead;
    }
    return bytes;
  };
  const head = await read(0, HEAD_BYTES);
  if (head.toString('latin1', 0, 4) !== DELTA_FILE_MAGIC) throw bad('it begins otherwise');
  if (head.readUInt8(4) !== VERSION) throw new ShoalError('DELTA_FEATURE', `this delta file has version ${String(head.readUInt8(4))}; this program knows ${String(VERSION)}`);
  const ends = await read(HEAD_BYTES, ENDS_BYTES - SKIPPED_BYTES);
  const pages = ends.readUInt32LE(ends.length - 8);
  const segments = ends.readUInt32LE(ends.length - 4);
  if (segments > DELTA_MAX_SEGMENTS || pages > segments) throw bad('its counts are impossible');
  const from = HEAD_BYTES + ends.length;
  const rest = await read(from, Math.min(size - from, pages * PAGE_BYTES + segments * (SEGMENT_BYTES + 3 * DELTA_MAX_PREREQUISITES)));
  const { bytes, ids, used } = spread(ends, rest, pages, segments);
  const views = ends[0] === CONTAINER_FEATURE ? await read(from + used, 3) : undefined;
  const streams = views === undefined ? Buffer.alloc(0) : await read(from + used, 3 + views.readUIntLE(0, 3));
  // Each object where it lies, and its id where the manifest has room for it.
  const positions: number[] = [];
  let position = from + used + streams.length;
  let room = Buffer.alloc(0);
  for (const { at, size: length } of ids) {
    if (length > size - position) throw bad('it ends too early');
    if (length > room.length) room = Buffer.allocUnsafeSlow(length);
    bytes.set(blake3(await read(position, length, room.subarray(0, length))), at);
    positions.push(position);
    position += length;
  }
  if (position !== size) throw bad('it is longer than its parts');
  const manifest = decodeDeltaManifest(streams.length === 0 ? bytes : Buffer.concat([bytes, streams]));
  const places = new Map(objectsOf(manifest).map(({ id, size: length }, n) => [id, { position: positions[n] ?? 0, size: length }]));
  return {
    manifest,
    manifestBytes: HEAD_BYTES + ends.length + used + streams.length,
    object: async (id, expected, into) => {
      const found = places.get(id);
      if (found === undefined) throw bad(`it has no object ${id}`);
      return read(found.position, found.size, expected === found.size ? into : undefined);
    },
  };
}

/** The manifest with room for ids, where these are, what they are of, and how many bytes of `rest` it took. */
function spread(ends: Buffer, rest: Buffer, pages: number, segments: number): { readonly bytes: Buffer; readonly ids: readonly { readonly at: number; readonly size: number }[]; readonly used: number } {
  const bytes = Buffer.alloc(ENDS_BYTES + rest.length + (pages + segments) * ID_BYTES);
  const ids: { at: number; size: number }[] = [];
  bytes.write('SHDM\x01', 'latin1');
  ends.copy(bytes, SKIPPED_BYTES);
  let at = ENDS_BYTES;
  let used = 0;
  const take = (length: number): void => {
    if (length > rest.length - used) throw bad('it ends too early');
    rest.copy(bytes, at, used, used + length);
    at += length;
    used += length;
  };
  for (let n = 0; n < pages; n++) {
    ids.push({ at, size: used + 3 <= rest.length ? rest.readUIntLE(used, 3) : 0 });
    at += ID_BYTES;
    take(PAGE_BYTES);
  }
  for (let n = 0; n < segments; n++) {
    const needs = rest[used + 5] ?? 0;
    if (needs > DELTA_MAX_PREREQUISITES) throw bad('a segment needs too many others');
    take(SEGMENT_BYTES + 3 * needs);
    const size = rest.readUIntLE(used - 3, 3);
    if (size === 0) continue;
    ids.push({ at, size });
    at += ID_BYTES;
  }
  return { bytes: bytes.subarray(0, at), ids, used };
}
