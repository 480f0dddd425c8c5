import type { Clock } from '../core/clock.ts';

/**
 * Does `work` every `ms`, never twice at a time; a failure is reported and tried again at the next turn. A function for
 * `ms` is asked before every turn: a fleet that was switched on at once must not stay in step.
 */
export class Periodic {
  readonly #clock: Clock;
  readonly #ms: () => number;
  readonly #work: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #cancel: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(clock: Clock, ms: number | (() => number), work: () => Promise<void>, failed: (error: unknown) => void) {
    this.#clock = clock;
    this.#ms = typeof ms === 'number' ? () => ms : ms;
    this.#work = work;
    this.#failed = failed;
    this.#next();
  }

  /** Returns when a turn that has begun has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
  }

  #next(): void {
    if (this.#stopped) return;
    this.#cancel = this.#clock.after(this.#ms(), () => {
      this.#running = this.#work().catch(this.#failed).then(() => this.#next());
    });
  }
}
