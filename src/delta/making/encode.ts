import { setImmediate } from 'node:timers/promises';
import type { Streams } from '../../container/streams.ts';
import { ShoalError } from '../../core/errors.ts';
import { DELTA_SEGMENT_MAX_BYTES } from '../../core/limits.ts';
import { native } from '../../kernel/native.ts';
import { encodeMapPage } from '../coding/map.ts';
import { findCovers } from './match.ts';
import { encodePayload } from '../residual.ts';
import { Codec, PieceKind } from '../types.ts';
import type { CodecId, Cover } from '../types.ts';

export interface EncodeOptions {
  /** Bytes that the index of the base may take; by default two for each base byte. The portable tier has its own bound. */
  readonly indexBytes?: number;
  /** Payload bytes at which a segment closes; default 256 KiB. */
  readonly segmentPayload?: number;
  /** When given: the target is opened (docs/containers.md), each part is a segment, and pages end only where units do. */
  readonly opened?: OpenedTarget;
  /** Whether what is known of executables, tables and types helps to predict; default yes. The portable tier never does. */
  readonly structure?: boolean;
  /**
   * Whether covers may show target bytes of earlier segments, as if all of the target lay behind the base's end. Not of an opened target.
   * The portable tier never does.
   */
  readonly lookBack?: boolean;
  /** Base bytes [begin, end) in which nothing of the target begins, ascending: the native tier leaves them out of its index. */
  readonly skips?: readonly (readonly [number, number])[];
  /** Threads of the native tier; default 2. The result does not depend on it. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Called now and then with 0 … 1. */
  readonly onProgress?: (done: number) => void;
}

/** Of an opened target. */
export interface OpenedTarget {
  /** Each begins within or at the end of the one before; segments and pages count as if it began behind that. */
  readonly units: readonly { readonly opened: number; readonly parts: readonly { readonly length: number }[] }[];
  /** Its streams: `at` counts bytes of the target as it is. */
  readonly streams: Streams;
}

export interface EncodedSegment {
  readonly begin: number;
  readonly end: number;
  readonly codec: CodecId;
  readonly payload: Uint8Array;
  /** Number of its map page. */
  readonly page: number;
}

export interface EncodedPage {
  readonly begin: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  readonly covers: number;
}

export interface EncodedDelta {
  readonly segments: readonly EncodedSegment[];
  readonly pages: readonly EncodedPage[];
}

const SEGMENT_PAYLOAD = 256 * 1024;
const PAGE_COVERS = 65536;
/** Spans with more covers than a page holds keep only those of this length. */
const CROWDED_LENGTH = 64;
const PROGRESS_MS = 100;
const CANCELLED = 4;

/**
 * Matches `target` against `base` and codes what differs, in segments that end on span ends. The two must not change
 * meanwhile.
 *
 * @param spanEnds ascending, the last one `target.length`, no two further apart than `DELTA_SEGMENT_MAX_BYTES`; of an opened target none
 * @throws ShoalError `NO_MEMORY`; the reason of `signal` when it aborts
 */
export async function encodeDelta(base: Uint8Array, target: Uint8Array, spanEnds: readonly number[], options: EncodeOptions = {}): Promise<EncodedDelta> {
  options.signal?.throwIfAborted();
  return native === undefined ? portable(base, target, spanEnds, options) : viaNative(native, base, target, spanEnds, options);
}

async function viaNative(addon: NonNullable<typeof native>, base: Uint8Array, target: Uint8Array, spanEnds: readonly number[], options: EncodeOptions): Promise<EncodedDelta> {
  const control = new BigUint64Array(2);
  const cancel = (): void => {
    control[1] = 1n;
  };
  options.signal?.addEventListener('abort', cancel, { once: true });
  const timer = setInterval(() => options.onProgress?.(Math.min(1, Number(control[0]) / Math.max(1, 3 * target.length))), PROGRESS_MS);
  const units = options.opened?.units ?? [];
  const parts = options.opened === undefined ? spanEnds.map((end) => ({ begin: 0, end })) : partsOf(units);
  const begins = options.opened === undefined ? [] : parts.map(({ begin }) => begin);
  const streams = options.opened === undefined ? [] : openedStreams(options.opened.streams);
  try {
    const made = await addon.deltaEncode(base, target, Float64Array.from(parts, ({ end }) => end), Float64Array.from(units, (unit) => unit.parts.length), options.indexBytes ?? 0, options.segmentPayload ?? 0, options.threads ?? 2, control, Float64Array.from(begins), Float64Array.from(streams), options.structure === false, Float64Array.from((options.skips ?? []).flat()), options.lookBack === true && units.length === 0);
    options.signal?.throwIfAborted();
    if (typeof made === 'number') {
      if (made === CANCELLED) throw new ShoalError('CANCELLED', 'encoding a delta was cancelled', { retry: 'again' });
      throw new ShoalError('NO_MEMORY', `a delta cannot be encoded (status ${String(made)})`, { retry: 'again' });
    }
    const [segments, pages, payloads, map] = made;
    const number = (list: Float64Array, at: number): number => list[at] as number;
    return {
      segments: Array.from({ length: segments.length / 6 }, (_, i) => {
        const at = i * 6;
        const offset = number(segments, at + 2);
        return { begin: number(segments, at), end: number(segments, at + 1), codec: number(segments, at + 4) as CodecId, payload: payloads.subarray(offset, offset + number(segments, at + 3)), page: number(segments, at + 5) };
      }),
      pages: Array.from({ length: pages.length / 5 }, (_, i) => {
        const at = i * 5;
        const offset = number(pages, at + 2);
        return { begin: number(pages, at), end: number(pages, at + 1), bytes: map.subarray(offset, offset + number(pages, at + 3)), covers: number(pages, at + 4) };
      }),
    };
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', cancel);
  }
}

interface PlacedPart {
  /** In the opened target. */
  readonly begin: number;
  readonly end: number;
  readonly unit: number;
}

function partsOf(units: OpenedTarget['units']): readonly PlacedPart[] {
  return units.flatMap(({ opened, parts }, unit) => {
    let at = opened;
    return parts.map(({ length }) => ({ begin: at, end: (at += length), unit }));
  });
}

/** Where each begins in the opened target, what it holds, what it took. */
function openedStreams({ at, size, held }: Streams): readonly number[] {
  const flat: number[] = [];
  let grown = 0;
  for (let n = 0; n < at.length; n++) {
    flat.push((at[n] as number) + grown, held[n] as number, size[n] as number);
    grown += (held[n] as number) - (size[n] as number);
  }
  return flat;
}

async function portable(base: Uint8Array, target: Uint8Array, spanEnds: readonly number[], options: EncodeOptions): Promise<EncodedDelta> {
  const parts = options.opened === undefined ? undefined : partsOf(options.opened.units);
  const covers = thin(findCovers(base, target, options.signal), parts === undefined ? spanEnds : options.opened?.units.map(({ opened, parts: own }) => own.reduce((at, { length }) => at + length, opened)) ?? []);
  const cuts = parts ?? [...cut(base, target, covers, spanEnds, options.segmentPayload ?? SEGMENT_PAYLOAD)].map(([begin, end], unit) => ({ begin, end, unit }));
  const segments: { begin: number; end: number; unit: number; codec: CodecId; payload: Uint8Array; covers: Cover[] }[] = [];
  let behind = 0;
  for (const { begin, end, unit } of cuts) {
    // Hundreds of milliseconds each: let others run in between.
    await setImmediate();
    options.signal?.throwIfAborted();
    // Behind the part before, wherever it lies.
    const at = behind;
    behind += end - begin;
    const { covers: own, ...coded } = encodeSegment(base, target, clip(covers, begin, end), begin, end, at);
    segments.push({ begin: at, end: behind, unit, ...coded, covers: own.map((cover) => ({ ...cover, target: cover.target - begin + at })) });
    options.onProgress?.(end / target.length);
  }
  const pages: EncodedPage[] = [];
  const numbered: EncodedSegment[] = [];
  for (let i = 0; i < segments.length; ) {
    const first = segments[i] as (typeof segments)[number];
    const list: Cover[] = [];
    let end = first.begin;
    while (i < segments.length) {
      let next = i + 1;
      while (segments[next]?.unit === segments[i]?.unit && next < segments.length) next++;
      const group = segments.slice(i, next);
      if (list.length > 0 && list.length + group.reduce((sum, { covers: own }) => sum + own.length, 0) > PAGE_COVERS) break;
      for (const { covers: own, unit: _unit, ...segment } of group) {
        for (const cover of own) append(list, cover);
        end = segment.end;
        numbered.push({ ...segment, page: pages.length });
      }
      i += group.length;
    }
    pages.push({ begin: first.begin, end, bytes: encodeMapPage(list, first.begin), covers: list.length });
  }
  return { segments: numbered, pages };
}

/** Covers that cross from one segment into the next are one cover in a page. */
function append(list: Cover[], cover: Cover): void {
  const last = list.at(-1);
  const joins = last !== undefined && last.target + last.length === cover.target && last.fill === cover.fill && (cover.fill >= 0 || last.base + last.length === cover.base);
  if (joins) list[list.length - 1] = { ...last, length: last.length + cover.length };
  else list.push(cover);
}

function thin(covers: readonly Cover[], spanEnds: readonly number[]): Cover[] {
  const kept: Cover[] = [];
  let i = 0;
  let begin = 0;
  for (const end of spanEnds) {
    let j = i;
    while (j < covers.length && (covers[j] as Cover).target < end) j++;
    const crowded = j - i > PAGE_COVERS;
    const least = CROWDED_LENGTH * Math.max(1, Math.ceil((end - begin) / DELTA_SEGMENT_MAX_BYTES));
    for (; i < j; i++) {
      const cover = covers[i] as Cover;
      if (!crowded || cover.length >= least) kept.push(cover);
    }
    begin = end;
  }
  return kept;
}

/** Covers of [begin, end), cut there. */
function clip(covers: readonly Cover[], begin: number, end: number): Cover[] {
  const own: Cover[] = [];
  for (const { target, length, base, fill } of covers) {
    const from = Math.max(begin, target);
    const to = Math.min(end, target + length);
    if (from < to) own.push({ target: from, length: to - from, base: fill >= 0 ? 0 : base + (from - target), fill });
  }
  return own;
}

function* cut(base: Uint8Array, target: Uint8Array, covers: readonly Cover[], spanEnds: readonly number[], most: number): Generator<readonly [number, number]> {
  let begin = 0;
  let last = 0;
  let payload = 0;
  let count = 0;
  for (const end of spanEnds) {
    const own = clip(covers, last, end);
    let plain = end - last;
    let wrong = 0;
    for (const cover of own) {
      plain -= cover.length;
      for (let k = 0; k < cover.length; k++) if ((cover.fill >= 0 ? cover.fill : base[cover.base + k]) !== target[cover.target + k]) wrong++;
    }
    const estimate = wrong / 3 + plain / 2;
    const large = end - begin > DELTA_SEGMENT_MAX_BYTES || (payload > 0 && payload + estimate / 2 > most) || count > PAGE_COVERS;
    if (large && last > begin) {
      yield [begin, last];
      begin = last;
      payload = 0;
      count = 0;
    }
    payload += estimate;
    count += own.length;
    last = end;
  }
  if (target.length > begin) yield [begin, target.length];
}

/** `origin`: where it begins in what pages see. */
function encodeSegment(base: Uint8Array, target: Uint8Array, own: Cover[], begin: number, end: number, origin: number): { codec: CodecId; payload: Uint8Array; covers: Cover[] } {
  const wanted = target.subarray(begin, end);
  const prediction = Buffer.alloc(end - begin);
  const pieces: number[] = [];
  let at = begin;
  for (const { target: from, length, base: position, fill } of own) {
    if (from > at) pieces.push(from - at, PieceKind.LITERAL, 0, 0);
    if (fill >= 0) prediction.fill(fill, from - begin, from - begin + length);
    else prediction.set(base.subarray(position, position + length), from - begin);
    if (fill >= 0) pieces.push(length, PieceKind.FILL, 0, 0);
    else pieces.push(length, PieceKind.BASE, position % 2 ** 32, Math.floor(position / 2 ** 32));
    at = from + length;
  }
  if (end > at) pieces.push(end - at, PieceKind.LITERAL, 0, 0);
  if (prediction.equals(wanted)) return { codec: Codec.COPY, payload: new Uint8Array(0), covers: own };
  const payload = encodePayload(prediction, wanted, origin % 2 ** 32, Uint32Array.from(pieces));
  return payload.length < wanted.length ? { codec: Codec.SITES, payload, covers: own } : { codec: Codec.RAW, payload: Uint8Array.from(wanted), covers: [] };
}
