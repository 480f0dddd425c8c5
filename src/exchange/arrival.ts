import type { ArrivingSpan } from '../serve/file-content.ts';
import type { SpanFill } from './span-fill.ts';

/**
 * A span on its way over the backhaul, for neighbours that are to have it while it comes. Whoever waits for a span until it is whole somewhere begins when the
 * line is done with it: for the last spans of an artifact that is time in which the line has nothing to do.
 */
export class Arrival implements ArrivingSpan {
  readonly #fill: SpanFill;
  readonly #waiting = new Set<(more: boolean) => void>();
  #ended = false;

  readonly #landed = (): void => {
    this.#wake();
  };

  constructor(fill: SpanFill) {
    this.#fill = fill;
    fill.onLanded = this.#landed;
  }

  has(position: number): boolean {
    return this.#fill.landed(position);
  }

  more(): Promise<boolean> {
    return this.#ended ? Promise.resolve(false) : new Promise((resolve) => this.#waiting.add(resolve));
  }

  /** Nothing more comes this way. */
  end(): void {
    this.#ended = true;
    if (this.#fill.onLanded === this.#landed) this.#fill.onLanded = undefined;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve(!this.#ended);
    this.#waiting.clear();
  }
}
