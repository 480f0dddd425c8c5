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

  /** How full the line was in each tenth of the time until now, percent: it should be from the first to the last. */
  get used(): string {
    this.#look();
    const most = (this.#bed.backhaulMbit * 1e6) / 8;
    const end = this.#seen.at(-1)?.at ?? 0;
    const at = (seconds: number): number => {
      const next = this.#seen.find((each) => each.at >= seconds) ?? { at: end, bytes: 0 };
      const last = this.#seen.findLast((each) => each.at < seconds) ?? { at: 0, bytes: 0 };
      return last.bytes + ((next.bytes - last.bytes) * (seconds - last.at)) / Math.max(0.001, next.at - last.at);
    };
    return Array.from({ length: 10 }, (_, tenth) => ((100 * (at(((tenth + 1) * end) / 10) - at((tenth * end) / 10))) / ((most * end) / 10)).toFixed(0)).join(' ');
  }

  /** Seconds until a hundredth, a half and 99 of a hundred of all of it had crossed. */
  stop(): string {
    clearInterval(this.#timer);
    this.#look();
    const all = this.#seen.at(-1)?.bytes ?? 0;
    return [0.01, 0.1, 0.5, 0.9, 0.99].map((share) => `${String(share * 100)} % ${(this.#seen.find(({ bytes }) => bytes >= all * share)?.at ?? 0).toFixed(1)}`).join(', ');
  }
}
