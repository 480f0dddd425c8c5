import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { ErrorIds } from '../core/errors.ts';
import { CONTROL_MAX_BYTES, UPLOAD_PATIENCE_MS } from '../core/limits.ts';
import { wire } from '../core/wire.ts';
import { hostUrl } from './host-url.ts';
import { HttpClient } from './http.ts';
import type { TlsFor } from './http-pool.ts';

export interface UploadTotals {
  sent: number;
  received: number;
  requests: number;
  /** Requests that had to be sent again. */
  repeated: number;
}

/** The server may wait a minute for its store before it answers. */
const ANSWER_MS = 90_000;
const REST_MS = 500;
const REST_MOST_MS = 8_000;
const LOST = new Set(['HTTP_CONNECT', 'HTTP_TRUNCATED', 'HTTP_STALLED', 'HTTP_TIMEOUT', 'HTTP_CLOSED']);

/** Requests to the upload routes of one origin: with the token, repeated for a while when the link or the server fails. */
export class UploadChannel {
  readonly totals: UploadTotals = { sent: 0, received: 0, requests: 0, repeated: 0 };
  readonly #base: string;
  readonly #token: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #client: HttpClient;

  constructor(url: string, token: string, clock: Clock, signal: AbortSignal | undefined, tls: TlsFor | undefined) {
    this.#base = hostUrl(url) + wire.uploads;
    this.#token = token;
    this.#clock = clock;
    this.#signal = signal;
    this.#client = new HttpClient({ clock, ...(tls === undefined ? {} : { tls }) });
  }

  /** Says whether an error of `put` may mean that the body was too long for the link. */
  static slow(error: unknown): boolean {
    return error instanceof ShoalError && (error.code === 'TIMEOUT' || (LOST.has(error.code) && error.code !== 'HTTP_CONNECT'));
  }

  /** An answer in JSON. Its shape is the caller's to check where it matters: the origin gains nothing by lying here. */
  async json(method: 'POST', path: string, value?: unknown): Promise<unknown> {
    const body = value === undefined ? undefined : Buffer.from(JSON.stringify(value));
    const answer = await this.#persist(() => this.#once(method, path, body, body === undefined ? {} : { 'Content-Type': 'application/json' }));
    try {
      return JSON.parse(Buffer.from(answer).toString('utf8'));
    } catch (cause) {
      throw new ShoalError('HTTP_BODY', `${this.#base}${path} answered no JSON`, { cause, retry: 'elsewhere' });
    }
  }

  /** Sends bytes. Returns the milliseconds it took. Unless `persist`, a failure that a smaller body may avoid is thrown at once. */
  async put(path: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}, persist = true): Promise<number> {
    let took = 0;
    await this.#persist(async () => {
      const from = this.#clock.now();
      await this.#once('PUT', path, body, { 'Content-Type': 'application/octet-stream', ...headers });
      took = this.#clock.now() - from;
      return body;
    }, persist);
    return took;
  }

  close(): void {
    this.#client.close();
  }

  async #persist<T>(attempt: () => Promise<T>, all = true): Promise<T> {
    const until = this.#clock.now() + UPLOAD_PATIENCE_MS;
    for (let rest = REST_MS; ; rest = Math.min(REST_MOST_MS, rest * 2)) {
      try {
        return await attempt();
      } catch (error) {
        const again = error instanceof ShoalError && (LOST.has(error.code) || error.code === 'TIMEOUT' || error.retry === 'again');
        const refused = error instanceof ShoalError && ['UPLOAD_UNKNOWN', 'UPLOAD_UNWANTED', 'ABORTED', 'INTERRUPTED'].includes(error.code);
        if (!again || refused || (!all && UploadChannel.slow(error)) || this.#clock.now() + rest > until) throw error;
        this.totals.repeated++;
        await this.#rest(rest);
      }
    }
  }

  async #once(method: 'POST' | 'PUT', path: string, body: Uint8Array | undefined, headers: Readonly<Record<string, string>>): Promise<Uint8Array> {
    this.totals.requests++;
    const answer = await this.#client.request(this.#base + path, CONTROL_MAX_BYTES, {
      method,
      headers: { ...headers, Authorization: `Bearer ${this.#token}` },
      timeoutMs: ANSWER_MS,
      stallMs: ANSWER_MS,
      onReceived: (bytes) => {
        this.totals.received += bytes;
      },
      ...(body === undefined ? {} : { body }),
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
    });
    this.totals.sent += answer.sent;
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw refusal(this.#base + path, answer.status, answer.body);
  }

  async #rest(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      // Whoever waits here wants the process to live; the clock's own timers let it end.
      const alive = setInterval(() => undefined, 60_000);
      const end = (): void => {
        clearInterval(alive);
        stop();
        this.#signal?.removeEventListener('abort', end);
        resolve();
      };
      const stop = this.#clock.after(ms, end);
      this.#signal?.addEventListener('abort', end, { once: true });
      if (this.#signal?.aborted === true) end();
    });
  }
}

/** The server's own error, made safe to show: a code that programs can match, a sentence, ids. */
function refusal(url: string, status: number, body: Uint8Array): ShoalError {
  const said = parsed(body);
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value.slice(0, 500).replace(/[^\x20-\x7e\u2026]/g, '?') : undefined);
  const code = typeof said?.error === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(said.error) ? said.error : 'HTTP_STATUS';
  const retry = status === 503 || status === 502 || status === 504 || status === 408 || code === 'UPLOAD_UNKNOWN' || code === 'UPLOAD_UNWANTED' ? 'again' : 'never';
  const hint = text(said?.hint);
  const ids: Record<string, string | number> = {};
  if (typeof said?.ids === 'object' && said.ids !== null) {
    for (const [key, value] of Object.entries(said.ids as ErrorIds).slice(0, 16)) if (typeof value === 'number' || typeof value === 'string') ids[key.slice(0, 40)] = typeof value === 'string' ? (text(value) ?? '') : value;
  }
  return new ShoalError(code, text(said?.message) ?? `${url} answered ${String(status)}`, { retry, ids: { ...ids, url, status }, ...(hint === undefined ? {} : { hint }) });
}

function parsed(body: Uint8Array): { readonly error?: unknown; readonly message?: unknown; readonly hint?: unknown; readonly ids?: unknown } | null {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8')) as ReturnType<typeof parsed>;
  } catch {
    return null; // A proxy's own page: the status says enough.
  }
}
