import type { TestBed } from './test-bed.ts';

const EVERY_MS = 500;

/** When what crossed the backhaul did so: whether a site lost its time at the beginning, between, or after the last byte. */
export class Line {
  readonly #bed: TestBed;
  readonly #began = performance.now();
  readonly #before: number;
  readonly #seen: { readonly at: number; readonly bytes: number }[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(bed: TestBed) {
    this.#bed = bed;
    this.#before = bed.backhaul.down;
    this.#timer = setInterval(() => { this.#look(); }, EVERY_MS);
  }

  #look(): void {
    // Taken down while a look was due.
    if (this.#bed.removed) clearInterval(this.#timer);
    else this.#seen.push({ at: (performance.now() - this.#began) / 1000, bytes: this.#bed.backhaul.down - this.#before });
  }

  /** Seconds until a hundredth, a half and 99 of a hundred of all of it had crossed. */
  stop(): string {
    clearInterval(this.#timer);
    this.#look();
    const all = this.#seen.at(-1)?.bytes ?? 0;
    return [0.01, 0.1, 0.5, 0.9, 0.99].map((share) => `${String(share * 100)} % ${(this.#seen.find(({ bytes }) => bytes >= all * share)?.at ?? 0).toFixed(1)}`).join(', ');
  }
}
