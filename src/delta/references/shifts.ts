import { DELTA_MOVED_MAX_COVERS } from '../../core/limits.ts';
import type { Covers } from '../types.ts';

/** Where places of the base went: the twin of native/delta/references/shifts.cc (docs/delta.md, "Shifts"). */
export class Shifts {
  readonly baseSize: number;
  readonly #starts: number[] = [];
  readonly #moved: number[] = [];

  /**
   * Of all covers of a delta, in order. A place in several covers went where the longest took it (the first among equals); one
   * in none where the nearest before it went.
   */
  constructor(pages: readonly Covers[], baseSize: number) {
    this.baseSize = baseSize;
    const count = pages.reduce((sum, covers) => sum + covers.length / 4, 0);
    if (count > DELTA_MOVED_MAX_COVERS) return;
    const base = new Float64Array(count);
    const end = new Float64Array(count);
    const by = new Float64Array(count);
    let used = 0;
    for (const covers of pages) {
      for (let i = 0; i < covers.length; i += 4) {
        if ((covers[i + 3] as number) >= 0) continue;
        base[used] = covers[i + 2] as number;
        end[used] = (covers[i + 2] as number) + (covers[i + 1] as number);
        by[used] = (covers[i] as number) - (covers[i + 2] as number);
        used++;
      }
    }
    const from = (i: number): number => base[i] as number;
    const to = (i: number): number => end[i] as number;
    const order = Uint32Array.from({ length: used }, (_, i) => i).sort((a, b) => from(a) - from(b) || a - b);
    const open = new Heap((a, b) => to(a) - from(a) - (to(b) - from(b)) || b - a);
    const emit = (at: number, i: number): void => {
      if (this.#moved.at(-1) === by[i] && this.#moved.length > 0) return;
      if (this.#starts.at(-1) === at) {
        this.#moved[this.#moved.length - 1] = by[i] as number;
        return;
      }
      this.#starts.push(at);
      this.#moved.push(by[i] as number);
    };
    // What begins at or before `until`: where a cover ends, the longest that goes on takes over.
    const close = (until: number): void => {
      for (let top = open.top; top !== undefined; top = open.top) {
        const stop = to(top);
        if (stop > until) return;
        open.pop();
        while (open.top !== undefined && to(open.top) <= stop) open.pop();
        if (open.top !== undefined) emit(stop, open.top);
      }
    };
    for (const i of order) {
      close(from(i));
      open.push(i);
      emit(from(i), open.top ?? i);
    }
    close(Infinity);
  }

  /** Target minus base position of the place at `position`, below `baseSize`. */
  at(position: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= position) low = middle;
      else high = middle - 1;
    }
    return this.#moved[low] ?? 0;
  }
}

/** The greatest on top. */
class Heap {
  readonly #items: number[] = [];
  readonly #compare: (a: number, b: number) => number;

  constructor(compare: (a: number, b: number) => number) {
    this.#compare = compare;
  }

  get top(): number | undefined {
    return this.#items[0];
  }

  push(item: number): void {
    const items = this.#items;
    let i = items.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (this.#compare(items[parent] as number, item) >= 0) break;
      items[i] = items[parent] as number;
      i = parent;
    }
    items[i] = item;
  }

  pop(): void {
    const items = this.#items;
    const item = items.pop();
    if (item === undefined || items.length === 0) return;
    let i = 0;
    for (let child = 1; child < items.length; child = 2 * i + 1) {
      if (child + 1 < items.length && this.#compare(items[child + 1] as number, items[child] as number) > 0) child++;
      if (this.#compare(item, items[child] as number) >= 0) break;
      items[i] = items[child] as number;
      i = child;
    }
    items[i] = item;
  }
}
