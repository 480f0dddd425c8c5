import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { CONNECTIONS_MAX, CONNECTIONS_PER_ORIGIN, IDLE_TIMEOUT_MS } from '../core/limits.ts';
import type { ClientTls } from '../identity/tls.ts';
import { HttpConnection } from './http-connection.ts';

/** TLS options for an origin: trust, client certificate. Asked once per connection, so that certificates can be renewed. */
export type TlsFor = (origin: URL) => ClientTls;

/** Keeps connections for reuse, so many to one origin and so many in all; who finds none free waits its turn. */
export class HttpPool {
  readonly #clock: Clock;
  readonly #tlsFor: TlsFor;
  readonly #limiters: readonly RateLimiter[];
  /** Open or being opened, by origin. */
  readonly #counts = new Map<string, number>();
  readonly #idle = new Map<HttpConnection, () => void>();
  readonly #waiting = new Set<() => void>();
  readonly #busy = new Set<HttpConnection>();
  #total = 0;
  #closed = false;

  /** `limiters`: what all connections together receive is counted against each of them. */
  constructor(clock: Clock, tlsFor: TlsFor, limiters: readonly RateLimiter[] = []) {
    this.#clock = clock;
    this.#tlsFor = tlsFor;
    this.#limiters = limiters;
  }

  /** A connection for one exchange. `fresh` asks for one that has never been used. `reached`: see `HttpOptions`. Throws `HTTP_CONNECT` or the signal's reason. */
  async acquire(origin: URL, fresh: boolean, signal: AbortSignal, reached: () => void = () => undefined): Promise<HttpConnection> {
    for (;;) {
      if (this.#closed) throw new ShoalError('HTTP_CLOSED', 'the HTTP client has been closed', { retry: 'elsewhere' });
      signal.throwIfAborted();
      const idle = [...this.#idle.keys()].findLast((each) => each.origin === origin.origin);
      if (idle !== undefined) {
        this.#forgetIdle(idle);
        if (fresh) idle.destroy(unused());
        else if (idle.usable) {
          reached();
          return this.#lend(idle);
        }
        continue;
      }
      if ((this.#counts.get(origin.origin) ?? 0) < CONNECTIONS_PER_ORIGIN) {
        if (this.#total < CONNECTIONS_MAX) return this.#open(origin, signal, reached);
        const oldest = this.#idle.keys().next().value;
        if (oldest !== undefined) {
          this.#forgetIdle(oldest);
          oldest.destroy(unused());
        }
      }
      await this.#turn(signal);
    }
  }

  /** Gives a connection back after its exchange, whatever became of it. */
  release(connection: HttpConnection): void {
    this.#busy.delete(connection);
    if (this.#closed) connection.destroy(unused());
    if (connection.usable) {
      connection.idle(true);
      const stop = this.#clock.after(IDLE_TIMEOUT_MS, () => {
        this.#idle.delete(connection);
        connection.destroy(unused());
      }, 'background');
      this.#idle.set(connection, stop);
    }
    this.#wake();
  }

  /** Closes every connection; exchanges in progress fail with `HTTP_CLOSED`. */
  close(): void {
    this.#closed = true;
    for (const connection of [...this.#idle.keys(), ...this.#busy]) {
      this.#forgetIdle(connection);
      connection.destroy(unused());
    }
    this.#wake();
  }

  async #open(origin: URL, signal: AbortSignal, reached: () => void): Promise<HttpConnection> {
    this.#count(origin.origin, 1);
    let counted = true;
    const closed = (): void => {
      if (counted) this.#count(origin.origin, -1);
      counted = false;
      if (opened !== undefined) this.#forgetIdle(opened);
      this.#wake();
    };
    let opened: HttpConnection | undefined;
    try {
      opened = await HttpConnection.open(origin, { clock: this.#clock, tls: origin.protocol === 'https:' ? this.#tlsFor(origin) : {}, limiters: this.#limiters }, closed, signal, reached);
      return this.#lend(opened);
    } catch (error) {
      closed();
      throw error;
    }
  }

  #lend(connection: HttpConnection): HttpConnection {
    connection.idle(false);
    this.#busy.add(connection);
    return connection;
  }

  #forgetIdle(connection: HttpConnection): void {
    this.#idle.get(connection)?.();
    this.#idle.delete(connection);
  }

  #count(origin: string, by: 1 | -1): void {
    this.#total += by;
    const count = (this.#counts.get(origin) ?? 0) + by;
    if (count === 0) this.#counts.delete(origin);
    else this.#counts.set(origin, count);
  }

  async #turn(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const grant = (): void => {
        this.#waiting.delete(grant);
        signal.removeEventListener('abort', grant);
        resolve();
      };
      this.#waiting.add(grant);
      signal.addEventListener('abort', grant, { once: true });
    });
  }

  /** Lets everyone look again, in order of arrival: whoever still finds nothing queues up behind. */
  #wake(): void {
    for (const grant of [...this.#waiting]) grant();
  }
}

function unused(): ShoalError {
  return new ShoalError('HTTP_CLOSED', 'the connection has been closed', { retry: 'elsewhere' });
}
