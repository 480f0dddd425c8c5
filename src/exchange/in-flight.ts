import type { SourceKind } from './source.ts';

/**
 * Spans under way at the same time, from all sources together: each has `SPAN_MAX_BYTES` of memory. Late ones do not count,
 * so that many stuck sources do not keep the others from being asked, up to a bound of their own.
 */
const SPANS_MOST = 16;
const SPANS_WITH_LATE_MOST = 48;
/** At a limit of our own each span still gets so many bytes a second, the largest of usual chunks in `LATE_MS`: or all of them would be late. */
const SPAN_LEAST_RATE = 52_428;
/** Spans of one source that may still be being written while others of it arrive. */
const UNWRITTEN = 2;
/** A span is late after so long without a sign of life: another source is asked for it as well. Milliseconds. */
const LATE_MS = 5_000;
/** After so long the backhaul is crossed for what a neighbour was to give: a LAN that is busy is no reason. Milliseconds. */
export const OVERDUE_MS = 15_000;

/**
 * How long a source may say nothing before others are asked as well. Milliseconds. A gateway says every few seconds that it is
 * still at it; one that does not has more work than its processor can do, or hangs: who leaves it crosses the backhaul, and a
 * whole site does so at the same time.
 */
export function lateAfter(source: { readonly kind: SourceKind } | undefined): number {
  return source?.kind === 'gateway' ? OVERDUE_MS : LATE_MS;
}

/** A neighbour is not given up for being slow before this, milliseconds: a LAN that is busy for a moment is no reason. */
const CRAWL_LEAST_MS = 4_000;
/** It crawls when what is left will take it so many times as long as all of it would take others. */
const CRAWL_TIMES = 6;

/** A request for a span that is under way. */
export interface Running {
  /** When it was started, or last gave a sign of life. */
  since: number;
  /** Milliseconds without one after which it is late. */
  readonly lateMs: number;
  readonly began: number;
  /** What it is to bring, where that is known, and what it has brought. Bytes. */
  size: number;
  got: number;
  /** All bytes are here, if not all of them in the slot: the source has nothing more to do. */
  arrived: boolean;
  /** It comes as it comes to whoever was asked: that says nothing about him. */
  readonly passed: boolean;
}

/** The requests under way, by source. */
export class InFlight {
  readonly #now: () => number;
  readonly #rate: () => number;
  readonly #running = new Map<string, Set<Running>>();
  /** Bytes a millisecond that sources brought lately, each request by itself. */
  readonly #paces = new Map<string, number>();

  /** `now` counts milliseconds; `rate`: the most that may arrive, bytes a second. */
  constructor(now: () => number, rate: () => number = () => Infinity) {
    this.#now = now;
    this.#rate = rate;
  }

  start(source: string, lateMs: number, passed = false): Running {
    const now = this.#now();
    const started = { since: now, began: now, lateMs, size: 0, got: 0, arrived: false, passed };
    const running = this.#running.get(source) ?? new Set();
    this.#running.set(source, running.add(started));
    return started;
  }

  end(source: string, ended: Running): void {
    this.#running.get(source)?.delete(ended);
    if (ended.size === 0 || ended.got === 0 || ended.passed) return;
    const pace = ended.got / Math.max(1, this.#now() - ended.began);
    this.#paces.set(source, (pace + (this.#paces.get(source) ?? pace)) / 2);
  }

  /**
   * Whether a request to the source goes so slowly that another source is worth asking as well: by what others were measured to
   * take, never by a time that somebody thought of. Whoever sends a little now and then is never silent, and holds everything up.
   */
  crawls(source: string, { arrived, began, got, passed, size }: Running): boolean {
    const elapsed = this.#now() - began;
    if (arrived || passed || size === 0 || elapsed < CRAWL_LEAST_MS) return false;
    const others = [...this.#paces].flatMap(([name, pace]) => (name === source ? [] : [pace])).sort((a, b) => a - b);
    const middle = others[others.length >> 1];
    return middle !== undefined && (elapsed * (size - got)) / Math.max(1, got) > Math.max(CRAWL_LEAST_MS, (CRAWL_TIMES * size) / middle);
  }

  get none(): boolean {
    return this.#count === 0;
  }

  /** How many more spans may be asked for. */
  get room(): number {
    let inTime = 0;
    for (const running of this.#running.values()) for (const each of running) if (each.arrived || !this.#late(each)) inTime++;
    return Math.max(0, Math.min(SPANS_MOST - inTime, Math.ceil(this.#rate() / SPAN_LEAST_RATE) - inTime, SPANS_WITH_LATE_MOST - this.#count));
  }

  /** Requests that take up one of the source's places. */
  of(source: string): number {
    const all = this.#running.get(source) ?? new Set();
    return Math.max([...all].filter(({ arrived }) => !arrived).length, all.size - UNWRITTEN);
  }

  /** Requests to the source for what is on its way to it. */
  passed(source: string): number {
    return [...(this.#running.get(source) ?? [])].filter(({ passed }) => passed).length;
  }

  /** Whether a request to the source is late, or crawls. */
  slow(source: string): boolean {
    return [...(this.#running.get(source) ?? [])].some((each) => !each.arrived && !each.passed && (this.#late(each) || this.crawls(source, each)));
  }

  get #count(): number {
    let count = 0;
    for (const running of this.#running.values()) count += running.size;
    return count;
  }

  #late({ since, lateMs }: Running): boolean {
    return this.#now() - since > lateMs;
  }
}
