import type { Expansion, Unit } from '../../container/expand.ts';
import { openedCovers } from '../../container/opened.ts';
import { ShoalError } from '../../core/errors.ts';
import { idFromBytes } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { blake3 } from '../../kernel/hash.ts';
import { encodeDelta } from './encode.ts';
import type { EncodeOptions, EncodedDelta, EncodedSegment } from './encode.ts';
import { decodePage, decodeSegment, placesMoved } from '../kernel.ts';
import { inLanes } from '../lanes.ts';
import type { DeltaInput, MadeDelta } from './made.ts';
import { PREDICTION_BYTES, deltaBytes, encodeDeltaManifest } from '../manifest.ts';
import type { DeltaManifest, DeltaSegment } from '../manifest.ts';
import { encodeParts } from '../parts.ts';
import { Windows, memoryBase, predict } from '../predict.ts';
import { Codec } from '../types.ts';
import type { Covers } from '../types.ts';

/**
 * As `makeDelta`, between expanded artifacts (docs/containers.md). Proven by decoding: that streams come out of what they hold was seen when
 * they were found, and compressing them again would double the time.
 */
export async function makeExpanded(base: DeltaInput, target: DeltaInput, spanEnds: readonly number[], { views, units, rebuilt, ...whole }: Expansion, options: EncodeOptions): Promise<Omit<MadeDelta, 'census'>> {
  const made = await encodeDelta(whole.base, whole.target, [], { ...options, opened: { units, streams: views.target }, skips: rebuilt });
  const objects = new Map<ObjectId, Uint8Array>();
  const keep = (bytes: Uint8Array): ObjectId => {
    const id = idFromBytes(blake3(bytes));
    objects.set(id, bytes);
    return id;
  };
  const numbers = pagesOf(made, units);
  const pages = made.pages.map(({ bytes, covers }, page) => ({ id: keep(bytes), size: bytes.length, covers, segments: numbers.filter((each) => each === page).length }));
  const predictions = await provenPredictions(made, whole, units, options.signal);
  const segments: DeltaSegment[] = [];
  let part = 0;
  let span = 0;
  for (const [number, { begin, end, parts }] of units.entries()) {
    const own = made.segments.slice(part, (part += parts.length));
    const wanted = target.bytes.subarray(begin, end);
    const { codec, payload } = coded(own, parts[0]?.items.every(({ stream }) => stream < 0) === true && parts.length === 1, wanted);
    let spans = 0;
    while ((spanEnds[span] ?? Infinity) <= end) {
      span++;
      spans++;
    }
    segments.push({
      length: end - begin, spans, codec, prerequisites: [], prediction: codec === Codec.RAW ? new Uint8Array(PREDICTION_BYTES) : (predictions[number] as Uint8Array),
      target: idFromBytes(blake3(wanted)), payload: payload.length === 0 ? undefined : { id: keep(payload), size: payload.length },
    });
  }
  const manifest: DeltaManifest = { base: { root: base.root, size: base.bytes.length }, target: { root: target.root, size: target.bytes.length }, pages, segments, views };
  const manifestBytes = encodeDeltaManifest(manifest);
  return { manifest, manifestBytes, objects, bytes: deltaBytes(manifest, manifestBytes.length) };
}

/** The map page of each unit. */
function pagesOf({ segments }: EncodedDelta, units: readonly Unit[]): readonly number[] {
  return firstPartsOf(units).map((part) => segments[part]?.page ?? 0);
}

/** What a segment's payload is: that of its only part where it has no streams, all of its parts', or its very bytes. */
function coded(own: readonly EncodedSegment[], single: boolean, wanted: Uint8Array): Pick<EncodedSegment, 'codec' | 'payload'> {
  const [first] = own;
  if (single && first !== undefined) return first;
  const payload = encodeParts(own);
  return payload.length < wanted.length ? { codec: Codec.PARTS, payload } : { codec: Codec.RAW, payload: Uint8Array.from(wanted) };
}

/** Units that are decoded at a time. */
const LANES = 2;

/**
 * The first bytes of the hash of what each unit is predicted to be: of its only part, or of the hashes of its parts. Each part is decoded
 * from that and compared with the opened target.
 */
async function provenPredictions({ pages, segments }: EncodedDelta, whole: Pick<Expansion, 'base' | 'target'>, units: readonly Unit[], signal: AbortSignal | undefined): Promise<readonly Uint8Array[]> {
  const covers = (page: number): Promise<Covers> => {
    const { bytes, begin, end, covers: count } = pages[page] as EncodedDelta['pages'][number];
    return decodePage(bytes, begin, end, whole.base.length, count);
  };
  const moved = segments.some(({ codec }) => codec === Codec.MOVED) ? await placesMoved(await openedPages(pages, units, covers), whole.base.length) : undefined;
  const reader = memoryBase(whole.base);
  const windows = new Windows();
  const firstParts = firstPartsOf(units);
  const predictions: Uint8Array[] = [];
  await inLanes(units.length, LANES, () => {
    let open: { readonly page: number; readonly covers: Covers } = { page: -1, covers: new Float64Array(0) };
    let scratch = Buffer.alloc(0);
    return async (number) => {
      signal?.throwIfAborted();
      const unit = units[number] as Unit;
      const hashes: Uint8Array[] = [];
      const plain = unit.parts.length === 1 && unit.parts[0]?.items.every(({ stream }) => stream < 0) === true;
      let place = unit.opened;
      for (const [n, { length }] of unit.parts.entries()) {
        const { page, begin, codec, payload } = segments[(firstParts[number] as number) + n] as EncodedSegment;
        if (open.page !== page) open = { page, covers: await covers(page) };
        if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length);
        const made = scratch.subarray(0, length);
        const pieces = await predict(open.covers, begin, made, reader, windows);
        hashes.push(blake3(made));
        await decodeSegment(codec, payload, made, codec === Codec.MOVED ? place : begin, pieces, moved);
        if (!made.equals(whole.target.subarray(place, place + length))) throw new ShoalError('DELTA_UNPROVEN', `segment ${String(number)} of the delta does not rebuild the target; the delta is thrown away`, { ids: { segment: number } });
        place += length;
      }
      predictions[number] = ((plain ? hashes[0] : undefined) ?? blake3(Buffer.concat(hashes))).slice(0, PREDICTION_BYTES);
    };
  });
  return predictions;
}

/** Number of the first part of each unit, among all. */
function firstPartsOf(units: readonly Unit[]): readonly number[] {
  let parts = 0;
  return units.map((unit) => {
    const first = parts;
    parts += unit.parts.length;
    return first;
  });
}

/** The covers of all pages by where they lie in the opened target. */
async function openedPages(pages: EncodedDelta['pages'], units: readonly Unit[], covers: (page: number) => Promise<Covers>): Promise<readonly Covers[]> {
  const opened: Covers[] = [];
  for (const [number, { begin, end }] of pages.entries()) opened.push(openedCovers(await covers(number), units.filter(({ expanded }) => expanded >= begin && expanded < end)));
  return opened;
}
