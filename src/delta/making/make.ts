import { expand } from '../../container/expand.ts';
import type { StreamCensus } from '../../container/expand.ts';
import { SEARCH_THREAD_BYTES } from '../../container/search-threads.ts';
import { ShoalError } from '../../core/errors.ts';
import { idFromBytes } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { DELTA_MAX_BYTES } from '../../core/limits.ts';
import { blake3 } from '../../kernel/hash.ts';
import { encodeDelta } from './encode.ts';
import type { EncodeOptions, EncodedSegment } from './encode.ts';
import { EarlierBase, shownSegments } from '../earlier.ts';
import { decodePage, decodeSegment, placesMoved } from '../kernel.ts';
import type { DeltaInput, MadeDelta } from './made.ts';
import { makeExpanded } from './make-expanded.ts';
import { PREDICTION_BYTES, deltaBytes, encodeDeltaManifest } from '../manifest.ts';
import type { DeltaManifest, DeltaSegment } from '../manifest.ts';
import { Windows, memoryBase, predict } from '../predict.ts';
import { Codec } from '../types.ts';
import type { Covers } from '../types.ts';

/** Worth having behind a base of `size` bytes: an artifact in which little is compressed needs no more. Untouched, it takes no memory. */
export function roomBehind(size: number): number {
  return Math.floor(size / 8);
}

export interface MakeOptions extends EncodeOptions {
  /** Whether compressed streams are expanded where that helps; default yes. */
  readonly containers?: boolean;
}

/** Of the memory for the index, what expanded artifacts may take; beyond that a smaller index would cost more than they gain. */
export const EXPANDED_SHARE = 0.75;
const NO_CENSUS: StreamCensus = { found: 0, unchanged: 0, made: 0 };

/** Under a cap threads have what the index will have afterwards. */
function searchThreads({ indexBytes, threads = 2 }: MakeOptions): number {
  const most = indexBytes === undefined ? Infinity : Math.floor(((1 - EXPANDED_SHARE) * indexBytes) / SEARCH_THREAD_BYTES);
  return Math.min(threads, most);
}

/**
 * Makes a delta and proves it: every segment is decoded again from what was written and compared with the target before
 * this returns. Compressed streams that changed are expanded where that helps (docs/containers.md).
 *
 * @param spanEnds of the target's index (docs/format.md, "Spans")
 * @throws ShoalError what `encodeDelta` throws; `DELTA_UNPROVEN` when a segment does not decode to the target
 */
export async function makeDelta(base: DeltaInput, target: DeltaInput, spanEnds: readonly number[], options: MakeOptions = {}): Promise<MadeDelta> {
  const { indexBytes, signal } = options;
  const mostBytes = indexBytes === undefined ? Infinity : indexBytes * EXPANDED_SHARE;
  const { census, expansion } = options.containers === false ? { census: NO_CENSUS, expansion: undefined } : await expand(base.bytes, target.bytes, spanEnds, { mostBytes, signal, roomBehind: base.roomBehind, threads: searchThreads(options) });
  if (expansion !== undefined) {
    const left = indexBytes === undefined ? {} : { indexBytes: indexBytes - expansion.base.length - expansion.target.length };
    return { ...(await makeExpanded(base, target, spanEnds, expansion, { ...options, ...left })), census };
  }
  const baseSize = base.bytes.length;
  const lookBack = options.lookBack !== false && options.structure !== false && baseSize + target.bytes.length <= DELTA_MAX_BYTES;
  const { segments, pages } = await encodeDelta(base.bytes, target.bytes, spanEnds, { ...options, lookBack });
  const objects = new Map<ObjectId, Uint8Array>();
  const keep = (bytes: Uint8Array): ObjectId => {
    const id = idFromBytes(blake3(bytes));
    objects.set(id, bytes);
    return id;
  };
  const pageRecords = pages.map(({ bytes, covers }, number) => ({ id: keep(bytes), size: bytes.length, covers, segments: segments.filter(({ page }) => page === number).length }));
  const records: DeltaSegment[] = [];
  const reader = memoryBase(base.bytes);
  const baseAlone = new EarlierBase(reader, baseSize);
  const earlier = memoryBase(target.bytes);
  const windows = new Windows();
  const decoded = async (number: number): Promise<Covers> => {
    const { bytes, begin, end, covers } = pages[number] as (typeof pages)[number];
    return Float64Array.from(await decodePage(bytes, begin, end, baseSize + (lookBack ? target.bytes.length : 0), covers));
  };
  const needsMoved = segments.some(({ codec }) => codec === Codec.MOVED);
  const moved = needsMoved ? await placesMoved(await Promise.all(pages.keys().map(decoded)), baseSize) : undefined;
  let open: { readonly page: number; readonly covers: Covers } = { page: -1, covers: new Float64Array(0) };
  let span = 0;
  // One for all: buffers of segments would be garbage as large as the target.
  const scratch = Buffer.allocUnsafeSlow(segments.reduce((most, { begin, end }) => Math.max(most, end - begin), 0));
  for (const [number, { begin, end, codec, payload, page }] of segments.entries()) {
    options.signal?.throwIfAborted();
    if (open.page !== page) open = { page, covers: await decoded(page) };
    const made = scratch.subarray(0, end - begin);
    let prediction: Uint8Array = new Uint8Array(PREDICTION_BYTES);
    const prerequisites = codec === Codec.RAW ? [] : shownSegments(open.covers, { begin, end }, baseSize, segments);
    if (codec === Codec.RAW) {
      made.set(payload);
    } else {
      let pieces = await predict(open.covers, begin, made, baseAlone, windows);
      prediction = blake3(made).slice(0, PREDICTION_BYTES);
      if (prerequisites.length > 0) pieces = await predict(open.covers, begin, made, new EarlierBase(reader, baseSize, earlier, prerequisites.map((each) => segments[each] as EncodedSegment)), windows);
      await decodeSegment(codec, payload, made, begin, pieces, moved);
    }
    const wanted = target.bytes.subarray(begin, end);
    if (!made.equals(wanted)) {
      throw new ShoalError('DELTA_UNPROVEN', `segment ${String(number)} of the delta does not rebuild the target; the delta is thrown away`, { ids: { segment: number, base: base.root, target: target.root } });
    }
    let spans = 0;
    while ((spanEnds[span] ?? Infinity) <= end) {
      span++;
      spans++;
    }
    records.push({
      length: end - begin, spans, codec, prerequisites, prediction, target: idFromBytes(blake3(wanted)),
      payload: payload.length === 0 ? undefined : { id: keep(payload), size: payload.length },
    });
  }
  const manifest: DeltaManifest = {
    base: { root: base.root, size: base.bytes.length },
    target: { root: target.root, size: target.bytes.length },
    pages: pageRecords,
    segments: records,
    ...(records.some(({ prerequisites }) => prerequisites.length > 0) ? { looksBack: true } : {}),
  };
  const manifestBytes = encodeDeltaManifest(manifest);
  return { manifest, manifestBytes, objects, bytes: deltaBytes(manifest, manifestBytes.length), census };
}
