import { Bitmap } from '../../core/bitmap.ts';
import { ShoalError } from '../../core/errors.ts';
import type { ContentKey } from '../../core/wire.ts';
import { Batches } from '../receive.ts';
import type { PeerHolding, Source, SpanPlaces, SpanRequest, SpanSink } from '../source.ts';
import { isLie } from '../standing.ts';
import type { Connection } from './connection.ts';
import type { Stretch } from './fetches.ts';
import { piecesOf } from './layout.ts';
import type { TorrentLayout, TorrentPlace } from './layout.ts';

export interface TorrentSourceParts {
  readonly name: string;
  readonly near: boolean;
  readonly layout: TorrentLayout;
  readonly connection: Connection;
  /** The pieces that each span of an artifact lies in. */
  readonly spanPieces: (place: TorrentPlace, spans: number, places: SpanPlaces) => Promise<SpanPieces>;
  /** Counts milliseconds. */
  readonly now: () => number;
  /** It sent wrong bytes. */
  readonly onLie: () => void;
}

/** By span: the first piece that it lies in, and the last. */
export type SpanPieces = readonly (readonly [first: number, last: number])[];

/**
 * A stock client as a source like others. It is asked for the very bytes of chunks, whatever pieces they lie in, and these are
 * checked against the root: the hashes of the torrent are of no use here.
 */
export class TorrentSource implements Source {
  readonly name: string;
  readonly kind = 'torrent';
  readonly near: boolean;
  readonly #layout: TorrentLayout;
  readonly #parts: Omit<TorrentSourceParts, 'connection' | 'layout' | 'name' | 'near'>;
  /** Undefined when it has ended: what counts this source goes on longer than that. */
  #connection: Connection | undefined;
  #received = 0;
  #proven = false;

  constructor({ name, near, layout, connection, ...parts }: TorrentSourceParts) {
    this.name = name;
    this.near = near;
    this.#layout = layout;
    this.#connection = connection;
    this.#parts = parts;
  }

  /** Counts content that came. */
  received(bytes: number): void {
    this.#received += bytes;
  }

  page(): Promise<Uint8Array> {
    return Promise.reject(new ShoalError('NOT_HELD', `${this.name} is a BitTorrent client and has no index pages`, { ids: { source: this.name }, retry: 'elsewhere' }));
  }

  async holding(key: ContentKey, spans: number, _signal?: AbortSignal, places?: SpanPlaces): Promise<PeerHolding> {
    const place = this.#layout.parts.find((part) => part.key.root === key.root);
    const held = new Bitmap(spans);
    const connection = this.#connection;
    const pieces = connection?.pieces;
    // One that sends to others now has nothing for us.
    if (place !== undefined && places !== undefined && connection?.unchoked === true && pieces !== undefined && pieces.size > 0) {
      const lies = pieces.complete ? undefined : await this.#parts.spanPieces(place, spans, places);
      for (let span = 0; span < spans; span++) if (lies === undefined || hasAll(pieces, lies[span])) held.add(span);
    }
    return { spans: held, working: false, known: true };
  }

  async span(key: ContentKey, { chunks, offsets }: SpanRequest, { buffer, take }: SpanSink, signal?: AbortSignal): Promise<void> {
    const place = this.#layout.parts.find((part) => part.key.root === key.root);
    if (this.#connection === undefined || place === undefined) throw new ShoalError('TORRENT_GONE', `${this.name} is gone`, { ids: { source: this.name }, retry: 'elsewhere' });
    const stretches: Stretch[] = [];
    let bytes = 0;
    for (const [at, { length }] of chunks.entries()) {
      const offset = place.offset + (offsets[at] ?? 0);
      const last = stretches.at(-1);
      if (last !== undefined && last.offset + last.length === offset) stretches[stretches.length - 1] = { offset: last.offset, length: last.length + length };
      else stretches.push({ offset, length });
      bytes += length;
    }
    const batches = new Batches(chunks, take, this.#proven, this.#parts.now);
    const raw = buffer.subarray(0, bytes);
    try {
      await this.#connection.fetch(stretches, raw, (filled) => { batches.advance(raw, filled); }, signal);
      await batches.settled();
      this.#proven = true;
    } catch (error) {
      // What came before it is good, and still being written from the buffer.
      const failed = await batches.settled().then(() => error, (cause: unknown) => cause);
      if (isLie(failed)) this.#parts.onLie();
      throw failed;
    }
  }

  totals(): { readonly content: number; readonly control: number } {
    return { content: this.#received, control: 0 };
  }

  /** Whoever has the connection closes that. */
  close(): Promise<void> {
    this.#connection = undefined;
    return Promise.resolve();
  }
}

function hasAll(pieces: Bitmap, place: SpanPieces[number] | undefined): boolean {
  if (place === undefined) return false;
  for (let piece = place[0]; piece <= place[1]; piece++) if (!pieces.has(piece)) return false;
  return true;
}

/** Where the spans of an artifact lie among the pieces of the torrent. */
export async function spanPiecesOf(layout: TorrentLayout, { offset }: TorrentPlace, spans: number, places: SpanPlaces): Promise<SpanPieces> {
  const pieces: (readonly [number, number])[] = [];
  for (let span = 0; span < spans; span++) {
    const place = await places.span(span);
    pieces.push(piecesOf(layout, offset + place.offset, offset + place.offset + place.bytes));
  }
  return pieces;
}
