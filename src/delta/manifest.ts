import { decodeViews, encodeViews } from '../container/views.ts';
import type { Views } from '../container/views.ts';
import { ByteReader, ByteWriter } from '../core/codec.ts';
import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import {
  DELTA_MANIFEST_MAX_BYTES,
  DELTA_MAX_BYTES,
  DELTA_MAX_PREREQUISITES,
  DELTA_MAX_SEGMENTS,
  DELTA_MOVED_MAX_BYTES,
  DELTA_MOVED_MAX_COVERS,
  DELTA_PAGE_MAX_BYTES,
  DELTA_PAGE_MAX_COVERS,
  DELTA_SEGMENT_MAX_BYTES,
} from '../core/limits.ts';
import { Codec } from './types.ts';
import type { CodecId } from './types.ts';

/**
 * What a delta consists of (docs/delta.md, "Manifest"). The encoding is canonical: fixed-width fields, no optional forms,
 * so that a delta has one manifest and that has one id.
 */

/** The coding of map pages and payloads that this code knows. A manifest with another number is content for others. */
export const DELTA_FEATURE = 1;
/** The same, between artifacts whose compressed streams are expanded (docs/containers.md). */
export const CONTAINER_FEATURE = 2;
/** As the first, where segments may copy from earlier ones (docs/delta.md, "Earlier segments"). */
export const EARLIER_FEATURE = 3;

const MAGIC = Buffer.from('SHDM');
const VERSION = 1;
/** A prediction is named by the first 4 bytes of its BLAKE3: it tells drift from damage and protects nothing. */
export const PREDICTION_BYTES = 4;

export interface DeltaEnd {
  /** Root of its index (docs/format.md). */
  readonly root: ObjectId;
  readonly size: number;
}

export interface DeltaPage {
  readonly id: ObjectId;
  readonly size: number;
  readonly covers: number;
  /** How many segments, in order, it describes. */
  readonly segments: number;
}

/** What decoding a segment takes. */
export interface OutlinedSegment {
  /** Target bytes it makes. */
  readonly length: number;
  readonly codec: CodecId;
  readonly payload: { readonly id: ObjectId; readonly size: number } | undefined;
  /** `PREDICTION_BYTES` of the BLAKE3 of the prediction; zeros where the codec uses none. */
  readonly prediction?: Uint8Array;
  /** BLAKE3 of what it makes. */
  readonly target?: ObjectId;
  /** Numbers of earlier segments that must be there first, where that is known: in a file these are all before it. */
  readonly prerequisites?: readonly number[];
}

/** All that decoding takes. A manifest says what each segment makes, a file what all of them make together. */
export interface DeltaOutline {
  readonly base: { readonly size: number };
  readonly target: { readonly size: number };
  readonly pages: readonly DeltaPage[];
  readonly segments: readonly OutlinedSegment[];
  /** The streams that are expanded: then pages, parts and the base are as docs/containers.md says. Undefined without containers. */
  readonly views?: Views;
  /** Covers may show target bytes of earlier segments, as if they lay behind the base's end. Not with containers. */
  readonly looksBack?: boolean;
  /** Where segments have none: of the hashes of what they make, and of their predictions (src/delta/file.ts). */
  readonly check?: { readonly target: Uint8Array; readonly predictions: Uint8Array };
}

/** One segment of a manifest: whole spans. */
export interface DeltaSegment extends OutlinedSegment {
  readonly spans: number;
  /** Numbers of earlier segments whose output must be there first, ascending; none but in feature 3. */
  readonly prerequisites: readonly number[];
  readonly prediction: Uint8Array;
  readonly target: ObjectId;
}

export interface DeltaManifest extends DeltaOutline {
  readonly base: DeltaEnd;
  readonly target: DeltaEnd;
  readonly segments: readonly DeltaSegment[];
}

/** The feature that a delta needs. */
export function featureOf({ looksBack, views }: Pick<DeltaOutline, 'looksBack' | 'views'>): number {
  return views !== undefined ? CONTAINER_FEATURE : looksBack === true ? EARLIER_FEATURE : DELTA_FEATURE;
}

export function isKnownFeature(feature: number): boolean {
  return feature >= DELTA_FEATURE && feature <= EARLIER_FEATURE;
}

export function encodeDeltaManifest(manifest: DeltaManifest): Uint8Array {
  const out = new ByteWriter(256 + manifest.segments.length * 96);
  out.raw(MAGIC).uint(VERSION, 1).uint(featureOf(manifest), 1);
  for (const { root, size } of [manifest.base, manifest.target]) out.id(root).uint(size, 6);
  out.uint(manifest.pages.length, 4).uint(manifest.segments.length, 4);
  for (const { id, size, covers, segments } of manifest.pages) out.id(id).uint(size, 3).uint(covers, 3).uint(segments, 3);
  for (const segment of manifest.segments) {
    out.uint(segment.length, 3).uint(segment.spans, 1).uint(segment.codec, 1).uint(segment.prerequisites.length, 1);
    for (const number of segment.prerequisites) out.uint(number, 3);
    out.raw(segment.prediction).id(segment.target).uint(segment.payload?.size ?? 0, 3);
    if (segment.payload !== undefined) out.id(segment.payload.id);
  }
  if (manifest.views !== undefined) {
    const views = encodeViews(manifest.views);
    out.uint(views.length, 3).raw(views);
  }
  return out.finish();
}

function bad(why: string): ShoalError {
  return new ShoalError('BAD_DELTA', `this is no delta manifest: ${why}`, { retry: 'elsewhere' });
}

/**
 * Reads a manifest, all bounds checked.
 *
 * @throws ShoalError `BAD_DELTA`, `TRUNCATED` or `TRAILING_BYTES`; `DELTA_FEATURE` when it is well but needs a newer program
 */
export function decodeDeltaManifest(bytes: Uint8Array): DeltaManifest {
  if (bytes.length > DELTA_MANIFEST_MAX_BYTES) throw bad('it is too long');
  const input = new ByteReader(bytes, 'delta manifest');
  if (!MAGIC.equals(input.raw(MAGIC.length))) throw bad('it begins otherwise');
  const version = input.uint(1);
  const feature = input.uint(1);
  if (version !== VERSION || !isKnownFeature(feature)) {
    throw new ShoalError('DELTA_FEATURE', `this delta needs version ${String(version)}, feature ${String(feature)}; this program knows ${String(VERSION)} and up to ${String(EARLIER_FEATURE)}`);
  }
  const end = (): DeltaEnd => ({ root: input.id(), size: input.uint(6) });
  const base = end();
  const target = end();
  const pageCount = input.uint(4);
  const segmentCount = input.uint(4);
  if (segmentCount > DELTA_MAX_SEGMENTS || pageCount * 41 + segmentCount * 45 > input.remaining) throw bad('its counts are impossible');
  const pages: DeltaPage[] = [];
  for (let i = 0; i < pageCount; i++) pages.push({ id: input.id(), size: input.uint(3), covers: input.uint(3), segments: input.uint(3) });
  const segments: DeltaSegment[] = [];
  for (let i = 0; i < segmentCount; i++) segments.push(readSegment(input, i, feature === EARLIER_FEATURE));
  const wrong = whatIsWrong({ base, target, pages, segments: segments.map(({ length, codec, payload }) => ({ length, codec, size: payload?.size ?? 0 })) }, feature);
  if (wrong !== undefined) throw bad(wrong);
  if (feature !== CONTAINER_FEATURE) {
    input.end();
    return { base, target, pages, segments, ...(feature === EARLIER_FEATURE ? { looksBack: true } : {}) };
  }
  const views = decodeViews(input.raw(input.uint(3)), base.size, target.size);
  input.end();
  return { base, target, pages, segments, views };
}

/** What a manifest or a file says of sizes. `size` of a segment: of its payload. */
export interface DeltaSizes extends Pick<DeltaOutline, 'base' | 'target'> {
  readonly pages: readonly Omit<DeltaPage, 'id'>[];
  readonly segments: readonly { readonly length: number; readonly codec: CodecId; readonly size: number }[];
}

/** Which bound is not kept; undefined: all are. */
export function whatIsWrong({ base, target, pages, segments }: DeltaSizes, feature: number): string | undefined {
  if (base.size > DELTA_MAX_BYTES || target.size > DELTA_MAX_BYTES) return 'its base or target is too large';
  if (feature === EARLIER_FEATURE && base.size + target.size > DELTA_MAX_BYTES) return 'its base and target are too large together';
  if (segments.length > DELTA_MAX_SEGMENTS || pages.length > segments.length) return 'its counts are impossible';
  const sum = <T>(list: readonly T[], what: (each: T) => number): number => list.reduce((all, each) => all + what(each), 0);
  const page = pages.findIndex(({ size, covers, segments: own }) => size > DELTA_PAGE_MAX_BYTES || covers > DELTA_PAGE_MAX_COVERS || own <= 0);
  if (page >= 0) return `page ${String(page)} is out of bounds`;
  if (sum(pages, ({ segments: own }) => own) !== segments.length) return 'its pages describe other segments';
  const segment = segments.findIndex((each) => !isLawful(each, feature === CONTAINER_FEATURE));
  if (segment >= 0) return `segment ${String(segment)} is out of bounds`;
  if (sum(segments, ({ length }) => length) !== target.size) return 'its segments do not make the target';
  if (!canMove(pages) && segments.some(({ codec }) => codec === Codec.MOVED)) return 'its map is too large to move references by';
  return undefined;
}

/** Whether references may be moved by the map of these pages: a device keeps all of it. */
export function canMove(pages: readonly Omit<DeltaPage, 'id'>[]): boolean {
  const sum = (what: 'covers' | 'size'): number => pages.reduce((all, page) => all + page[what], 0);
  return sum('covers') <= DELTA_MOVED_MAX_COVERS && sum('size') <= DELTA_MOVED_MAX_BYTES;
}

function isLawful({ length, codec, size }: DeltaSizes['segments'][number], parts: boolean): boolean {
  if (length === 0 || length > DELTA_SEGMENT_MAX_BYTES) return false;
  if (codec === Codec.COPY) return size === 0;
  if (codec === Codec.RAW) return size === length;
  return (codec === Codec.SITES || codec === Codec.MOVED || (codec === Codec.PARTS && parts)) && size > 0 && size < length;
}

function readSegment(input: ByteReader, number: number, looksBack: boolean): DeltaSegment {
  const length = input.uint(3);
  const spans = input.uint(1);
  const codec = input.uint(1) as CodecId;
  const needs = input.uint(1);
  if (needs > (looksBack && codec !== Codec.RAW ? DELTA_MAX_PREREQUISITES : 0)) throw bad(`segment ${String(number)} needs others`);
  const prerequisites = Array.from({ length: needs }, () => input.uint(3));
  if (prerequisites.some((each, i) => each >= number || each <= (prerequisites[i - 1] ?? -1))) throw bad(`segment ${String(number)} needs others than earlier ones`);
  const prediction = Uint8Array.from(input.raw(PREDICTION_BYTES));
  const target = input.id();
  const size = input.uint(3);
  if (spans === 0 || (codec === Codec.RAW && prediction.some((byte) => byte !== 0))) throw bad(`segment ${String(number)} is out of bounds`);
  return { length, spans, codec, prerequisites, prediction, target, payload: size === 0 ? undefined : { id: input.id(), size } };
}

/** Everything a device fetches for the whole delta: manifest, map and payloads. */
export function deltaBytes(manifest: DeltaManifest, manifestBytes: number): number {
  let sum = manifestBytes;
  for (const { size } of manifest.pages) sum += size;
  for (const { payload } of manifest.segments) sum += payload?.size ?? 0;
  return sum;
}
