import { Bitmap } from '../core/bitmap.ts';
import type { ContentRequests } from './content-requests.ts';
import type { SpanFill } from './span-fill.ts';

/** The spans that a download still lacks: found by number, and as one list that is not made anew for every request. */
export class MissingSpans {
  readonly #bySpan = new Map<number, SpanFill>();
  /** In any order. */
  readonly #list: SpanFill[] = [];
  readonly #whole: Bitmap;
  #bytes = 0;

  /** `spans`: how many the artifact has. */
  constructor(spans: number) {
    this.#whole = new Bitmap(spans);
  }

  get size(): number {
    return this.#list.length;
  }

  /** Raw bytes of the spans that are missing in whole or part. */
  get bytes(): number {
    return this.#bytes;
  }

  every(is: (fill: SpanFill) => boolean): boolean {
    return this.#list.every(is);
  }

  get(span: number): SpanFill | undefined {
    return this.#bySpan.get(span);
  }

  /** Notes that a span is whole in the slot. */
  found(span: number): void {
    this.#whole.add(span);
  }

  readonly isWhole = (span: number): boolean => this.#whole.has(span);

  add(fill: SpanFill): void {
    this.#bySpan.set(fill.span, fill);
    this.#bytes += fill.place.bytes;
    fill.position = this.#list.push(fill) - 1;
  }

  /** It has come. Returns whether it was still missing. */
  came(fill: SpanFill): boolean {
    if (!this.#bySpan.delete(fill.span)) return false;
    this.#whole.add(fill.span);
    this.#bytes -= fill.place.bytes;
    const last = this.#list.pop();
    if (last !== undefined && last !== fill) {
      this.#list[fill.position] = last;
      last.position = fill.position;
    }
    return true;
  }

  /** All of them, those marked as late that have been under way without a sign of life for longer than who is asked for them may take, and as overdue for more than `overdueMs`; late as well those that crawl. */
  wants(now: number, overdueMs: number, requests: Pick<ContentRequests, 'crawls' | 'crosses'>): readonly SpanFill[] {
    for (const each of this.#list) {
      const silent = each.asked.length > 0 && each.wanted ? now - each.since : 0;
      const stuck = silent > each.lateMs;
      each.crawls = !stuck && each.asked.length > 0 && requests.crawls(each);
      each.crosses = requests.crosses(each);
      each.late = stuck || each.crawls;
      each.overdue = silent > overdueMs;
    }
    return this.#list;
  }
}
