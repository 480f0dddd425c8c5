import { ANSWERS, ANSWER_MS, SLOW_TIMES_MOST } from './site-limits.ts';

/** How slow the members of a site answer, by the middle one of the last answers: one that hangs makes no difference, and no one of them can make it up. */
export class Slowness {
  readonly #answers: number[] = [];
  #times = 1;

  /** Somebody answered after so many milliseconds. */
  answered(took: number): void {
    this.#answers.push(took);
    if (this.#answers.length > ANSWERS) this.#answers.shift();
    const middle = this.#answers.toSorted((a, b) => a - b)[this.#answers.length >> 1] ?? 0;
    this.#times = Math.max(1, Math.min(SLOW_TIMES_MOST, middle / ANSWER_MS));
  }

  /** From 1 to `SLOW_TIMES_MOST`: so many times as long as usual everybody is waited for. */
  get times(): number {
    return this.#times;
  }
}
