import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { CONTROL_TIMEOUT_MS, ERROR_BODY_MAX_BYTES, SPAN_TIMEOUT_MS, UPSTREAM_REST_MS } from '../core/limits.ts';
import { HEADER_REVOCATIONS } from '../core/wire.ts';
import type { Plane } from '../serve/metrics.ts';
import { hostUrl } from './host-url.ts';
import { HttpClient } from './http.ts';
import type { BodyTarget, HttpAnswer, HttpOptions } from './http.ts';
import type { TlsFor } from './http-pool.ts';

export interface UpstreamAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** Bytes received from the upstream, heads included; requests sent. */
export interface UpstreamTotals {
  content: number;
  control: number;
  requests: number;
}

/** A host that is fetched from. Whatever it says is hostile until verified. */
export interface Upstream {
  readonly url: string;
  readonly totals: Readonly<UpstreamTotals>;
  /** Reads at most `maxBytes` of body. `reached`: see `HttpOptions.onReached`. Throws `HTTP_…` (retry elsewhere) when there is no proper answer in time. */
  get(plane: Plane, path: string, maxBytes: number, headers?: Readonly<Record<string, string>>, signal?: AbortSignal, reached?: () => void): Promise<UpstreamAnswer>;
  /** Content, straight into the caller's memory. Throws what `HttpClient.receive` throws: `HTTP_STATUS` for any status but 200 and 206. */
  receive(path: string, target: BodyTarget, options?: HttpOptions): Promise<HttpAnswer>;
  /** Sends a small JSON message of the control plane. Throws as `get` does. */
  put(path: string, json: Uint8Array, signal?: AbortSignal): Promise<UpstreamAnswer>;
  close(): Promise<void>;
}

/** How members of a fleet talk to each other. Without it: plain HTTP, or HTTPS as on the web. */
export interface Link {
  /** For hosts that were named as origin or gateway, and for neighbours. */
  readonly host: TlsFor;
  readonly neighbour: TlsFor;
  /** Told which revocation list `upstream` has. */
  heard(number: number, upstream: Upstream): void;
}

/** Which of its ends a link is to have, for a host at `url`. */
export interface Linked {
  readonly link: Link;
  readonly expected: 'host' | 'neighbour';
}

/** Over our own client. `clock` decides when a dead upstream is tried again. */
export class HttpUpstream implements Upstream {
  readonly url: string;
  readonly totals: UpstreamTotals = { content: 0, control: 0, requests: 0 };
  readonly #clock: Clock;
  readonly #client: HttpClient;
  readonly #link: Link | undefined;
  #resting: { readonly until: number; readonly error: ShoalError } | undefined;

  /** `limiters`: what it sends is counted against each of them. */
  constructor(url: string, clock: Clock, linked?: Linked, limiters: readonly RateLimiter[] = []) {
    this.url = hostUrl(url);
    this.#clock = clock;
    this.#link = linked?.link;
    this.#client = new HttpClient({ limiters, ...(linked === undefined ? {} : { tls: linked.link[linked.expected] }) });
  }

  get(plane: Plane, path: string, maxBytes: number, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal, reached?: () => void): Promise<UpstreamAnswer> {
    return this.#request(plane, path, maxBytes, { headers, ...(signal === undefined ? {} : { signal }), ...(reached === undefined ? {} : { onReached: reached }) });
  }

  put(path: string, json: Uint8Array, signal?: AbortSignal): Promise<UpstreamAnswer> {
    return this.#request('control', path, ERROR_BODY_MAX_BYTES, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: json, ...(signal === undefined ? {} : { signal }) });
  }

  /** Asks for something once: it is not asked again by itself. Throws as `get` does. */
  post(path: string, json: Uint8Array, maxBytes: number): Promise<UpstreamAnswer> {
    return this.#request('control', path, maxBytes, { method: 'POST', headers: { 'content-type': 'application/json' }, body: json });
  }

  async #request(plane: Plane, path: string, maxBytes: number, options: HttpOptions): Promise<UpstreamAnswer> {
    return this.#asked(path, () =>
      this.#client.request(`${this.url}${path}`, maxBytes, {
        ...options,
        timeoutMs: plane === 'content' ? SPAN_TIMEOUT_MS : CONTROL_TIMEOUT_MS,
        onReceived: (bytes) => {
          this.totals[plane] += bytes;
        },
      }),
    );
  }

  async receive(path: string, target: BodyTarget, options: HttpOptions = {}): Promise<HttpAnswer> {
    const onReceived = (bytes: number): void => {
      this.totals.content += bytes;
      options.onReceived?.(bytes);
    };
    return this.#asked(path, () => this.#client.receive(`${this.url}${path}`, target, { timeoutMs: SPAN_TIMEOUT_MS, ...options, onReceived }));
  }

  async #asked(path: string, ask: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
    if (this.#resting !== undefined && this.#clock.now() < this.#resting.until) throw this.#resting.error;
    this.totals.requests++;
    try {
      const answer = await ask();
      this.#resting = undefined;
      const number = Number(answer.headers.get(HEADER_REVOCATIONS) ?? -1);
      if (number >= 0) this.#link?.heard(number, this);
      return answer;
    } catch (cause) {
      if (!(cause instanceof ShoalError)) throw cause;
      const error = new ShoalError(cause.code, cause.message, { cause, ids: { ...cause.ids, upstream: this.url, path }, retry: cause.retry });
      if (error.code === 'HTTP_CONNECT') this.#resting = { until: this.#clock.now() + UPSTREAM_REST_MS, error };
      throw error;
    }
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}
