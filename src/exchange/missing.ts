import type { Want } from '../plan/schedule.ts';
import type { SpanFill } from './span-fill.ts';

/** The spans that a download still lacks: found by number, and as one list that is not made anew for every request. */
export class MissingSpans {
  readonly #bySpan = new Map<number, SpanFill>();
  /** In any order. */
  readonly #list: SpanFill[] = [];

  get size(): number {
    return this.#list.length;
  }

  get(span: number): SpanFill | undefined {
    return this.#bySpan.get(span);
  }

  add(fill: SpanFill): void {
    this.#bySpan.set(fill.span, fill);
    fill.position = this.#list.push(fill) - 1;
  }

  /** Returns whether it was still missing. */
  delete(fill: SpanFill): boolean {
    if (!this.#bySpan.delete(fill.span)) return false;
    const last = this.#list.pop();
    if (last !== undefined && last !== fill) {
      this.#list[fill.position] = last;
      last.position = fill.position;
    }
    return true;
  }

  /** All of them, those marked as late that have been under way for more than `lateMs`. */
  wants(now: number, lateMs: number): readonly Want[] {
    for (const each of this.#list) each.late = each.asked.length > 0 && each.wanted && now - each.since > lateMs;
    return this.#list;
  }
}
