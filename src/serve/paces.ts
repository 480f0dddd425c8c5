import type { Clock } from '../core/clock.ts';
import { SERVE_REQUESTS_PER_SECOND } from '../core/limits.ts';
import { RateLimiter } from '../core/rate-limiter.ts';

/** Clients whose pace is known. One that is forgotten begins anew. */
const CLIENTS_MOST = 4_096;

/**
 * So many requests a second from each client. Whoever asks faster is answered later, and so asks no faster: its requests
 * wait on its own connections, and nobody else's do.
 */
export class Paces {
  readonly #clock: Clock;
  readonly #limiters = new Map<string, RateLimiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when the next request of `client` may be looked at. */
  async turn(client: string): Promise<void> {
    const limiter = this.#limiters.get(client) ?? new RateLimiter(this.#clock, () => SERVE_REQUESTS_PER_SECOND);
    this.#limiters.delete(client);
    this.#limiters.set(client, limiter);
    for (const oldest of this.#limiters.keys()) {
      if (this.#limiters.size <= CLIENTS_MOST) break;
      this.#limiters.delete(oldest);
    }
    await limiter.wait(1);
  }
}
