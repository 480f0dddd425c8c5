import { assemble } from '../container/assemble.ts';
import { ExpandedBase } from '../container/expanded-base.ts';
import { expandedBytes, partsOf } from '../container/layout.ts';
import type { Part } from '../container/layout.ts';
import { openedCovers } from '../container/opened.ts';
import { NO_STREAMS, heldBytes } from '../container/streams.ts';
import type { Views } from '../container/views.ts';
import { ShoalError } from '../core/errors.ts';
import { idFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { CONTAINER_PART_BYTES } from '../core/limits.ts';
import { blake3 } from '../kernel/hash.ts';
import { release } from '../kernel/heap.ts';
import { checkOf } from './check.ts';
import { EarlierBase, keepsApart } from './earlier.ts';
import { decodePage, decodeSegment, placesMoved } from './kernel.ts';
import type { PlacesMoved } from './kernel.ts';
import { PREDICTION_BYTES, canMove } from './manifest.ts';
import type { DeltaOutline } from './manifest.ts';
import { decodeParts } from './parts.ts';
import type { PartPayload } from './parts.ts';
import { placesOf } from './placed.ts';
import type { PlacedPage, PlacedSegment } from './placed.ts';
import { Windows, predict } from './predict.ts';
import type { BaseReader } from './predict.ts';
import { Codec } from './types.ts';
import type { Covers, Pieces } from './types.ts';

/** Pages whose covers are kept at a time: 8 MiB each at most. */
const PAGES_OPEN = 2;

const NOTHING = new Uint8Array(0);
const NO_PIECES = new Uint32Array(0);
const NO_VIEWS: Views = { base: NO_STREAMS, target: NO_STREAMS };

/** Where map pages and payloads come from. What it returns is not trusted. It may fill and return `into` where it reads. */
export interface DeltaObjects {
  object(id: ObjectId, size: number, into?: Uint8Array): Promise<Uint8Array>;
}

/** A part of a segment as `DeltaApplier.examine` shows it. */
export interface ExaminedPart extends PartPayload {
  /** Its map page, and the covers on it. */
  readonly page: number;
  readonly covers: Covers;
  /** Where it begins in what pages see, in the opened target, and where its payload says it does. */
  readonly expanded: number;
  readonly opened: number;
  readonly origin: number;
  readonly prediction: Uint8Array;
  readonly pieces: Pieces;
  readonly moved: PlacesMoved | undefined;
  /** What it makes: of a part of the opened target, unless it is a segment that travels as it is with streams in it. */
  readonly made: Uint8Array;
  readonly unopened: boolean;
}

/**
 * Rebuilds segments of a target, in any order but that those a segment needs come first, from random reads of the base and, where they need any, of
 * the target. Order of checks: hash of page and payload,
 * limits, decode, hash of the result; only where that is wrong, the hash of the prediction, which tells a base that drifted from
 * a delta that is broken. Memory: the segment, its payload, the covers of two pages, some 2 MiB of models, and where references are
 * moved 16 bytes for each cover of the delta and 4 MiB.
 */
export class DeltaApplier {
  readonly segments: readonly PlacedSegment[];
  readonly #outline: DeltaOutline;
  readonly #pages: readonly PlacedPage[];
  readonly #objects: DeltaObjects;
  readonly #base: BaseReader;
  readonly #baseAlone: BaseReader;
  /** Of the base as pages see it. */
  readonly #baseSize: number;
  /** Behind the last byte that covers may show. */
  readonly #reach: number;
  readonly #windows = new Windows();
  /** For payloads, one for each segment under way. */
  readonly #rooms: Buffer[] = [];
  readonly #longest: number;
  /** Hashes of what was made of segments that say nothing of it, for `settle`. */
  readonly #made = new Map<number, Uint8Array>();
  /** For parts, one for each segment under way. */
  readonly #partRooms: Buffer[] = [];
  /** Where places of the base went, once a segment needs it. */
  #moved: Promise<PlacesMoved> | undefined;
  /** Covers of the pages that were used last, newest first. */
  #open: readonly { readonly page: number; readonly covers: Promise<Covers> }[] = [];

  constructor(outline: DeltaOutline, objects: DeltaObjects, base: BaseReader) {
    this.#outline = outline;
    this.#objects = objects;
    const { views } = outline;
    this.#base = views === undefined ? base : new ExpandedBase(base, outline.base.size, views.base);
    this.#baseSize = outline.base.size + (views === undefined ? 0 : heldBytes(views.base));
    const looksBack = outline.looksBack === true;
    this.#baseAlone = looksBack ? new EarlierBase(this.#base, this.#baseSize) : this.#base;
    this.#reach = this.#baseSize + (looksBack ? outline.target.size : 0);
    const { segments, pages } = placesOf(outline);
    this.segments = segments;
    this.#longest = segments.reduce((most, { codec, payload }) => (codec === Codec.RAW ? most : Math.max(most, payload?.size ?? 0)), 0);
    this.#pages = pages;
  }

  /**
   * The target bytes of segment `number`, in `buffer` (at least as long) or a new one. `earlier` reads the target where a segment has prerequisites, which
   * are there; of a file all that lies before it. Where only all segments together are
   * checked (a delta in one file), that is `settle`'s work.
   *
   * @throws ShoalError `BASE_DRIFTED` or `BASE_TOO_SHORT`: this base does not serve this segment, nobody is to blame;
   * `DELTA_DAMAGED`: page or payload is not what the manifest says, or cannot be decoded; `DELTA_WRONG`: all inputs are
   * right and the result is not. What `objects` and `base` throw passes through.
   */
  async segment(number: number, buffer?: Uint8Array, earlier?: BaseReader): Promise<Uint8Array> {
    const segment = this.segments[number];
    if (segment === undefined) throw new ShoalError('NO_SUCH_SEGMENT', `the delta has no segment ${String(number)}`);
    const base = this.#reader(segment, number, earlier);
    const into = buffer === undefined ? Buffer.allocUnsafeSlow(segment.length) : buffer.subarray(0, segment.length);
    if (segment.codec === Codec.RAW && segment.payload !== undefined) {
      const payload = await this.#object(segment.payload, 'payload', into);
      if (payload !== into) into.set(payload);
    } else if (segment.codec === Codec.PARTS) {
      await this.#expand(segment, into);
    } else if (segment.payload === undefined) {
      await this.#predict(segment, into, base);
    } else {
      const room = this.#rooms.pop() ?? Buffer.allocUnsafeSlow(this.#longest);
      try {
        const payload = await this.#object(segment.payload, 'payload', room.subarray(0, segment.payload.size));
        const moved = segment.codec === Codec.MOVED ? await this.#placesMoved() : undefined;
        await decodeSegment(segment.codec, payload, into, moved === undefined ? segment.expanded : segment.opened, await this.#predict(segment, into, base), moved);
      } finally {
        this.#rooms.push(room);
      }
    }
    const hash = blake3(into);
    if (segment.target === undefined) {
      this.#made.set(number, hash);
      return into;
    }
    if (idFromBytes(hash) === segment.target) return into;
    // The reason is looked for only now: hashing every prediction would cost as much as reading it.
    if (segment.codec !== Codec.RAW) await this.probe(number, into);
    throw new ShoalError('DELTA_WRONG', `segment ${String(number)} of the delta does not make what it promises`, { ids: { segment: number }, retry: 'elsewhere' });
  }

  /**
   * Says whether all segments that were made are the target, where no segment says so of itself. To be called after the last.
   *
   * @throws ShoalError as `segment` does
   */
  async settle(): Promise<void> {
    const { check } = this.#outline;
    if (check === undefined) return;
    const targets = this.#made.size < this.segments.length ? undefined : checkOf([...this.segments.keys().map((number) => this.#made.get(number) as Uint8Array)], []).target;
    if (targets !== undefined && Buffer.from(targets).equals(check.target)) return;
    await this.proveBase();
    throw new ShoalError('DELTA_WRONG', 'the delta does not make what it promises', { retry: 'elsewhere' });
  }

  /**
   * Says whether the base is what the delta was made from, without fetching a payload.
   *
   * @throws ShoalError as `probe` does
   */
  async proveBase(): Promise<void> {
    const { check } = this.#outline;
    const buffer = Buffer.allocUnsafeSlow(this.segments.reduce((most, { length }) => Math.max(most, length), 0));
    const predictions: Uint8Array[] = [];
    for (const [number, segment] of this.segments.entries()) {
      if (check === undefined) await this.probe(number, buffer);
      else predictions.push(await this.#prediction(segment, buffer));
    }
    if (check === undefined || Buffer.from(checkOf([], predictions).predictions).equals(check.predictions)) return;
    throw new ShoalError('BASE_DRIFTED', 'the base is not what this delta was made from');
  }

  /**
   * Finds out whether the base serves segment `number`, before its payload is fetched. `buffer` is at least as long.
   *
   * @throws ShoalError as `segment` does for base and map page
   */
  async probe(number: number, buffer: Uint8Array): Promise<void> {
    const segment = this.segments[number];
    if (segment === undefined || segment.codec === Codec.RAW) return;
    if (segment.prediction === undefined || Buffer.from(await this.#prediction(segment, buffer)).equals(segment.prediction)) return;
    throw new ShoalError('BASE_DRIFTED', `the base is not what segment ${String(number)} of the delta was made from`, { ids: { segment: number } });
  }

  /**
   * Calls `visit` with each part of segment `number`, one where it has no streams, without compressing anything: for people who ask what a delta is
   * spent on. Nothing is checked by hash but the payload.
   *
   * @throws ShoalError as `segment` does
   */
  async examine(number: number, visit: (part: ExaminedPart) => Promise<void>, earlier?: BaseReader): Promise<void> {
    const segment = this.segments[number];
    if (segment === undefined) return;
    const base = this.#reader(segment, number, earlier);
    const { begin, length, page, codec, expanded, opened } = segment;
    const streams = this.#outline.views?.target ?? NO_STREAMS;
    const unopened = codec === Codec.RAW && expandedBytes(streams, begin, begin + length) !== length;
    const payload = segment.payload === undefined ? NOTHING : await this.#object(segment.payload, 'payload');
    const lengths = codec === Codec.PARTS ? partsOf(streams, begin, begin + length).map((part) => part.length) : [length];
    const payloads = codec === Codec.PARTS ? decodeParts(payload, lengths) : [{ codec, payload }];
    const covers = await this.#covers(page);
    let at = 0;
    for (const [n, part] of payloads.entries()) {
      const made = Buffer.allocUnsafeSlow(lengths[n] ?? 0);
      const pieces = part.codec === Codec.RAW ? NO_PIECES : await predict(covers, expanded + at, made, base, this.#windows);
      const moved = part.codec === Codec.MOVED ? await this.#placesMoved() : undefined;
      const prediction = Uint8Array.from(made);
      const origin = at + (moved === undefined ? expanded : opened);
      await decodeSegment(part.codec, part.payload, made, origin, pieces, moved);
      await visit({ ...part, page, covers, unopened, expanded: expanded + at, opened: opened + at, origin, prediction, pieces, moved, made });
      at += made.length;
    }
  }

  /** The base, and behind it what a segment needs. */
  #reader({ begin, codec, prerequisites }: PlacedSegment, number: number, earlier: BaseReader | undefined): BaseReader {
    if (this.#outline.looksBack !== true || codec === Codec.RAW) return this.#base;
    const ranges = prerequisites?.map((each) => {
      const { begin: from, length } = this.segments[each] as PlacedSegment;
      return { begin: from, end: from + length };
    }) ?? (begin > 0 ? [{ begin: 0, end: begin }] : []);
    if (earlier === undefined && ranges.length > 0) throw new ShoalError('NOT_HELD', `segment ${String(number)} of the delta needs earlier ones`, { ids: { segment: number }, retry: 'again' });
    return new EarlierBase(this.#base, this.#baseSize, earlier, ranges);
  }

  /** What a segment's prediction is known by: earlier segments count as zeros, so that the base alone is asked. */
  async #prediction(segment: PlacedSegment, buffer: Uint8Array): Promise<Uint8Array> {
    if (segment.codec === Codec.RAW) return new Uint8Array(PREDICTION_BYTES);
    const into = buffer.subarray(0, segment.length);
    const hash = segment.codec === Codec.PARTS ? await this.#probeParts(segment) : (await this.#predict(segment, into, this.#baseAlone), blake3(into));
    return hash.subarray(0, PREDICTION_BYTES);
  }

  async #predict({ page, expanded }: PlacedSegment, into: Uint8Array, base: BaseReader): Promise<Pieces> {
    return predict(await this.#covers(page), expanded, into, base, this.#windows);
  }

  /** Makes the parts of a segment one after another, and of each its target bytes in `into`. */
  async #expand(segment: PlacedSegment, into: Uint8Array): Promise<void> {
    const { target } = this.#outline.views ?? NO_VIEWS;
    if (segment.payload === undefined) return;
    const { size } = segment.payload;
    const room = this.#rooms.pop() ?? Buffer.allocUnsafeSlow(this.#longest);
    try {
      const bytes = await this.#object(segment.payload, 'payload', room.subarray(0, size));
      const parts = partsOf(target, segment.begin, segment.begin + segment.length);
      const payloads = decodeParts(bytes, parts.map(({ length }) => length));
      await this.#eachPart(segment, async (part, at, made, number, covers) => {
        const { codec, payload } = payloads[number] ?? { codec: Codec.COPY, payload: NOTHING };
        const pieces = codec === Codec.RAW ? NO_PIECES : await predict(covers, at, made, this.#base, this.#windows);
        const moved = codec === Codec.MOVED ? await this.#placesMoved() : undefined;
        await decodeSegment(codec, payload, made, moved === undefined ? at : at - segment.expanded + segment.opened, pieces, moved);
        await assemble(target, part, made, into, segment.begin);
      });
    } finally {
      this.#rooms.push(room);
    }
  }

  /** The hash of what the parts of a segment are predicted to be. */
  async #probeParts(segment: PlacedSegment): Promise<Uint8Array> {
    const hashes: Uint8Array[] = [];
    await this.#eachPart(segment, async (_part, at, made, _number, covers) => {
      await predict(covers, at, made, this.#base, this.#windows);
      hashes.push(blake3(made));
    });
    return blake3(Buffer.concat(hashes));
  }

  /** Calls `make` with each part, where it begins when all is expanded, and memory for it. */
  async #eachPart({ begin, length, page, expanded }: PlacedSegment, make: (part: Part, at: number, made: Uint8Array, number: number, covers: Covers) => Promise<void>): Promise<void> {
    const parts = partsOf(this.#outline.views?.target ?? NO_STREAMS, begin, begin + length);
    const longest = parts.reduce((most, part) => Math.max(most, part.length), CONTAINER_PART_BYTES);
    let room = this.#partRooms.pop() ?? Buffer.alloc(0);
    // Kept for the next segment: memory that comes and goes is garbage for a while.
    if (room.length < longest) room = Buffer.allocUnsafeSlow(longest);
    try {
      const covers = await this.#covers(page);
      let at = expanded;
      for (const [number, part] of parts.entries()) {
        await make(part, at, room.subarray(0, part.length), number, covers);
        at += part.length;
      }
    } finally {
      this.#partRooms.push(room);
    }
  }

  #placesMoved(): Promise<PlacesMoved> {
    if (this.#moved !== undefined) return this.#moved;
    const made = (async () => {
      // A part says only now that it needs them.
      if (!canMove(this.#pages)) throw new ShoalError('DELTA_DAMAGED', 'the map of this delta is too large to move references by', { retry: 'elsewhere' });
      const pages: Covers[] = [];
      for (const [number, { firstSegment, segments }] of this.#pages.entries()) {
        const covers = await this.#covers(number);
        pages.push(this.#outline.views === undefined ? covers : openedCovers(covers, this.segments.slice(firstSegment, firstSegment + segments)));
      }
      const places = await placesMoved(pages, this.#baseSize);
      if (this.#outline.views !== undefined) for (const covers of pages) release(covers);
      return places;
    })();
    this.#moved = made;
    made.catch(() => {
      this.#moved = undefined;
    });
    return made;
  }

  #covers(number: number): Promise<Covers> {
    const known = this.#open.find(({ page }) => page === number);
    if (known !== undefined) return known.covers;
    const page = this.#pages[number] as PlacedPage;
    const covers = this.#object(page, 'map page').then(async (bytes) => {
      const decoded = await decodePage(bytes, page.begin, page.end, this.#reach, page.covers);
      if (this.#reach > this.#baseSize && !keepsApart(decoded, this.#baseSize)) throw new ShoalError('DELTA_DAMAGED', 'a cover of the delta goes beyond the base\'s end', { retry: 'elsewhere' });
      return decoded;
    });
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
