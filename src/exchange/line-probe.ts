import type { Clock } from '../core/clock.ts';
import { CONTROL_MAX_BYTES, IDLE_TIMEOUT_MS } from '../core/limits.ts';
import { wire } from '../core/wire.ts';
import { GentleRate } from '../plan/gentle.ts';
import type { Upstream } from './upstream.ts';

/** A question for so many bytes that came, and so many milliseconds between two: half a percent of what travels at most. */
const BYTES_APART = 128 * 1024;
const APART_MS = 250;
/** One after another before much comes: the first makes the connection. */
const FIRST = 4;
/** Later than this a new connection may have been made for it, which says nothing of the line. */
const REUSED_MS = IDLE_TIMEOUT_MS - 500;

/** Asks the origin something small while much comes from it, and says how much may come. */
export class LineProbe {
  readonly #clock: Clock;
  readonly #gentle: GentleRate;
  #upstream: Upstream | undefined;
  #asking = false;
  #asked = -Infinity;
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#gentle = new GentleRate(() => clock.now());
  }

  get rate(): number {
    return this.#gentle.rate;
  }

  /** Who is asked: on connections of their own, which no limit holds up. */
  asks(upstream: Upstream): void {
    this.#upstream = upstream;
  }

  /** Much is about to come: how the line answers before it does is what it is measured against. */
  begins(): void {
    if (this.#upstream === undefined || this.#asking) return;
    this.#gentle.rested();
    this.#asked = this.#clock.now();
    void this.#ask(this.#upstream, FIRST);
  }

  took(bytes: number): void {
    this.#gentle.took(bytes);
    this.#since += bytes;
    const apart = this.#clock.now() - this.#asked;
    if (this.#upstream === undefined || this.#asking) return;
    if (apart > REUSED_MS) {
      this.begins();
    } else if (this.#since >= BYTES_APART && apart >= APART_MS) {
      this.#since = 0;
      this.#asked = this.#clock.now();
      void this.#ask(this.#upstream, 1);
    }
  }

  async #ask(upstream: Upstream, times: number): Promise<void> {
    this.#asking = true;
    try {
      for (let time = 0; time < times; time++) {
        const began = this.#clock.now();
        await upstream.get('control', wire.instance, CONTROL_MAX_BYTES);
        // The first on a connection takes as long as the connection.
        if (times === 1 || time > 0) this.#gentle.answered(this.#clock.now() - began);
      }
    } catch {
      // Whoever fetches from there will hear of it.
    } finally {
      this.#asking = false;
    }
  }
}
