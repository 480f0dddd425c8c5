import type { Clock } from '../../core/clock.ts';

/** Names that were asked for in vain, each for a while; the oldest go first. */
export class Absent {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #most: number;
  readonly #until = new Map<string, number>();

  constructor(clock: Clock, ms: number, most: number) {
    this.#clock = clock;
    this.#ms = ms;
    this.#most = most;
  }

  has(name: string): boolean {
    return (this.#until.get(name) ?? -Infinity) > this.#clock.now();
  }

  add(name: string): void {
    this.#until.delete(name);
    this.#until.set(name, this.#clock.now() + this.#ms);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= this.#most) return;
      this.#until.delete(oldest);
    }
  }
}

/** Work that is under way, by name: whoever wants the same waits for it instead of doing it again. */
export class InFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  run(name: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const started = work().finally(() => this.#running.delete(name));
    this.#running.set(name, started);
    return started;
  }
}
