import { requireCodecs } from '../container/codec.ts';
import { contentIn, speedsHere } from '../container/effort.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { DELTA_DRIFT_LEAST, DELTA_MAX_FAILURES, DELTA_PAGES_OPEN, DELTA_WAITING_BYTES } from '../core/limits.ts';
import type { ContentKey } from '../core/wire.ts';
import { DeltaApplier } from '../delta/apply.ts';
import type { PlacedSegment } from '../delta/placed.ts';
import { canMove, decodeDeltaManifest, deltaBytes } from '../delta/manifest.ts';
import type { DeltaManifest } from '../delta/manifest.ts';
import { Codec } from '../delta/types.ts';
import type { IndexReader } from '../merkle/reader.ts';
import { workOf } from '../plan/work.ts';
import type { DeltaCache } from './delta-cache.ts';
import type { DeltaChoice } from './delta-choice.ts';
import { byteReader } from './local-chunks.ts';
import type { DeltaObject } from './source.ts';

/**
 * A delta in use: which segments make which spans, what of it is here, and what has become of it. A segment that does not
 * come out right is left to content; a base that turns out to be another, or a delta that is broken, is given up as a whole,
 * so that what a useless delta costs is bounded.
 */
export class DeltaRoad {
  readonly manifest: DeltaManifest;
  readonly segments: readonly PlacedSegment[];
  readonly applier: DeltaApplier;
  /** The base is known to be what the delta was made from. */
  readonly exact: boolean;
  /** Why it was given up; undefined while it is in use. */
  dropped: string | undefined;
  readonly #key: ContentKey;
  readonly #cache: DeltaCache;
  /** First span of each segment, and the number of spans at the end. */
  readonly #firsts: readonly number[];
  /** First segment of each map page. */
  readonly #pageFirsts: readonly number[];
  readonly #pages = new Map<number, Uint8Array>();
  /** Some segments need all pages, of which there are few then. */
  readonly #moves: boolean;
  /** Payloads that are about to be decoded: the cache may forget them meanwhile. */
  readonly #payloads = new Map<ObjectId, Uint8Array>();
  /** Payloads of segments whose prerequisites are not there yet. */
  readonly #held = new Map<ObjectId, Uint8Array>();
  #heldBytes = 0;
  readonly #unusable = new Set<number>();
  readonly #onDropped: (reason: string) => void;
  readonly #work = new Map<number, number>();
  #tried = 0;
  #drifted = 0;
  #failures = 0;

  private constructor(manifest: DeltaManifest, firsts: readonly number[], key: ContentKey, choice: DeltaChoice, cache: DeltaCache, onDropped: (reason: string) => void) {
    this.manifest = manifest;
    this.exact = choice.exact;
    this.#firsts = firsts;
    this.#key = key;
    this.#cache = cache;
    this.#onDropped = onDropped;
    this.applier = new DeltaApplier(manifest, { object: (id) => this.#object(id) }, byteReader(choice.base.file));
    this.segments = this.applier.segments;
    this.#moves = manifest.segments.some(({ codec }) => codec === Codec.MOVED || codec === Codec.PARTS) && canMove(manifest.pages);
    let segments = 0;
    this.#pageFirsts = manifest.pages.map((page) => (segments += page.segments) - page.segments);
    cache.note(key, manifest);
  }

  /**
   * Reads a manifest. Throws what `decodeDeltaManifest` throws, and `BAD_DELTA` when it is not for these two artifacts, does
   * not follow the spans of `index`, or makes a device fetch more than was listed.
   */
  static async open(bytes: Uint8Array, index: IndexReader, key: ContentKey, choice: DeltaChoice, cache: DeltaCache, onDropped: (reason: string) => void): Promise<DeltaRoad> {
    const manifest = decodeDeltaManifest(bytes);
    if (manifest.views !== undefined) await requireCodecs(manifest.views);
    const { base, target } = manifest;
    if (base.root !== choice.offer.base || base.size !== choice.offer.baseSize) throw bad('it starts from another base than was listed');
    if (target.root !== key.root || target.size !== index.bytes) throw bad('it makes another artifact');
    if (deltaBytes(manifest, bytes.byteLength) > choice.offer.bytes) throw bad('it is larger than was listed');
    return new DeltaRoad(manifest, await firstSpans(manifest, index), key, choice, cache, onDropped);
  }

  /** The segment that makes a span. */
  segmentOf(span: number): number {
    let [low, high] = [0, this.segments.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#firsts[middle] ?? 0) <= span) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  firstSpan(segment: number): number {
    return this.#firsts[segment] ?? 0;
  }

  /** The spans that a segment makes. */
  spansOf(segment: number): readonly number[] {
    const first = this.firstSpan(segment);
    return Array.from({ length: this.firstSpan(segment + 1) - first }, (_, at) => first + at);
  }

  usable(segment: number): boolean {
    return this.dropped === undefined && !this.#unusable.has(segment);
  }

  /** Whether the span may still come out of the delta. */
  makes(span: number): boolean {
    return this.dropped === undefined && this.usable(this.segmentOf(span));
  }

  /** What compressing again takes for a segment that is not here yet, as bytes (`src/plan/work.ts`). */
  workFor(segment: number): number {
    const known = this.#work.get(segment);
    if (known !== undefined) return known;
    const { views } = this.manifest;
    const placed = this.segments[segment];
    const work = views === undefined || placed?.codec !== Codec.PARTS ? 0 : workOf(contentIn(views.target, placed.begin, placed.begin + placed.length), speedsHere());
    this.#work.set(segment, work);
    return work;
  }

  /** That, and what is sent for the segment; nothing when the payload is here. */
  costOf(segment: number): number {
    return this.hasPayload(segment) ? 0 : (this.segments[segment]?.payload?.size ?? 0) + this.workFor(segment);
  }

  pageOf(segment: number): number {
    return this.segments[segment]?.page ?? 0;
  }

  page(page: number): DeltaObject & { readonly firstSegment: number } {
    const { id, size } = this.manifest.pages[page] ?? { id: '' as ObjectId, size: 0 };
    return { id, size, firstSegment: this.#pageFirsts[page] ?? 0 };
  }

  /** Whether what says how a segment is predicted is here: its page, or all of them where references are moved. */
  ready(segment: number): boolean {
    const codec = this.segments[segment]?.codec;
    // Parts say only when they are decoded whether they are moved.
    if (this.#moves && (codec === Codec.MOVED || codec === Codec.PARTS)) return this.#pages.size === this.manifest.pages.length;
    return this.hasPage(this.pageOf(segment));
  }

  /** Whether the segments that this one copies from are there; `whole`: of a span. */
  prepared(segment: number, whole: (span: number) => boolean): boolean {
    return this.manifest.segments[segment]?.prerequisites.every((each) => this.spansOf(each).every(whole)) !== false;
  }

  /** Whether a payload that cannot be used yet may be fetched: as much as there is room for. */
  mayWait(segment: number): boolean {
    return this.#heldBytes + (this.segments[segment]?.payload?.size ?? 0) <= DELTA_WAITING_BYTES;
  }

  hasPage(page: number): boolean {
    return this.#pages.has(page);
  }

  keepPage(page: number, bytes: Uint8Array): void {
    this.#pages.set(page, bytes);
    this.#cache.put(this.#key, this.page(page).id, bytes);
  }

  /** Those of the pages `needed` that may be asked for now: the first ones, few at a time. Lets go of the others. Where references are moved, all. */
  pagesToAsk(needed: ReadonlySet<number>): readonly number[] {
    if (this.#moves && needed.size > 0) return this.#pageFirsts.map((_, page) => page).filter((page) => !this.#pages.has(page));
    for (const page of this.#pages.keys()) if (!needed.has(page)) this.#pages.delete(page);
    return [...needed].sort((a, b) => a - b).slice(0, DELTA_PAGES_OPEN).filter((page) => !this.#pages.has(page));
  }

  /** What the cache has of a page, so that it is not asked for again. */
  recallPage(page: number): boolean {
    const bytes = this.#cache.get(this.#key, this.page(page).id);
    if (bytes !== undefined) this.#pages.set(page, bytes);
    return bytes !== undefined;
  }

  /** Whether a segment can be rebuilt without asking anybody for its payload. */
  hasPayload(segment: number): boolean {
    const payload = this.segments[segment]?.payload;
    return payload === undefined || this.#held.has(payload.id) || this.#cache.get(this.#key, payload.id) !== undefined;
  }

  keepPayload({ id }: DeltaObject, bytes: Uint8Array): void {
    this.#payloads.set(id, bytes);
    this.#cache.put(this.#key, id, bytes);
  }

  /** Keeps a payload for later: what is kept here alone is not asked for twice. */
  holdPayload({ id }: DeltaObject): void {
    const bytes = this.#payloads.get(id) ?? this.#cache.get(this.#key, id);
    if (bytes === undefined || this.#held.has(id) || this.#heldBytes + bytes.byteLength > DELTA_WAITING_BYTES) return;
    this.#held.set(id, bytes);
    this.#heldBytes += bytes.byteLength;
  }

  /** Its segment has come, or never will. */
  releasePayload({ id }: DeltaObject): void {
    this.#heldBytes -= this.#held.get(id)?.byteLength ?? 0;
    this.#held.delete(id);
  }

  forgetPayload({ id }: DeltaObject): void {
    this.#payloads.delete(id);
  }

  /** A segment came out right. */
  succeeded(segment: number): void {
    if (this.segments[segment]?.codec !== Codec.RAW) this.#tried++;
  }

  /** Nobody has what the segment needs. */
  absent(segment: number): void {
    this.#unusable.add(segment);
  }

  /** Weighs why a segment did not come out. Its spans are content's from now on. */
  failed(segment: number, error: unknown): void {
    this.#unusable.add(segment);
    if (isShoalError(error, 'BASE_DRIFTED') || isShoalError(error, 'BASE_TOO_SHORT') || isShoalError(error, 'FILE_IO')) {
      this.#tried++;
      this.#drifted++;
      if (this.#tried >= DELTA_DRIFT_LEAST && this.#drifted * 2 > this.#tried) this.drop('BASE_DRIFTED');
      return;
    }
    this.#failures++;
    if (isShoalError(error, 'DELTA_WRONG') || this.#failures >= DELTA_MAX_FAILURES) this.drop(isShoalError(error) ? error.code : 'INTERNAL');
  }

  drop(reason: string): void {
    if (this.dropped !== undefined) return;
    this.dropped = reason;
    this.#pages.clear();
    this.#held.clear();
    this.#heldBytes = 0;
    this.#onDropped(reason);
  }

  /** For the applier. What it needs is here before it begins. */
  #object(id: ObjectId): Promise<Uint8Array> {
    const payload = this.#payloads.get(id) ?? this.#held.get(id) ?? this.#cache.get(this.#key, id);
    if (payload !== undefined) return Promise.resolve(payload);
    for (const [page, bytes] of this.#pages) if (this.page(page).id === id) return Promise.resolve(bytes);
    return Promise.reject(new ShoalError('NOT_HELD', `object ${id.slice(0, 12)}… of the delta is not here`, { ids: { object: id }, retry: 'again' }));
  }
}

/** The first span of each segment. Throws `BAD_DELTA` when segments do not end where spans do. */
async function firstSpans(manifest: DeltaManifest, index: IndexReader): Promise<readonly number[]> {
  const firsts: number[] = [];
  let [segment, end, spans] = [-1, 0, 0];
  for await (const span of index.allSpans()) {
    if (span.offset === end) {
      if (spans !== (manifest.segments[segment]?.spans ?? 0)) throw bad('a segment has another number of spans');
      end += manifest.segments[++segment]?.length ?? 0;
      spans = 0;
      firsts.push(span.index);
    }
    spans++;
    if (span.offset + span.bytes > end) throw bad('a segment ends inside a span');
  }
  if (segment !== manifest.segments.length - 1 || spans !== (manifest.segments[segment]?.spans ?? 0)) throw bad('it has other segments than the artifact has spans');
  return [...firsts, index.spans];
}

function bad(why: string): ShoalError {
  return new ShoalError('BAD_DELTA', `this delta cannot be used: ${why}`, { retry: 'elsewhere' });
}
