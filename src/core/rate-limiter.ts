import type { Clock } from './clock.ts';

/** Saved up while nothing is taken: so much of a second. Enough for timers that are late, too little to be felt on a link. */
const SAVED_S = 0.25;
/** Pieces are so small that at the limit each takes about so much of a second; never smaller than `PIECE_LEAST`. */
const PIECE_S = 0.25;
const PIECE_LEAST = 4_096;

/**
 * A token bucket that may be overdrawn: whoever takes is told how long to wait before the next, so that what was read
 * already is not read twice. All who share it go on in the order in which they took.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #rate: () => number;
  readonly #onTake: (count: number) => void;
  #saved = 0;
  #at: number;

  /** `rate`: how many there are a second, at the moment; `Infinity` for no limit. `onTake` is told of all that is taken. */
  constructor(clock: Clock, rate: () => number, onTake: (count: number) => void = () => undefined) {
    this.#clock = clock;
    this.#rate = rate;
    this.#onTake = onTake;
    this.#at = clock.now();
    this.#saved = Infinity;
  }

  /** How many a second, at the moment. */
  get rate(): number {
    return this.#rate();
  }

  /** Bytes that should be taken at a time. */
  get piece(): number {
    return Math.max(PIECE_LEAST, this.#rate() * PIECE_S);
  }

  /** Takes `count`; returns the milliseconds until whoever took them may take more. */
  take(count: number): number {
    this.#onTake(count);
    const rate = this.#rate();
    const now = this.#clock.now();
    if (rate === Infinity) {
      this.#saved = Infinity;
      return 0;
    }
    const most = rate * SAVED_S;
    this.#saved = Math.min(most, this.#saved + ((now - this.#at) / 1000) * rate) - count;
    this.#at = now;
    return this.#saved >= 0 ? 0 : (-this.#saved / rate) * 1000;
  }

  /** Takes `count` and waits; not at all when `signal` is aborted. */
  async wait(count: number, signal?: AbortSignal): Promise<void> {
    const ms = this.take(count);
    if (ms <= 0) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#clock.after(ms, end);
      signal?.addEventListener('abort', end, { once: true });
      if (signal?.aborted === true) end();
    });
  }
}

/** The longest that one of `limiters` makes whoever takes `count` of each wait, milliseconds. */
export function takeAll(limiters: readonly RateLimiter[], count: number): number {
  let ms = 0;
  for (const limiter of limiters) ms = Math.max(ms, limiter.take(count));
  return ms;
}
