import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { CONTROL_TIMEOUT_MS, ERROR_BODY_MAX_BYTES, STALL_TIMEOUT_MS } from '../core/limits.ts';
import type { BodyTarget, Exchanged, HttpConnection } from './http-connection.ts';
import { HttpPool } from './http-pool.ts';
import type { TlsFor } from './http-pool.ts';

export type { BodyTarget } from './http-connection.ts';
export type { ResponseHead } from './http-head.ts';

export interface HttpOptions {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal;
  /** The whole exchange, waiting for a connection included. Default `CONTROL_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
  /** Told of the bytes received, heads included, also when the exchange fails: they have been paid for. */
  readonly onReceived?: (bytes: number) => void;
  /** Told when the other side was reached: somebody took the connection, whatever he does with it. Not while it waits for one that is free. */
  readonly onReached?: () => void;
  /** Told of every 102 (Processing) before the answer. */
  readonly onProcessing?: () => void;
  /** Longest silence or drip. Default `STALL_TIMEOUT_MS`. */
  readonly stallMs?: number;
}

export interface HttpAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  /** Bytes on the wire, heads included, TLS not. */
  readonly received: number;
  readonly sent: number;
}

const FORBIDDEN = /[^\t\x20-\x7e]/;

/**
 * The HTTP client of every role. What a server says is hostile until verified: head, body, framing, time and silence
 * are bounded, redirects are refused, and a body goes straight into memory that the caller owns. Failures name the URL:
 *
 * - `HTTP_CONNECT`, `HTTP_TRUNCATED`, `HTTP_MALFORMED`, `HTTP_STALLED`, `HTTP_TOO_LARGE`, `HTTP_REDIRECT` (elsewhere);
 * - `HTTP_TIMEOUT` (elsewhere), `ABORTED` (again), and whatever a `BodyTarget` throws.
 */
export class HttpClient {
  readonly #pool: HttpPool;
  readonly #clock: Clock;

  /** `limiters`: what arrives is counted against each of them. */
  constructor(options: { readonly clock?: Clock; readonly tls?: TlsFor; readonly limiters?: readonly RateLimiter[] } = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#pool = new HttpPool(this.#clock, options.tls ?? (() => ({})), options.limiters);
  }

  /**
   * Reads a whole answer of any status but a redirect, at most `maxBytes` of body. A failure that comes with more is
   * `HTTP_STATUS`: a proxy's long page says nothing about the content that was asked for.
   */
  async request(url: string | URL, maxBytes: number, options: HttpOptions = {}): Promise<HttpAnswer> {
    const place = new URL(url);
    let status = 0;
    const target: BodyTarget = {
      begin: (head, length) => {
        status = head.status;
        if (length !== undefined && length > maxBytes) {
          throw new ShoalError('HTTP_TOO_LARGE', `the answer has ${String(length)} bytes; ${String(maxBytes)} are accepted`, { retry: 'elsewhere' });
        }
        return Buffer.allocUnsafeSlow(length ?? maxBytes);
      },
    };
    const answer = await this.#exchange(place, target, options).catch((error: unknown) => {
      throw status >= 400 && isShoalError(error, 'HTTP_TOO_LARGE') ? named(statusError(place, status, undefined), place) : error;
    });
    // A chunked body came into a buffer of the largest size: do not keep that alive for a few bytes.
    const body = answer.head.length === undefined ? Uint8Array.prototype.slice.call(answer.body) : answer.body;
    return { status: answer.head.status, headers: answer.head.headers, body, received: answer.received, sent: answer.sent };
  }

  /**
   * Receives a body of status 200 or 206 into the caller's buffer while `target` looks on. Any other status is
   * `HTTP_STATUS`: 429 and 503 to be tried again, the rest elsewhere. Once settled, nothing writes to the buffer.
   */
  async receive(url: string | URL, target: BodyTarget, options: HttpOptions = {}): Promise<HttpAnswer> {
    const place = new URL(url);
    let good = false;
    const answer = await this.#exchange(
      place,
      {
        begin: (head, length) => {
          good = head.status === 200 || head.status === 206;
          if (good) return target.begin(head, length);
          if ((length ?? 0) > ERROR_BODY_MAX_BYTES) throw statusError(place, head.status, undefined);
          return Buffer.allocUnsafeSlow(length ?? ERROR_BODY_MAX_BYTES);
        },
        progress: (filled) => {
          if (good) target.progress?.(filled);
        },
      },
      options,
    );
    if (!good) throw statusError(place, answer.head.status, answer.body);
    return { status: answer.head.status, headers: answer.head.headers, body: answer.body, received: answer.received, sent: answer.sent };
  }

  /** Ends every exchange and connection. */
  close(): void {
    this.#pool.close();
  }

  async #exchange(url: URL, target: BodyTarget, options: HttpOptions): Promise<Exchanged> {
    const guard = new AbortController();
    const timeoutMs = options.timeoutMs ?? CONTROL_TIMEOUT_MS;
    const stopTimer = this.#clock.after(timeoutMs, () => {
      guard.abort(new ShoalError('HTTP_TIMEOUT', `no complete answer within ${String(timeoutMs / 1000)} s`, { retry: 'elsewhere' }));
    });
    const cancel = (): void => {
      guard.abort(new ShoalError('ABORTED', 'the request was cancelled', { cause: options.signal?.reason, retry: 'again' }));
    };
    options.signal?.addEventListener('abort', cancel, { once: true });
    if (options.signal?.aborted === true) cancel();
    try {
      const headers = headersOf(url, options);
      const redirectless: BodyTarget = {
        ...target,
        begin: (head, length) => {
          if (head.status >= 300 && head.status < 400 && head.status !== 304) {
            throw new ShoalError('HTTP_REDIRECT', `the answer is a redirect (${String(head.status)}), which is not followed`, { retry: 'elsewhere' });
          }
          return target.begin(head, length);
        },
      };
      return await this.#attempt(url, redirectless, headers, options, guard.signal);
    } catch (error) {
      throw named(error, url);
    } finally {
      stopTimer();
      options.signal?.removeEventListener('abort', cancel);
    }
  }

  async #attempt(url: URL, target: BodyTarget, headers: Record<string, string>, options: HttpOptions, signal: AbortSignal): Promise<Exchanged> {
    for (let fresh = false; ; fresh = true) {
      const connection = await this.#pool.acquire(url, fresh, signal, options.onReached);
      const reused = connection.exchanges > 0;
      const stop = (): void => {
        connection.destroy(signal.reason as ShoalError);
      };
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      try {
        const exchange = { method: options.method ?? 'GET', path: url.pathname + url.search, headers, body: options.body, onProcessing: options.onProcessing, stallMs: options.stallMs ?? STALL_TIMEOUT_MS };
        return await connection.exchange(exchange, target);
      } catch (error) {
        if (!mayRepeat(connection, reused, options.method, signal, error)) throw error;
      } finally {
        signal.removeEventListener('abort', stop);
        options.onReceived?.(connection.received);
        this.#pool.release(connection);
      }
    }
  }
}

/** A kept connection that the server closed just as we used it says nothing about the server; POST may have had effect. */
function mayRepeat(connection: HttpConnection, reused: boolean, method: string | undefined, signal: AbortSignal, error: unknown): boolean {
  const lost = error instanceof ShoalError && (error.code === 'HTTP_TRUNCATED' || error.code === 'HTTP_CONNECT');
  return lost && reused && connection.received === 0 && method !== 'POST' && !signal.aborted;
}

function headersOf(url: URL, options: HttpOptions): Record<string, string> {
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '' || url.password !== '') {
    throw new ShoalError('BAD_URL', 'only http: and https: URLs without a user name can be fetched');
  }
  const headers: Record<string, string> = { Host: url.host, 'Accept-Encoding': 'identity' };
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(name) || FORBIDDEN.test(value)) throw new ShoalError('BAD_HEADER', `the header ${name} cannot be sent`);
    const known = Object.keys(headers).find((each) => each.toLowerCase() === name.toLowerCase());
    headers[known ?? name] = value;
  }
  if (options.body !== undefined) headers['Content-Length'] = String(options.body.byteLength);
  else if (options.method === 'PUT' || options.method === 'POST') headers['Content-Length'] = '0';
  return headers;
}

function statusError(url: URL, status: number, body: Uint8Array | undefined): ShoalError {
  const retry = status === 429 || status === 503 ? 'again' : 'elsewhere';
  const said = body === undefined ? undefined : sentence(body);
  return new ShoalError('HTTP_STATUS', `answered ${String(status)}${said === undefined ? '' : ` (${said})`}`, { ids: { url: url.href, status }, retry });
}

/** The message of an error of ours (docs/protocol.md), made safe to print: it comes from the other side. */
function sentence(body: Uint8Array): string | undefined {
  try {
    const said: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    const message = (said as { readonly message?: unknown } | null)?.message;
    return typeof message === 'string' ? message.slice(0, 200).replace(/[^\x20-\x7e]/g, '?') : undefined;
  } catch {
    return undefined; // Not JSON: a proxy's own page, of which the status says enough.
  }
}

/** The same error, naming the URL that failed. */
function named(error: unknown, url: URL): ShoalError {
  if (!(error instanceof ShoalError)) return new ShoalError('HTTP_FAILED', `${url.href}: ${messageOf(error)}`, { cause: error, ids: { url: url.href }, retry: 'elsewhere' });
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new ShoalError(error.code, `${url.href}: ${error.message}`, { cause: error, ids: { ...error.ids, url: url.href }, retry: error.retry, ...hint });
}
