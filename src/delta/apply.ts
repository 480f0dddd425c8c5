import { ShoalError } from '../core/errors.ts';
import { idFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { blake3 } from '../kernel/hash.ts';
import { decodePage, decodeSegment } from './kernel.ts';
import type { Covers } from './kernel.ts';
import { PREDICTION_BYTES } from './manifest.ts';
import type { DeltaManifest, DeltaPage, DeltaSegment } from './manifest.ts';
import { Windows, predict } from './predict.ts';
import type { BaseReader } from './predict.ts';
import { Codec } from './types.ts';
import type { Pieces } from './types.ts';

/** Pages whose covers are kept at a time: 8 MiB each at most. */
const PAGES_OPEN = 2;

/** Where map pages and payloads come from. What it returns is not trusted. It may fill and return `into` where it reads. */
export interface DeltaObjects {
  object(id: ObjectId, size: number, into?: Uint8Array): Promise<Uint8Array>;
}

/** Where a segment lies and what it needs. */
export interface PlacedSegment extends DeltaSegment {
  readonly begin: number;
  readonly page: number;
}

interface PlacedPage extends DeltaPage {
  readonly begin: number;
  readonly end: number;
}

/**
 * Rebuilds segments of a target, in any order, from random reads of the base. Order of checks: hash of page and payload,
 * limits, decode, hash of the result; only where that is wrong, the hash of the prediction, which tells a base that drifted from
 * a delta that is broken. Memory: the segment, its payload, the covers of two pages and some 2 MiB of models.
 */
export class DeltaApplier {
  readonly segments: readonly PlacedSegment[];
  readonly #manifest: DeltaManifest;
  readonly #pages: readonly PlacedPage[];
  readonly #objects: DeltaObjects;
  readonly #base: BaseReader;
  readonly #windows = new Windows();
  /** For payloads, one for each segment under way. */
  readonly #rooms: Buffer[] = [];
  readonly #longest: number;
  /** Covers of the pages that were used last, newest first. */
  #open: readonly { readonly page: number; readonly covers: Promise<Covers> }[] = [];

  constructor(manifest: DeltaManifest, objects: DeltaObjects, base: BaseReader) {
    this.#manifest = manifest;
    this.#objects = objects;
    this.#base = base;
    const segments: PlacedSegment[] = [];
    const pages: PlacedPage[] = [];
    let at = 0;
    manifest.pages.forEach((page, number) => {
      const begin = at;
      for (const segment of manifest.segments.slice(segments.length, segments.length + page.segments)) {
        segments.push({ ...segment, begin: at, page: number });
        at += segment.length;
      }
      pages.push({ ...page, begin, end: at });
    });
    this.segments = segments;
    this.#longest = segments.reduce((most, { codec, payload }) => (codec === Codec.RAW ? most : Math.max(most, payload?.size ?? 0)), 0);
    this.#pages = pages;
  }

  /**
   * The target bytes of segment `number`, in `buffer` (at least as long) or a new one.
   *
   * @throws ShoalError `BASE_DRIFTED` or `BASE_TOO_SHORT`: this base does not serve this segment, nobody is to blame;
   * `DELTA_DAMAGED`: page or payload is not what the manifest says, or cannot be decoded; `DELTA_WRONG`: all inputs are
   * right and the result is not. What `objects` and `base` throw passes through.
   */
  async segment(number: number, buffer?: Uint8Array): Promise<Uint8Array> {
    const segment = this.segments[number];
    if (segment === undefined) throw new ShoalError('NO_SUCH_SEGMENT', `the delta has no segment ${String(number)}`);
    const into = buffer === undefined ? Buffer.allocUnsafeSlow(segment.length) : buffer.subarray(0, segment.length);
    if (segment.codec === Codec.RAW) {
      const payload = await this.#object(segment.payload ?? { id: segment.target, size: segment.length }, 'payload', into);
      if (payload !== into) into.set(payload);
    } else if (segment.payload === undefined) {
      await this.#predict(segment, into);
    } else {
      const room = this.#rooms.pop() ?? Buffer.allocUnsafeSlow(this.#longest);
      try {
        const payload = await this.#object(segment.payload, 'payload', room.subarray(0, segment.payload.size));
        await decodeSegment(segment.codec, payload, into, segment.begin, await this.#predict(segment, into));
      } finally {
        this.#rooms.push(room);
      }
    }
    if (idFromBytes(blake3(into)) === segment.target) return into;
    // The reason is looked for only now: hashing every prediction would cost as much as reading it.
    if (segment.codec !== Codec.RAW) await this.probe(number, into);
    throw new ShoalError('DELTA_WRONG', `segment ${String(number)} of the delta does not make what it promises`, { ids: { segment: number }, retry: 'elsewhere' });
  }

  /**
   * Finds out whether the base serves segment `number`, before its payload is fetched. `buffer` is at least as long.
   *
   * @throws ShoalError as `segment` does for base and map page
   */
  async probe(number: number, buffer: Uint8Array): Promise<void> {
    const segment = this.segments[number];
    if (segment === undefined || segment.codec === Codec.RAW) return;
    const into = buffer.subarray(0, segment.length);
    await this.#predict(segment, into);
    if (!Buffer.from(blake3(into)).subarray(0, PREDICTION_BYTES).equals(segment.prediction)) {
      throw new ShoalError('BASE_DRIFTED', `the base is not what segment ${String(number)} of the delta was made from`, { ids: { segment: number } });
    }
  }

  async #predict(segment: PlacedSegment, into: Uint8Array): Promise<Pieces> {
    return predict(await this.#covers(segment.page), segment.begin, into, this.#base, this.#windows);
  }

  #covers(number: number): Promise<Covers> {
    const known = this.#open.find(({ page }) => page === number);
    if (known !== undefined) return known.covers;
    const page = this.#pages[number] as PlacedPage;
    const covers = this.#object(page, 'map page').then((bytes) => decodePage(bytes, page.begin, page.end, this.#manifest.base.size, page.covers));
    const open = { page: number, covers };
    // Segments on both sides of a page's end may be under way at the same time.
    this.#open = [open, ...this.#open].slice(0, PAGES_OPEN);
    // A page that failed is asked for again.
    covers.catch(() => {
      this.#open = this.#open.filter((each) => each !== open);
    });
    return covers;
  }

  async #object({ id, size }: { readonly id: ObjectId; readonly size: number }, what: string, into?: Uint8Array): Promise<Uint8Array> {
    const bytes = await this.#objects.object(id, size, into);
    if (bytes.length !== size || idFromBytes(blake3(bytes)) !== id) {
      throw new ShoalError('DELTA_DAMAGED', `a ${what} of the delta is not what its id says`, { ids: { object: id }, retry: 'elsewhere' });
    }
    return bytes;
  }
}
