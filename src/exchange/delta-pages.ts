import { nextSteps } from '../plan/schedule.ts';
import type { Random, Want } from '../plan/schedule.ts';
import type { DeltaRoad } from './delta-road.ts';
import { lateAfter } from './in-flight.ts';
import { pagesFrom } from './roads.ts';
import type { RoadsParts } from './roads.ts';
import type { Source } from './source.ts';
import type { SpanFill } from './span-fill.ts';

interface PageWant extends Want {
  asked: readonly string[];
  since: number;
  lateMs: number;
  late: boolean;
}

/** The map pages of a delta on their way: no segment can be rebuilt before its page is here. */
export class DeltaPages {
  readonly #road: DeltaRoad;
  readonly #wants = new Map<number, PageWant>();
  /** Neighbours that turned out not to have a page. */
  readonly #without = new Set<string>();

  constructor(road: DeltaRoad) {
    this.#road = road;
  }

  /** The pages to ask for now: those whose segments make what is missing, few at a time, in order. */
  steps(missing: readonly SpanFill[], sources: readonly Source[], parts: RoadsParts, now: number, random: Random): readonly { readonly source: Source; readonly page: number }[] {
    const road = this.#road;
    const needed = new Set<number>();
    for (const { span } of missing) if (road.makes(span)) needed.add(road.pageOf(road.segmentOf(span)));
    const wants = road.pagesToAsk(needed).filter((page) => !road.recallPage(page)).map((page) => this.#want(page, now));
    if (wants.length === 0) return [];
    const offers = sources.filter((source) => source.delta !== undefined).map((source) => pagesFrom(source, road, parts));
    return nextSteps(wants, offers, random).flatMap(({ source: name, span: page }) => {
      const source = sources.find((each) => each.name === name);
      return source === undefined ? [] : [{ source, page }];
    });
  }

  /** Notes a request; its `since` is to be raised at every sign of life. */
  start(source: Source, page: number, now: number): { since: number } {
    const want = this.#want(page, now);
    want.asked = [...want.asked, source.name];
    want.since = now;
    want.lateMs = lateAfter(source);
    return want;
  }

  end(source: Source, page: number): void {
    const want = this.#wants.get(page);
    if (want !== undefined) want.asked = want.asked.filter((name) => name !== source.name);
    if (this.#road.hasPage(page)) this.#wants.delete(page);
  }

  lacks(source: Source, page: number): boolean {
    return this.#without.has(`${source.name} ${String(page)}`);
  }

  /** Notes that a neighbour does not have a page, whatever it says. */
  without(source: Source, page: number): void {
    this.#without.add(`${source.name} ${String(page)}`);
  }

  /** Who should have it does not: its segments are content's. */
  absent(page: number, road: DeltaRoad): void {
    const { firstSegment } = road.page(page);
    const { segments = 0 } = road.manifest.pages[page] ?? {};
    for (let at = 0; at < segments; at++) road.absent(firstSegment + at);
  }

  #want(page: number, now: number): PageWant {
    const known = this.#wants.get(page) ?? { span: page, asked: [], since: now, lateMs: 0, late: false };
    known.late = known.asked.length > 0 && now - known.since > known.lateMs;
    this.#wants.set(page, known);
    return known;
  }
}
