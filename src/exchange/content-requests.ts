import type { InFlight, Running } from './in-flight.ts';
import { isFar } from './source.ts';
import type { Source } from './source.ts';
import type { SpanFill } from './span-fill.ts';

/** Spans that are asked for twice because the first who was asked is slow: where everything is slow, more would make it slower. */
const CRAWLING_MOST = 2;

/** A request for a span as content. */
export interface ContentRequest {
  readonly source: Source;
  readonly started: Running;
  /** Ends it; what it brought is kept. */
  readonly drop: () => void;
}

/** The requests for spans as content that are under way, and which of them are not worth waiting for. */
export class ContentRequests {
  readonly #inFlight: InFlight;
  readonly #bySpan = new Map<SpanFill, Set<ContentRequest>>();

  constructor(inFlight: InFlight) {
    this.#inFlight = inFlight;
  }

  add(fill: SpanFill, request: ContentRequest): void {
    this.#bySpan.set(fill, (this.#bySpan.get(fill) ?? new Set()).add(request));
  }

  end(fill: SpanFill, request: ContentRequest): void {
    const requests = this.#bySpan.get(fill);
    requests?.delete(request);
    if (requests?.size === 0) this.#bySpan.delete(fill);
  }

  /** Whether who is asked for it takes far longer than others would, and somebody else may be asked. Who brings things over the backhaul is as fast as that is. */
  crawls(fill: SpanFill): boolean {
    const request = this.#only(fill);
    if (request === undefined || request.source.kind === 'gateway' || isFar(request.source) || !this.#inFlight.crawls(request.source.name, request.started)) return false;
    let twice = 0;
    for (const each of this.#bySpan.values()) if (each.size > 1) twice++;
    return twice < CRAWLING_MOST;
  }

  /** Whether it is on its way over the backhaul, here or to who passes it on, and nobody else is asked for it: who passes it on bit by bit is not waited for where another one has all of it. */
  crosses(fill: SpanFill): boolean {
    const request = this.#only(fill);
    return request !== undefined && (isFar(request.source) || request.started.passed) && !request.started.arrived;
  }

  /** It is whole: what is still on its way over the backhaul would cross for nothing, and nobody need wait for what still comes to a neighbour. */
  whole(fill: SpanFill): void {
    this.#drop(fill, ({ source, started }) => isFar(source) || started.passed);
  }

  /** Drops what crosses the backhaul for it: a neighbour brings it, and passes it on. */
  leave(fill: SpanFill): void {
    this.#drop(fill, ({ source }) => isFar(source));
  }

  #drop(fill: SpanFill, which: (request: ContentRequest) => boolean): void {
    for (const request of this.#bySpan.get(fill) ?? []) if (which(request) && !request.started.arrived) request.drop();
  }

  /** The only request for it, of whatever kind. */
  #only(fill: SpanFill): ContentRequest | undefined {
    const requests = this.#bySpan.get(fill);
    if (requests?.size !== 1 || fill.asked.length !== 1) return undefined;
    const [request] = requests;
    return request;
  }
}
