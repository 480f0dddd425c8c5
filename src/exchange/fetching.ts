import type { Clock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import { GATEWAY_PATIENCE_MS } from '../core/limits.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import type { ContentKey } from '../core/wire.ts';
import type { FileSlot } from '../install/file-slot.ts';
import type { IndexReader } from '../merkle/reader.ts';
import { nextSteps } from '../plan/schedule.ts';
import type { Offer, Random } from '../plan/schedule.ts';
import type { ArrivingSpan } from '../serve/file-content.ts';
import { Arrival } from './arrival.ts';
import { ContentRequests } from './content-requests.ts';
import { ContentWork } from './content-work.ts';
import { DeltaPages } from './delta-pages.ts';
import type { DeltaRoad } from './delta-road.ts';
import type { DeltaUse } from './delta-use.ts';
import { DeltaWork } from './delta-work.ts';
import { Holdings } from './holdings.ts';
import { InFlight, OVERDUE_MS, lateAfter } from './in-flight.ts';
import type { Running } from './in-flight.ts';
import type { Looker } from './looker.ts';
import type { MissingSpans } from './missing.ts';
import type { FailoverPages, PageShelf } from './pages.ts';
import { HERE, fillsOf, offersFrom } from './roads.ts';
import type { RoadsParts } from './roads.ts';
import { isFar } from './source.ts';
import type { Source } from './source.ts';
import type { SpanFill } from './span-fill.ts';
import { PATIENCE_MS, isLie } from './standing.ts';
import type { Standing } from './standing.ts';
import type { BackhaulTurns } from './turns.ts';

const TICK_MS = 250;
/** What neighbours answer within so long is planned for together, milliseconds. */
const TOGETHER_MS = 30;

export interface FetchingParts {
  readonly key: ContentKey;
  readonly chunking: ChunkingRecord;
  readonly index: IndexReader;
  readonly slot: FileSlot;
  readonly pages: FailoverPages;
  readonly shelf: PageShelf | undefined;
  readonly looker: Looker;
  readonly missing: MissingSpans;
  readonly delta: DeltaUse;
  readonly sources: () => readonly Source[];
  readonly standing: Standing;
  readonly turns: BackhaulTurns | undefined;
  /** The most that may arrive, bytes a second. */
  readonly rate: (() => number) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Spans are still being looked at: more may turn out to be missing. */
  readonly looking: () => boolean;
  /** `there` bytes of the span were found in the slot or a base, `written` came from elsewhere. */
  readonly onArrived: (fill: SpanFill, written: number, there: number) => void;
  readonly onAlive: () => void;
  /** A span begins, or ceases, to be brought over the backhaul. */
  readonly onBringing: (span: number, on: boolean) => void;
  /** A span is being brought over the backhaul as content, to be passed on as it comes; undefined when it is no more. */
  readonly onArriving: (span: number, arriving: ArrivingSpan | undefined) => void;
  /** A request has ended. */
  readonly onEnded: () => void;
}

interface DeltaInUse {
  readonly road: DeltaRoad;
  readonly work: DeltaWork;
  readonly pages: DeltaPages;
  /** Segments on their way: how many requests there are for each. */
  readonly underWay: Map<number, number>;
}

/** Brings what is missing from whoever gives it for the least, until nothing is missing any more. */
export class Fetching {
  readonly #parts: FetchingParts;
  readonly #inFlight: InFlight;
  readonly #holdings: Holdings;
  readonly #content: ContentWork;
  readonly #running = new Set<Promise<void>>();
  /** Spans on their way over the backhaul, and those that are about to be. */
  readonly #crossing = new Set<number>();
  #claimed: readonly number[] = [];
  readonly #contents: ContentRequests;
  #delta: DeltaInUse | undefined;
  #lastArrival: number;
  /** When others of the site were last known to be at work. */
  #waited = -Infinity;
  #broken: Error | undefined;
  #wake: () => void = () => undefined;
  /** Answers are there that nobody has looked at yet. */
  #answers: (() => void) | undefined;

  constructor(parts: FetchingParts) {
    const { clock, index, key, signal, turns } = parts;
    this.#parts = parts;
    this.#lastArrival = clock.now();
    this.#inFlight = new InFlight(() => clock.now(), parts.rate);
    this.#contents = new ContentRequests(this.#inFlight);
    this.#content = new ContentWork(parts, (fill, written, there) => {
      this.#arrived(fill, written, there);
    }, (error) => {
      this.broke(error);
    });
    this.#holdings = new Holdings({
      key, clock, signal,
      spans: index.spans,
      places: index,
      members: () => turns?.members ?? 0,
      onHolding: (source, holding, took) => turns?.saw(source, holding, took),
      onLate: (source) => turns?.late(source),
      onBoast: (source) => turns?.caught(source),
      onFailure: (source, error) => {
        // Whoever does not answer has nothing to offer until it does; that is all that follows from it.
        if (isShoalError(error, 'HTTP_LATE')) turns?.late(source);
        else turns?.asked(source);
        if (isLie(error)) this.#failed(source, error);
      },
      onAnswer: () => {
        // Several answer at about the same time: they are looked at together.
        this.#answers ??= clock.after(TOGETHER_MS, () => {
          this.#answers = undefined;
          this.#wake();
        });
      },
    });
  }

  /** No request is under way. */
  get idle(): boolean {
    return this.#running.size === 0;
  }

  /** Something has changed: the planner is to look again. */
  wake(): void {
    this.#wake();
  }

  /** Something is missing that was not before: whoever has it is given time from now on. */
  begins(): void {
    this.#lastArrival = this.#parts.clock.now();
  }

  /** Our own side failed: that ends it. */
  broke(error: unknown): void {
    this.#broken ??= error instanceof Error ? error : new Error(String(error));
    this.#wake();
  }

  /** Throws `NO_SOURCE` when nobody gave a byte for a minute, and what broke. */
  async run(): Promise<void> {
    const { clock, missing, signal } = this.#parts;
    while (this.#parts.looking() || missing.size > 0 || this.#broken !== undefined) {
      signal.throwIfAborted();
      const sources = this.#parts.sources();
      if (this.#broken !== undefined) throw this.#broken;
      const { missing, standing, turns } = this.#parts;
      const usable = sources.filter((source) => standing.mayAsk(source));
      const road = this.#openDelta();
      const delta = road === undefined ? undefined : { base: road.manifest.base.root, segments: road.segments.length };
      await this.#holdings.refresh(sources.filter((source) => !standing.banned(source)), road !== undefined || turns?.leads === false, delta, this.#parts.looking() ? undefined : missing.size);
      this.#yield(usable);
      this.#plan(usable);
      this.#claim(turns?.claimed ?? []);
      if (turns !== undefined && (turns.waits || this.#leavesItToOthers(turns))) this.#parts.onAlive();
      this.#giveUp(sources);
      await new Promise<void>((resolve) => {
        const cancel = clock.after(TICK_MS, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  /** Waits until nothing is under way any more. */
  async close(): Promise<void> {
    this.#answers?.();
    await Promise.all(this.#running);
    await this.#parts.delta.close();
  }

  /** The delta in use. Its manifest is fetched when it is this device's to bring something. */
  #openDelta(): DeltaRoad | undefined {
    const { delta } = this.#parts;
    if (this.#coming && this.#parts.turns?.isSettled !== false) delta.open();
    const { road } = delta;
    if (road === undefined) {
      this.#delta = undefined;
    } else if (this.#delta?.road !== road) {
      const missing = (span: number): SpanFill | undefined => this.#parts.missing.get(span);
      const work = new DeltaWork({ ...this.#parts, road, missing, whole: this.#parts.missing.isWhole, arrived: (fill, written, there) => { this.#arrived(fill, written, there); }, broke: (error) => { this.broke(error); } });
      this.#delta = { road, work, pages: new DeltaPages(road), underWay: new Map() };
    }
    return road;
  }

  get #coming(): boolean {
    const { delta, missing, turns } = this.#parts;
    // Who knows his neighbours only just takes no content from them that a delta they have may make.
    return (turns === undefined || turns.leads || !turns.isSettled) && delta.coming(missing.bytes);
  }

  /** Nothing is under way, and all that is missing is for others to bring: then it is at work as far as these are concerned, or all would think that nobody else is. */
  #leavesItToOthers(turns: BackhaulTurns): boolean {
    const { delta: { road }, missing } = this.#parts;
    if (!this.idle || missing.size === 0) return false;
    return missing.every(({ span }) => !turns.mine(road?.makes(span) === true ? road.firstSpan(road.segmentOf(span)) : span));
  }

  /** Leaves to neighbours what they bring as well, and pass on while it comes. */
  #yield(sources: readonly Source[]): void {
    const { missing, turns } = this.#parts;
    if (turns === undefined) return;
    for (const span of this.#crossing) {
      const fill = missing.get(span);
      if (fill !== undefined && turns.yields(span) && sources.some((source) => this.#holdings.passes(source, span))) this.#contents.leave(fill);
    }
  }

  #plan(sources: readonly Source[]): void {
    const { clock, delta, missing, random, turns } = this.#parts;
    const road = delta.road;
    if (road === undefined && this.#inFlight.room === 0) return;
    const now = clock.now();
    const wants = missing.wants(now, OVERDUE_MS * (turns?.slowness ?? 1), this.#contents);
    const roads: RoadsParts = { missing, holdings: this.#holdings, inFlight: this.#inFlight, turns, road, deltaComing: this.#coming, underWay: (segment) => this.#delta?.underWay.has(segment) === true, lacksPage: (source, page) => this.#delta?.pages.lacks(source, page) === true };
    if (road !== undefined && this.#delta !== undefined) {
      for (const { source, page } of this.#delta.pages.steps(wants, sources, roads, now, random).slice(0, this.#inFlight.room)) this.#startPage(source, page, this.#delta);
    }
    const { room } = this.#inFlight;
    if (room === 0) return;
    const offers: readonly Offer[] = offersFrom(sources, roads);
    for (const step of nextSteps(wants, offers, random).slice(0, room)) {
      const source = sources.find(({ name }) => name === step.source);
      const fill = missing.get(step.span);
      if (fill === undefined) continue;
      if (step.road === 'content') {
        // One segment brings several spans: another of them may just have been planned for.
        if (source !== undefined && (fill.asked.length === 0 || fill.late || fill.crosses)) this.#startContent(source, fill);
      } else if (this.#delta !== undefined && (source !== undefined || step.source === HERE)) {
        this.#startSegment(source, this.#delta.road.segmentOf(step.span), this.#delta);
      }
    }
  }

  /** Tells what it is about to bring over the backhaul, and is not bringing yet. */
  #claim(spans: readonly number[]): void {
    for (const span of this.#claimed) if (!spans.includes(span) && !this.#crossing.has(span)) this.#parts.onBringing(span, false);
    for (const span of spans) this.#parts.onBringing(span, true);
    this.#claimed = spans;
  }

  #startContent(source: Source, fill: SpanFill): void {
    const held = this.#holdings.spans(source);
    const passed = held !== undefined && held !== 'all' && !held.has(fill.span);
    this.#start(source.name, [fill], async (started) => {
      const arrival = isFar(source) ? new Arrival(fill) : undefined;
      if (arrival !== undefined) this.#parts.onArriving(fill.span, arrival);
      const dropped = new AbortController();
      const request = { source, started, drop: () => { dropped.abort(); } };
      this.#contents.add(fill, request);
      try {
        await this.#content.fetch(source, fill, AbortSignal.any([this.#parts.signal, dropped.signal]), {
          passed,
          alive: () => { this.#alive([fill], started); },
          brings: (bytes) => { started.size = bytes; },
          came: (bytes) => { started.got += bytes; },
          arrived: () => {
            // The next one is asked for while this one is still being written.
            started.arrived = true;
            this.#wake();
          },
        });
      } catch (error) {
        // Nobody's fault: it came from nearer.
        if (!dropped.signal.aborted) throw error;
      } finally {
        this.#contents.end(fill, request);
        if (arrival !== undefined) this.#parts.onArriving(fill.span, undefined);
        arrival?.end();
      }
    }, (error) => {
      if (passed) this.#holdings.ceased(source, fill.span);
      if (passed && !isLie(error)) return;
      if (!isShoalError(error, 'NOT_HELD') || !this.#holdings.deny('spans', source, fill.span)) this.#failed(source, error);
    }, source, { passed });
  }

  #startSegment(source: Source | undefined, segment: number, { road, underWay, work }: DeltaInUse): void {
    const fills = fillsOf(segment, road, { missing: this.#parts.missing, underWay: (each) => underWay.has(each) });
    if (fills.length === 0 || !work.fits(segment)) return;
    underWay.set(segment, (underWay.get(segment) ?? 0) + 1);
    this.#start(source?.name ?? HERE, fills, (started) => work.segment(segment, source, this.#parts.signal, {
      alive: () => { this.#alive(fills, started); },
      arrived: () => {
        started.arrived = source !== undefined;
        // Work of our own is not late, and asking others would not help.
        for (const each of [started, ...fills]) each.since = Infinity;
        this.#wake();
      },
    }), (error) => {
      if (source === undefined) return;
      if (!isShoalError(error, 'NOT_HELD')) this.#failed(source, error);
      else if (source.kind === 'peer') this.#holdings.deny('segments', source, segment);
      else road.absent(segment);
    }, source, { ended: () => {
      const left = (underWay.get(segment) ?? 1) - 1;
      if (left === 0) underWay.delete(segment);
      else underWay.set(segment, left);
    } });
  }

  #startPage(source: Source, page: number, { pages, road, work }: DeltaInUse): void {
    const request = pages.start(source, page, this.#parts.clock.now());
    const alive = (): void => {
      request.since = this.#parts.clock.now();
      this.#parts.onAlive();
    };
    this.#start(source.name, [], () => work.page(source, page, this.#parts.signal, alive), (error) => {
      if (isShoalError(error, 'NOT_HELD') && source.kind === 'peer') pages.without(source, page);
      else if (isShoalError(error, 'NOT_HELD')) pages.absent(page, road);
      else this.#failed(source, error);
    }, source, { ended: () => {
      pages.end(source, page);
    } });
  }

  /** Runs `work` as a request for `fills` to the source called `name`. */
  #start(name: string, fills: readonly SpanFill[], work: (started: Running) => Promise<void>, failed: (error: unknown) => void, source: Source | undefined, { ended = () => undefined, passed = false }: { readonly ended?: () => void; readonly passed?: boolean } = {}): void {
    const started = this.#inFlight.start(name, lateAfter(source), passed);
    const began = this.#parts.clock.now();
    const crossing = source !== undefined && isFar(source) ? fills.map(({ span }) => span) : [];
    for (const span of crossing) {
      this.#crossing.add(span);
      this.#parts.onBringing(span, true);
      this.#parts.turns?.brings(span);
    }
    for (const fill of fills) {
      fill.asked = [...fill.asked, name];
      fill.since = started.since;
      fill.lateMs = started.lateMs;
    }
    const running = work(started).then(() => {
      if (source !== undefined) this.#parts.standing.succeeded(source);
    }, failed).finally(() => {
      for (const fill of fills) {
        fill.asked = fill.asked.toSpliced(fill.asked.indexOf(name), 1);
        // What else is under way for it is as late as it was.
        if (fill.asked.length === 0) fill.since = this.#parts.clock.now();
      }
      for (const span of crossing) {
        this.#crossing.delete(span);
        this.#parts.turns?.ceases(span);
        this.#parts.onBringing(span, false);
        if (this.#parts.missing.isWhole(span)) this.#parts.turns?.has(span, this.#parts.clock.now() - began);
      }
      ended();
      this.#inFlight.end(name, started);
      this.#running.delete(running);
      this.#parts.onEnded();
      this.#wake();
    });
    this.#running.add(running);
  }

  #alive(fills: readonly SpanFill[], started: Running): void {
    const now = this.#parts.clock.now();
    // Words alone do not count for ever.
    if (now - this.#lastArrival > GATEWAY_PATIENCE_MS) return;
    for (const each of [started, ...fills]) each.since = now;
    this.#parts.onAlive();
  }

  #arrived(fill: SpanFill, written: number, there: number): void {
    this.#lastArrival = this.#parts.clock.now();
    this.#parts.onArrived(fill, written, there);
    if (this.#parts.missing.isWhole(fill.span)) this.#contents.whole(fill);
  }

  #giveUp(sources: readonly Source[]): void {
    const { clock, index, missing, standing, turns } = this.#parts;
    const now = clock.now();
    if (turns?.othersAtWork === true) this.#waited = now;
    const idle = now - this.#waited > PATIENCE_MS && this.#inFlight.none;
    const hopeless = this.idle && sources.every((source) => standing.banned(source));
    if (missing.size > 0 && ((idle && now - this.#lastArrival > PATIENCE_MS) || hopeless)) {
      throw standing.nobody(`${String(missing.size)} of ${String(index.spans)} spans`, sources);
    }
  }

  #failed(source: Source, error: unknown): void {
    const { signal, standing, turns } = this.#parts;
    if (this.#broken !== undefined || signal.aborted) return;
    standing.failed(source, error);
    if (standing.banned(source)) turns?.caught(source);
  }
}
