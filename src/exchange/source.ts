import { Bitmap } from '../core/bitmap.ts';
import { afterLooking } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { isObjectId } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { ARTIFACT_MAX_SPANS, BRINGING_MOST, DELTA_MAX_SEGMENTS, HOLDING_ANSWER_MOST_MS, HOLDING_ANSWER_MS, HOLDING_TIMEOUT_MS, PAGE_MAX_BYTES, SPAN_TIMEOUT_MS } from '../core/limits.ts';
import { HEADER_ARRIVING, HEADER_BASE, HEADER_BRINGING, HEADER_PATIENT, HEADER_SEGMENTS, HEADER_WORKING, wire } from '../core/wire.ts';
import type { ContentKey } from '../core/wire.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { chunkIdOf } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import { receiveChunks } from './receive.ts';
import { HttpUpstream } from './upstream.ts';
import type { Upstream, UpstreamAnswer } from './upstream.ts';

/** `torrent`: a stock BitTorrent client, which has neither index pages nor deltas. */
export type SourceKind = 'peer' | 'gateway' | 'origin' | 'torrent';

/** Chunks of one span, located. */
export interface SpanRequest {
  readonly span: number;
  /** Positions in the span; undefined for all of it. */
  readonly positions: readonly number[] | undefined;
  /** The chunks at those positions, in order. */
  readonly chunks: readonly ChunkRef[];
  /** Where each of them begins in the artifact. */
  readonly offsets: readonly number[];
}

/** Where the chunks of one request go. */
export interface SpanSink {
  /** Holds all of them. Nobody else uses it until the request has settled. */
  readonly buffer: Uint8Array;
  /** Takes chunks as they are verified, in order: `first` is the place of the first in the request. Their bytes may be views of `buffer`. */
  take(batch: readonly VerifiedChunk[], first: number): Promise<void>;
  /** It comes as it comes to the source itself: what is there of it is taken soon, for it may come no further. */
  readonly soon?: boolean;
  /** Told of signs that a gateway or an origin is at work on it, however slow the link. Of a neighbour only chunks are such signs. */
  alive?(): void;
}

/** What a neighbour says that it has. */
export interface PeerHolding {
  readonly spans: Bitmap;
  /** It says that it is at work to get more; of what it does not know, that it is looking whether that is news for it. */
  readonly working: boolean;
  /** It knows of the artifact at all. */
  readonly known: boolean;
  /** Spans that it says it is bringing over the backhaul. */
  readonly bringing?: readonly number[];
  /** Those of them that it passes on while they come. */
  readonly arriving?: readonly number[];
  /** The base from which it rebuilds the artifact, `none` when it does not; undefined while it does not say. */
  readonly base?: ObjectId | 'none' | undefined;
}

/** Where the spans of an artifact lie in it. */
export interface SpanPlaces {
  span(index: number): Promise<{ readonly offset: number; readonly bytes: number }>;
}

/** Whether what a source sends crosses the backhaul, and so is agreed upon at a site. */
export function isFar({ kind, near }: Pick<Source, 'kind' | 'near'>): boolean {
  return kind === 'origin' || (kind === 'torrent' && near !== true);
}

/** A map page or payload of a delta. */
export interface DeltaObject {
  readonly id: ObjectId;
  readonly size: number;
}

/** A host that may have content. Everything it says is hostile until verified; chunks leave here verified. */
export interface Source {
  readonly name: string;
  readonly kind: SourceKind;
  /** Of a stock client: it is on the LAN, not beyond the backhaul. */
  readonly near?: boolean;
  /** An encoded page, not verified. Throws `NOT_HELD` when this source has it not, with `working` among its ids when it will have it soon. */
  page(key: ContentKey, id: ObjectId, signal?: AbortSignal): Promise<Uint8Array>;
  /** Which of `spans` spans it has; undefined for a source that can get whatever it has not. `places`: where they lie; `late` is told when it takes long to answer. */
  holding(key: ContentKey, spans: number, signal?: AbortSignal, places?: SpanPlaces, late?: () => void): Promise<PeerHolding | undefined>;
  /** Hands `sink` the chunks asked for. Throws `NOT_HELD`, and whatever `sink` throws; what it was given by then is good. */
  span(key: ContentKey, request: SpanRequest, sink: SpanSink, signal?: AbortSignal): Promise<void>;
  /** A map page or payload of a delta that makes `key`, verified. Throws `NOT_HELD`, and `DELTA_DAMAGED` for other bytes. */
  delta?(key: ContentKey, object: DeltaObject, signal?: AbortSignal, alive?: () => void): Promise<Uint8Array>;
  /** Which of `segments` segments of the delta from `base` it has; undefined when it has nothing of it. */
  deltaHolding?(key: ContentKey, base: ObjectId, segments: number, signal?: AbortSignal, late?: () => void): Promise<Bitmap | undefined>;
  /** Bytes received so far, heads included; those for deltas are no content. */
  totals(): { readonly content: number; readonly control: number; readonly delta?: number };
  close(): Promise<void>;
}

/** A source over the HTTP surface of docs/protocol.md. */
export class HttpSource implements Source {
  readonly name: string;
  readonly kind: SourceKind;
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  #delta = 0;
  /** Whether it has brought a right span. */
  #proven = false;
  /** How long it may take to say what it holds. */
  #answerMs = HOLDING_ANSWER_MS;

  constructor(kind: SourceKind, url: string, clock: Clock, upstream: Upstream = new HttpUpstream(url, clock)) {
    this.kind = kind;
    this.name = upstream.url;
    this.#upstream = upstream;
    this.#clock = clock;
  }

  async page(key: ContentKey, id: ObjectId, signal?: AbortSignal): Promise<Uint8Array> {
    const { body, headers, status } = await this.#upstream.get('content', wire.page(key, id), PAGE_MAX_BYTES, {}, signal);
    this.#expect200(status, `index page ${id.slice(0, 12)}…`, headers.get(HEADER_WORKING) === '1');
    return body;
  }

  async holding(key: ContentKey, spans: number, signal?: AbortSignal, _places?: SpanPlaces, late?: () => void): Promise<PeerHolding | undefined> {
    if (this.kind !== 'peer') return undefined;
    const { status, headers, body } = await this.#soon(wire.holding(key), (ARTIFACT_MAX_SPANS + 7) >> 3, signal, late);
    if (status === 404) return { spans: new Bitmap(spans), working: headers.get(HEADER_WORKING) === '1', known: false };
    this.#expect200(status, 'what it holds');
    const base = headers.get(HEADER_BASE) ?? '';
    const listed = (name: string): readonly number[] => (headers.get(name) ?? '').split(',', BRINGING_MOST).flatMap((text) => (/^\d{1,8}$/.test(text) && Number(text) < spans ? [Number(text)] : []));
    return { spans: Bitmap.decode(body, spans), working: headers.get(HEADER_WORKING) === '1', known: true, bringing: listed(HEADER_BRINGING), arriving: listed(HEADER_ARRIVING), base: base === 'none' || isObjectId(base) ? base : undefined };
  }

  async delta(key: ContentKey, { id, size }: DeltaObject, signal?: AbortSignal, alive?: () => void): Promise<Uint8Array> {
    const target = {
      begin: (_head: unknown, length: number | undefined) => {
        if (length !== undefined && length !== size) throw new ShoalError('DELTA_DAMAGED', `${this.name} has another object of the delta than ${id.slice(0, 12)}…`, { ids: { source: this.name, object: id }, retry: 'elsewhere' });
        return Buffer.allocUnsafeSlow(size);
      },
      progress: () => alive?.(),
    };
    const options = {
      timeoutMs: SPAN_TIMEOUT_MS,
      onReceived: (bytes: number) => (this.#delta += bytes),
      ...(alive === undefined ? {} : { onProcessing: alive }),
      ...(this.kind === 'gateway' ? { headers: { [HEADER_PATIENT]: '1' } } : {}),
      ...(signal === undefined ? {} : { signal }),
    };
    try {
      const { body } = await this.#upstream.receive(wire.delta(key, id), target, options);
      if (body.byteLength === size && chunkIdOf(body) === id) return body;
    } catch (error) {
      if (isShoalError(error, 'HTTP_STATUS') && error.ids.status === 404) this.#expect200(404, `object ${id.slice(0, 12)}… of a delta`);
      throw error;
    }
    throw new ShoalError('DELTA_DAMAGED', `what ${this.name} sent for object ${id.slice(0, 12)}… of a delta is not that object`, { ids: { source: this.name, object: id }, retry: 'elsewhere' });
  }

  async deltaHolding(key: ContentKey, base: ObjectId, segments: number, signal?: AbortSignal, late?: () => void): Promise<Bitmap | undefined> {
    if (this.kind !== 'peer') return undefined;
    const { status, headers, body } = await this.#soon(wire.deltaHolding(key, base), (DELTA_MAX_SEGMENTS + 7) >> 3, signal, late);
    if (status === 404) return undefined;
    this.#expect200(status, 'what it holds of a delta');
    // A delta that was made anew has other segments: whoever has the one of before is no liar, and has nothing of this one.
    return Number(headers.get(HEADER_SEGMENTS) ?? segments) === segments ? Bitmap.decode(body, segments) : undefined;
  }

  async span(key: ContentKey, { span, positions, chunks }: SpanRequest, { buffer, soon, take, alive }: SpanSink, signal?: AbortSignal): Promise<void> {
    const far = this.kind !== 'peer';
    // Packing costs a neighbour time and the LAN is wide; over the backhaul every byte counts.
    const options = {
      acceptZstd: far,
      ...(far && alive !== undefined ? { onBytes: alive, onProcessing: alive } : {}),
      ...(this.kind === 'gateway' ? { headers: { [HEADER_PATIENT]: '1' } } : {}),
      ...(signal === undefined ? {} : { signal }),
      proven: this.#proven,
      passedOn: isFar(this) || soon === true,
      now: () => this.#clock.now(),
    };
    try {
      await receiveChunks(this.#upstream, wire.span(key, span, positions), chunks, buffer, take, options);
      this.#proven = true;
    } catch (error) {
      if (isShoalError(error, 'HTTP_STATUS') && error.ids.status === 404) this.#expect200(404, `span ${String(span)}`);
      throw error;
    }
  }

  totals(): { readonly content: number; readonly control: number; readonly delta: number } {
    const { content, control } = this.#upstream.totals;
    return { content: content - this.#delta, control, delta: this.#delta };
  }

  async close(): Promise<void> {
    await this.#upstream.close();
  }

  /**
   * A neighbour that cannot be reached in time is given up for another connection. One that was reached and does not answer has more to do than it can:
   * `late` is told so, and the answer is waited for, ever longer where it never comes. To ask again would be more for it to do, over TLS a handshake, and
   * what it says when it comes to it would never be heard. Throws `HTTP_LATE` at last.
   */
  async #soon(path: string, maxBytes: number, signal: AbortSignal | undefined, late: (() => void) | undefined): Promise<UpstreamAnswer> {
    const stop = new AbortController();
    let reached = false;
    let cancel = afterLooking(this.#clock, HOLDING_TIMEOUT_MS, () => {
      if (!reached) {
        stop.abort();
        return;
      }
      late?.();
      cancel = this.#clock.after(this.#answerMs - HOLDING_TIMEOUT_MS, () => {
        stop.abort();
      });
    });
    try {
      const answer = await this.#upstream.get('control', path, maxBytes, {}, signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]), () => {
        reached = true;
      });
      this.#answerMs = HOLDING_ANSWER_MS;
      return answer;
    } catch (cause) {
      if (signal?.aborted === true || !isShoalError(cause)) throw cause;
      // Who takes a connection and does not come to the end of a handshake, or ends it because it took long, is late like one that does not come to the question.
      const handshake = cause.code === 'HTTP_CONNECT' && cause.ids.reached !== undefined;
      if (!stop.signal.aborted && !handshake) throw cause;
      const connected = handshake || cause.ids.connecting === undefined;
      this.#answerMs = connected ? Math.min(2 * this.#answerMs, HOLDING_ANSWER_MOST_MS) : HOLDING_ANSWER_MS;
      throw new ShoalError(connected ? 'HTTP_LATE' : 'HTTP_CONNECT', `${this.name} did not answer in time`, { cause, ids: { source: this.name }, retry: 'again' });
    } finally {
      cancel();
    }
  }

  #expect200(status: number, what: string, working = false): void {
    if (status === 200) return;
    const code = status === 404 ? 'NOT_HELD' : 'HTTP_STATUS';
    throw new ShoalError(code, `${this.name} answered ${String(status)} for ${what}`, { ids: { source: this.name, status, ...(working ? { working: 1 } : {}) }, retry: 'elsewhere' });
  }
}
