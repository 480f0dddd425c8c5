import type { Clock } from '../../src/core/clock.ts';

/** A clock that stands still until told otherwise. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #due = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const entry = { at: this.#now + ms, run };
    this.#due.add(entry);
    return () => this.#due.delete(entry);
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const entry of [...this.#due].sort((a, b) => a.at - b.at)) {
      if (entry.at > this.#now || !this.#due.delete(entry)) continue;
      entry.run();
    }
  }
}
