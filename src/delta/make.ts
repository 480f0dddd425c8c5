import { ShoalError } from '../core/errors.ts';
import { idFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { blake3 } from '../kernel/hash.ts';
import { encodeDelta } from './encode.ts';
import type { EncodeOptions } from './encode.ts';
import { decodePage, decodeSegment } from './kernel.ts';
import { PREDICTION_BYTES, deltaBytes, encodeDeltaManifest } from './manifest.ts';
import type { DeltaManifest, DeltaSegment } from './manifest.ts';
import { Windows, memoryBase, predict } from './predict.ts';
import { Codec } from './types.ts';

/** One end of a delta, in memory. Nobody writes to the bytes meanwhile. */
export interface DeltaInput {
  readonly root: ObjectId;
  readonly bytes: Uint8Array;
}

export interface MadeDelta {
  readonly manifest: DeltaManifest;
  readonly manifestBytes: Uint8Array;
  /** Map pages and payloads by id, in the order of the manifest. */
  readonly objects: ReadonlyMap<ObjectId, Uint8Array>;
  /** Everything a device fetches. */
  readonly bytes: number;
}

/**
 * Makes a delta and proves it: every segment is decoded again from what was written and compared with the target before
 * this returns.
 *
 * @param spanEnds of the target's index (docs/format.md, "Spans")
 * @throws ShoalError what `encodeDelta` throws; `DELTA_UNPROVEN` when a segment does not decode to the target
 */
export async function makeDelta(base: DeltaInput, target: DeltaInput, spanEnds: readonly number[], options: EncodeOptions = {}): Promise<MadeDelta> {
  const { segments, pages } = await encodeDelta(base.bytes, target.bytes, spanEnds, options);
  const objects = new Map<ObjectId, Uint8Array>();
  const keep = (bytes: Uint8Array): ObjectId => {
    const id = idFromBytes(blake3(bytes));
    objects.set(id, bytes);
    return id;
  };
  const pageRecords = pages.map(({ bytes, covers }, number) => ({ id: keep(bytes), size: bytes.length, covers, segments: segments.filter(({ page }) => page === number).length }));
  const records: DeltaSegment[] = [];
  const reader = memoryBase(base.bytes);
  const windows = new Windows();
  let open = { page: -1, covers: new Float64Array(0) };
  let span = 0;
  // One for all: buffers of segments would be garbage as large as the target.
  const scratch = Buffer.allocUnsafeSlow(segments.reduce((most, { begin, end }) => Math.max(most, end - begin), 0));
  for (const [number, { begin, end, codec, payload, page }] of segments.entries()) {
    options.signal?.throwIfAborted();
    if (open.page !== page) {
      const { bytes, begin: from, end: to, covers } = pages[page] as (typeof pages)[number];
      open = { page, covers: Float64Array.from(await decodePage(bytes, from, to, base.bytes.length, covers)) };
    }
    const made = scratch.subarray(0, end - begin);
    let prediction: Uint8Array = new Uint8Array(PREDICTION_BYTES);
    if (codec === Codec.RAW) {
      made.set(payload);
    } else {
      const pieces = await predict(open.covers, begin, made, reader, windows);
      prediction = blake3(made).slice(0, PREDICTION_BYTES);
      await decodeSegment(codec, payload, made, begin, pieces);
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
      length: end - begin, spans, codec, prerequisites: [], prediction, target: idFromBytes(blake3(wanted)),
      payload: payload.length === 0 ? undefined : { id: keep(payload), size: payload.length },
    });
  }
  const manifest: DeltaManifest = {
    base: { root: base.root, size: base.bytes.length },
    target: { root: target.root, size: target.bytes.length },
    pages: pageRecords,
    segments: records,
  };
  const manifestBytes = encodeDeltaManifest(manifest);
  return { manifest, manifestBytes, objects, bytes: deltaBytes(manifest, manifestBytes.length) };
}
