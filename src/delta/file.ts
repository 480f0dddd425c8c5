import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_MANIFEST_MAX_BYTES } from '../core/limits.ts';
import type { DeltaObjects } from './apply.ts';
import type { MadeDelta } from './make.ts';
import { decodeDeltaManifest } from './manifest.ts';
import type { DeltaManifest } from './manifest.ts';
import type { BaseReader } from './predict.ts';

/**
 * One file that is a whole delta: a head, the manifest, map pages and payloads in the manifest's order, each object once
 * (docs/delta.md, "One file").
 */

export const DELTA_FILE_MAGIC = 'SHDF';
const VERSION = 1;
const HEAD_BYTES = 9;

/** The bytes of the file, in order. */
export function* deltaFileParts({ manifestBytes, objects }: MadeDelta): Generator<Uint8Array> {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(DELTA_FILE_MAGIC, 'latin1');
  head.writeUInt8(VERSION, 4);
  head.writeUInt32LE(manifestBytes.length, 5);
  yield head;
  yield manifestBytes;
  yield* objects.values();
}

export interface DeltaFile extends DeltaObjects {
  readonly manifest: DeltaManifest;
  readonly manifestBytes: number;
}

function bad(why: string): ShoalError {
  return new ShoalError('BAD_DELTA', `this is no delta file: ${why}`);
}

/**
 * Opens a delta file of `size` bytes by random reads.
 *
 * @throws ShoalError `BAD_DELTA` and what `decodeDeltaManifest` throws
 */
export async function openDeltaFile(file: BaseReader, size: number): Promise<DeltaFile> {
  const read = async (position: number, length: number, into?: Uint8Array): Promise<Uint8Array> => {
    const bytes = into ?? Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(bytes, done, length - done, position + done);
      if (bytesRead === 0) throw bad('it ends too early');
      done += bytesRead;
    }
    return bytes;
  };
  if (size < HEAD_BYTES) throw bad('it ends too early');
  const head = Buffer.from(await read(0, HEAD_BYTES));
  if (head.toString('latin1', 0, 4) !== DELTA_FILE_MAGIC) throw bad('it begins otherwise');
  if (head.readUInt8(4) !== VERSION) throw new ShoalError('DELTA_FEATURE', `this delta file has version ${String(head.readUInt8(4))}; this program knows ${String(VERSION)}`);
  const length = head.readUInt32LE(5);
  if (length > DELTA_MANIFEST_MAX_BYTES || length > size - HEAD_BYTES) throw bad('its manifest is too long');
  const manifest = decodeDeltaManifest(await read(HEAD_BYTES, length));
  const places = new Map<ObjectId, { readonly position: number; readonly size: number }>();
  let position = HEAD_BYTES + length;
  const place = (object: { readonly id: ObjectId; readonly size: number }): void => {
    if (places.has(object.id)) return;
    places.set(object.id, { position, size: object.size });
    position += object.size;
  };
  for (const page of manifest.pages) place(page);
  for (const { payload } of manifest.segments) if (payload !== undefined) place(payload);
  if (position !== size) throw bad('it is longer or shorter than its parts');
  return {
    manifest,
    manifestBytes: length,
    object: async (id, expected, into) => {
      const found = places.get(id);
      if (found === undefined) throw bad(`it has no object ${id}`);
      return read(found.position, found.size, expected === found.size ? into : undefined);
    },
  };
}
