import { decodeViews, encodeViews } from '../container/views.ts';
import { ByteReader, ByteWriter } from '../core/codec.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { idFromBytes, idToBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_MAX_SEGMENTS, DELTA_SEGMENT_MAX_BYTES } from '../core/limits.ts';
import { blake3 } from '../kernel/hash.ts';
import type { DeltaObjects } from './apply.ts';
import { CHECK_BYTES, PREDICTIONS_CHECK_BYTES, checkOf } from './check.ts';
import type { MadeDelta } from './making/made.ts';
import { CONTAINER_FEATURE, EARLIER_FEATURE, featureOf, isKnownFeature, whatIsWrong } from './manifest.ts';
import type { DeltaOutline, DeltaSizes, OutlinedSegment } from './manifest.ts';
import type { BaseReader } from './predict.ts';
import { Codec } from './types.ts';
import type { CodecId } from './types.ts';

/**
 * One file that is a whole delta: an outline as short as can be, because a file may say no more than "as it was, but for this
 * place", then map pages and payloads (docs/delta.md, "One file"). What all segments make is checked at once, at the end.
 */

export const DELTA_FILE_MAGIC = 'SHDF';
const VERSION = 2;
const HEAD_BYTES = 5;
/** The upper half of a byte; the feature is the lower. */
const VERSION_SHIFT = 4;
/** Of a run of segments: its codec, whether their length follows, how many more there are. */
const CODEC_BITS = 7;
const OWN_LENGTH = 8;
const MORE_SHIFT = 4;
const MANY = 15;
/** Of the file, read first: nearly always the whole outline. */
const FIRST_READ = 64 * 1024;

/** The bytes of the file, in order. */
export function* deltaFileParts({ manifest, objects }: MadeDelta): Generator<Uint8Array> {
  const { base, target, pages, segments, views } = manifest;
  const out = new ByteWriter();
  out.raw(Buffer.from(DELTA_FILE_MAGIC)).uint((VERSION << VERSION_SHIFT) | featureOf(manifest), 1);
  // A base is nearly as large: the difference, twice its amount and one more where the base is smaller.
  out.number(target.size).number(2 * Math.abs(base.size - target.size) + (base.size < target.size ? 1 : 0));
  const check = checkOf(segments.map((segment) => idToBytes(segment.target)), segments.map(({ prediction }) => prediction));
  out.raw(check.target).raw(check.predictions);
  out.number(pages.length);
  // The last page describes what is left.
  for (const [number, { size, covers, segments: own }] of pages.entries()) {
    out.number(size).number(covers);
    if (number < pages.length - 1) out.number(own);
  }
  let left = target.size;
  for (let i = 0; i < segments.length; ) {
    const { codec, length } = segments[i] as OutlinedSegment;
    const own = length !== usualLength(left);
    let next = i;
    for (; segments[next]?.codec === codec && segments[next]?.length === (own ? length : usualLength(left)); next++) left -= segments[next]?.length ?? 0;
    const more = next - i - 1;
    out.uint(codec | (own ? OWN_LENGTH : 0) | (Math.min(more, MANY) << MORE_SHIFT), 1);
    if (more >= MANY) out.number(more - MANY);
    if (own) out.number(length);
    if (hasSize(codec)) for (const { payload } of segments.slice(i, next)) out.number(payload?.size ?? 0);
    i = next;
  }
  if (views !== undefined) {
    const streams = encodeViews(views);
    out.uint(streams.length, 3).raw(streams);
  }
  yield out.finish();
  for (const { id } of objectsOf(manifest)) yield objects.get(id) ?? new Uint8Array(0);
}

/** How long a segment is that says nothing of it. */
function usualLength(left: number): number {
  return Math.min(left, DELTA_SEGMENT_MAX_BYTES);
}

function hasSize(codec: CodecId): boolean {
  return codec !== Codec.COPY && codec !== Codec.RAW;
}

interface Sized {
  readonly id: ObjectId;
  readonly size: number;
}

function objectsOf({ pages, segments }: Pick<DeltaOutline, 'pages' | 'segments'>): readonly Sized[] {
  return [...pages, ...segments.flatMap(({ payload }) => (payload === undefined ? [] : [payload]))];
}

export interface DeltaFile extends DeltaObjects {
  readonly outline: DeltaOutline;
  /** Of the file, before its map. */
  readonly outlineBytes: number;
}

function bad(why: string): ShoalError {
  return new ShoalError('BAD_DELTA', `this is no delta file: ${why}`);
}

/**
 * Opens a delta file of `size` bytes by random reads. Reads all of it once: the ids of its parts are what they hash to.
 *
 * @throws ShoalError `BAD_DELTA`, `TRUNCATED`, `ENCODE_RANGE`; `DELTA_FEATURE` when it is well but needs a newer program
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
  const head = await read(0, Math.min(size, HEAD_BYTES));
  if (head.toString('latin1', 0, 4) !== DELTA_FILE_MAGIC) throw bad('it begins otherwise');
  const version = (head[4] ?? 0) >> VERSION_SHIFT;
  const feature = (head[4] ?? 0) & 15;
  if (version !== VERSION || !isKnownFeature(feature)) {
    throw new ShoalError('DELTA_FEATURE', `this delta file has version ${String(version)}, feature ${String(feature)}; this program knows ${String(VERSION)} and up to ${String(EARLIER_FEATURE)}`);
  }
  const { sketch, used } = await sketched(read, size, feature);
  let position = used;
  let views: DeltaOutline['views'];
  if (feature === CONTAINER_FEATURE) {
    const length = (await read(used, 3)).readUIntLE(0, 3);
    views = decodeViews(await read(used + 3, length), sketch.base.size, sketch.target.size);
    position += 3 + length;
  }
  const outlineBytes = position;
  // Each object where it lies, and its id.
  const places = new Map<ObjectId, { readonly position: number; readonly size: number }>();
  let room = Buffer.alloc(0);
  const named = async (length: number): Promise<Sized> => {
    if (length > size - position) throw bad('it ends too early');
    if (length > room.length) room = Buffer.allocUnsafeSlow(length);
    const id = idFromBytes(blake3(await read(position, length, room.subarray(0, length))));
    places.set(id, { position, size: length });
    position += length;
    return { id, size: length };
  };
  const pages = [];
  for (const page of sketch.pages) pages.push({ ...page, ...(await named(page.size)) });
  const segments = [];
  for (const { length, codec, size: bytes } of sketch.segments) segments.push({ length, codec, payload: bytes === 0 ? undefined : await named(bytes) });
  if (position !== size) throw bad('it is longer than its parts');
  return {
    outline: { ...sketch, pages, segments, ...(views === undefined ? {} : { views }), ...(feature === EARLIER_FEATURE ? { looksBack: true } : {}) },
    outlineBytes,
    object: async (id, expected, into) => {
      const found = places.get(id);
      if (found === undefined) throw bad(`it has no object ${id}`);
      return read(found.position, found.size, expected === found.size ? into : undefined);
    },
  };
}

/** What stands before the objects, all bounds checked: from as many bytes as it turns out to take. */
async function sketched(read: (position: number, length: number) => Promise<Buffer>, size: number, feature: number): Promise<{ readonly sketch: Sketch; readonly used: number }> {
  for (let length = FIRST_READ; ; length *= 4) {
    const bytes = await read(HEAD_BYTES, Math.min(size - HEAD_BYTES, length));
    const input = new ByteReader(bytes, 'outline of the delta file');
    let sketch: Sketch;
    try {
      sketch = readSketch(input);
    } catch (error) {
      if (bytes.length < size - HEAD_BYTES && isShoalError(error, 'TRUNCATED')) continue;
      throw error;
    }
    const wrong = whatIsWrong(sketch, feature);
    if (wrong !== undefined) throw bad(wrong);
    return { sketch, used: HEAD_BYTES + bytes.length - input.remaining };
  }
}

/** The outline before its objects have names. */
interface Sketch extends DeltaSizes {
  readonly check: NonNullable<DeltaOutline['check']>;
}

function readSketch(input: ByteReader): Sketch {
  const target = { size: input.number() };
  const more = input.number();
  const base = { size: target.size + (more % 2 === 0 ? more / 2 : -(more - 1) / 2) };
  if (base.size < 0) throw bad('its base is impossible');
  const check = { target: Uint8Array.from(input.raw(CHECK_BYTES)), predictions: Uint8Array.from(input.raw(PREDICTIONS_CHECK_BYTES)) };
  const count = input.number();
  if (count > DELTA_MAX_SEGMENTS) throw bad('its counts are impossible');
  const pages = [];
  for (let i = 0; i < count; i++) pages.push({ size: input.number(), covers: input.number(), segments: i < count - 1 ? input.number() : 0 });
  const segments: { length: number; codec: CodecId; size: number }[] = [];
  for (let left = target.size; left > 0; ) {
    const head = input.uint(1);
    const codec = (head & CODEC_BITS) as CodecId;
    const more = head >> MORE_SHIFT;
    let run = 1 + more + (more === MANY ? input.number() : 0);
    const own = head & OWN_LENGTH ? input.number() : undefined;
    if (run > DELTA_MAX_SEGMENTS - segments.length) throw bad('its counts are impossible');
    for (; run > 0; run--) {
      const length = own ?? usualLength(left);
      if (length === 0 || length > left) throw bad('its segments do not make the target');
      left -= length;
      segments.push({ length, codec, size: codec === Codec.RAW ? length : hasSize(codec) ? input.number() : 0 });
    }
  }
  const described = pages.reduce((sum, page) => sum + page.segments, 0);
  return { base, target, check, pages: pages.map((page, i) => (i < count - 1 ? page : { ...page, segments: segments.length - described })), segments };
}
