import type { Expansion, Unit } from '../container/expand.ts';
import { ShoalError } from '../core/errors.ts';
import { idFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { blake3 } from '../kernel/hash.ts';
import { DeltaApplier } from './apply.ts';
import type { PlacedSegment } from './apply.ts';
import { encodeDelta } from './encode.ts';
import type { EncodeOptions, EncodedDelta, EncodedSegment } from './encode.ts';
import { decodePage } from './kernel.ts';
import { inLanes } from './lanes.ts';
import type { DeltaInput, MadeDelta } from './make.ts';
import { PREDICTION_BYTES, deltaBytes, encodeDeltaManifest } from './manifest.ts';
import type { DeltaManifest, DeltaSegment } from './manifest.ts';
import { encodeParts } from './parts.ts';
import { Windows, memoryBase, predict } from './predict.ts';
import { Codec } from './types.ts';
import type { Covers } from './types.ts';

/** Segments that are proven at a time: compressing takes most of it, one call on one core. */
const LANES = 2;

/** As `makeDelta`, between expanded artifacts (docs/containers.md). Proven by what a device does: decoding, and compressing again. */
export async function makeExpanded(base: DeltaInput, target: DeltaInput, spanEnds: readonly number[], { views, units, ...whole }: Expansion, options: EncodeOptions): Promise<Omit<MadeDelta, 'census'>> {
  const made = await encodeDelta(whole.base, whole.target, [], { ...options, opened: { units, streams: views.target } });
  const objects = new Map<ObjectId, Uint8Array>();
  const keep = (bytes: Uint8Array): ObjectId => {
    const id = idFromBytes(blake3(bytes));
    objects.set(id, bytes);
    return id;
  };
  const numbers = pagesOf(made, units);
  const pages = made.pages.map(({ bytes, covers }, page) => ({ id: keep(bytes), size: bytes.length, covers, segments: numbers.filter((each) => each === page).length }));
  const predictions = await predictionsOf(made, whole, units, options.signal);
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
  await prove(manifest, objects, base, target, options.signal);
  const manifestBytes = encodeDeltaManifest(manifest);
  return { manifest, manifestBytes, objects, bytes: deltaBytes(manifest, manifestBytes.length) };
}

/** The map page of each unit. */
function pagesOf({ segments }: EncodedDelta, units: readonly Unit[]): readonly number[] {
  let part = 0;
  return units.map(({ parts }) => {
    const page = segments[part]?.page ?? 0;
    part += parts.length;
    return page;
  });
}

/** What a segment's payload is: that of its only part where it has no streams, all of its parts', or its very bytes. */
function coded(own: readonly EncodedSegment[], single: boolean, wanted: Uint8Array): Pick<EncodedSegment, 'codec' | 'payload'> {
  const [first] = own;
  if (single && first !== undefined) return first;
  const payload = encodeParts(own);
  return payload.length < wanted.length ? { codec: Codec.PARTS, payload } : { codec: Codec.RAW, payload: Uint8Array.from(wanted) };
}

/** The first bytes of the hash of what each unit is predicted to be: of its only part, or of the hashes of its parts. */
async function predictionsOf({ pages, segments }: EncodedDelta, whole: Pick<Expansion, 'base'>, units: readonly Unit[], signal: AbortSignal | undefined): Promise<readonly Uint8Array[]> {
  const reader = memoryBase(whole.base);
  const windows = new Windows();
  const predictions: Uint8Array[] = [];
  let open: { readonly page: number; readonly covers: Covers } = { page: -1, covers: new Float64Array(0) };
  let scratch = Buffer.alloc(0);
  let part = 0;
  for (const { parts } of units) {
    signal?.throwIfAborted();
    const hashes: Uint8Array[] = [];
    const plain = parts.length === 1 && parts[0]?.items.every(({ stream }) => stream < 0) === true;
    for (const { length } of parts) {
      const { page, begin } = segments[part++] as EncodedSegment;
      if (open.page !== page) {
        const { bytes, begin: from, end, covers } = pages[page] as EncodedDelta['pages'][number];
        open = { page, covers: Float64Array.from(await decodePage(bytes, from, end, whole.base.length, covers)) };
      }
      if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length);
      const predicted = scratch.subarray(0, length);
      await predict(open.covers, begin, predicted, reader, windows);
      hashes.push(blake3(predicted));
    }
    predictions.push(((plain ? hashes[0] : undefined) ?? blake3(Buffer.concat(hashes))).slice(0, PREDICTION_BYTES));
  }
  return predictions;
}

/** Makes every segment again as a device does, and compares. */
async function prove(manifest: DeltaManifest, objects: ReadonlyMap<ObjectId, Uint8Array>, base: DeltaInput, target: DeltaInput, signal: AbortSignal | undefined): Promise<void> {
  const applier = new DeltaApplier(manifest, { object: (id) => Promise.resolve(objects.get(id) ?? new Uint8Array(0)) }, memoryBase(base.bytes));
  const longest = applier.segments.reduce((most, { length }) => Math.max(most, length), 0);
  await inLanes(applier.segments.length, LANES, () => {
    const scratch = Buffer.allocUnsafeSlow(longest);
    return async (segment) => {
      signal?.throwIfAborted();
      const { begin, length } = applier.segments[segment] as PlacedSegment;
      try {
        await applier.segment(segment, scratch);
      } catch (cause) {
        throw unproven(segment, base, target, cause);
      }
      if (!scratch.subarray(0, length).equals(target.bytes.subarray(begin, begin + length))) throw unproven(segment, base, target);
    };
  });
}

function unproven(segment: number, base: DeltaInput, target: DeltaInput, cause?: unknown): ShoalError {
  return new ShoalError('DELTA_UNPROVEN', `segment ${String(segment)} of the delta does not rebuild the target; the delta is thrown away`, { ids: { segment, base: base.root, target: target.root }, ...(cause === undefined ? {} : { cause }) });
}
