import { Agent, request } from 'undici';
import type { Clock } from '../core/clock.ts';
import { ShoalError, messageOf } from '../core/errors.ts';
import { CONNECT_TIMEOUT_MS, HEADER_MAX_BYTES, STALL_TIMEOUT_MS, UPSTREAM_REST_MS } from '../core/limits.ts';
import type { Plane } from '../serve/metrics.ts';

export interface UpstreamAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
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
  /** Reads at most `maxBytes` of body. Throws `HTTP_…` (retry elsewhere) when there is no proper answer in time. */
  get(plane: Plane, path: string, maxBytes: number, headers?: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<UpstreamAnswer>;
  close(): Promise<void>;
}

/** Connections to the one origin: spans are large, so a few keep a link full. */
const CONNECTIONS = 8;

/** Over undici. `clock` decides when a dead upstream is tried again. */
export class HttpUpstream implements Upstream {
  readonly url: string;
  readonly totals: UpstreamTotals = { content: 0, control: 0, requests: 0 };
  readonly #clock: Clock;
  readonly #agent: Agent;
  #resting: { readonly until: number; readonly error: ShoalError } | undefined;

  constructor(url: string, clock: Clock) {
    this.url = new URL(url).origin;
    this.#clock = clock;
    this.#agent = new Agent({
      connections: CONNECTIONS,
      connect: { timeout: CONNECT_TIMEOUT_MS },
      headersTimeout: STALL_TIMEOUT_MS,
      bodyTimeout: STALL_TIMEOUT_MS,
      maxHeaderSize: HEADER_MAX_BYTES,
      // Below the minute of our own servers, or a request would meet a closing connection.
      keepAliveTimeout: 30_000,
    });
  }

  async get(plane: Plane, path: string, maxBytes: number, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal): Promise<UpstreamAnswer> {
    if (this.#resting !== undefined && this.#clock.now() < this.#resting.until) throw this.#resting.error;
    this.totals.requests++;
    try {
      const answer = await request(`${this.url}${path}`, { dispatcher: this.#agent, headers, responseHeaders: 'raw', ...(signal === undefined ? {} : { signal }) });
      this.#resting = undefined;
      const fields = answer.headers as unknown as readonly (Buffer | string)[];
      const read = new Map<string, string>();
      // Status line, and ": " and a line end for every field.
      let headBytes = 19;
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const [name, value] = [String(fields[at]), String(fields[at + 1])];
        headBytes += name.length + value.length + 4;
        read.set(name.toLowerCase(), value);
      }
      this.totals[plane] += headBytes;
      const pieces: Buffer[] = [];
      let length = 0;
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        this.totals[plane] += piece.byteLength;
        length += piece.byteLength;
        if (length > maxBytes) throw new ShoalError('HTTP_TOO_LARGE', `${this.url} sends more than the ${String(maxBytes)} bytes accepted for ${path}`, this.#details(path));
        pieces.push(piece);
      }
      return { status: answer.statusCode, headers: read, body: pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces, length) };
    } catch (cause) {
      if (cause instanceof ShoalError || signal?.aborted === true) throw cause;
      const code = String((cause as { readonly code?: unknown }).code);
      const unreachable = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'].includes(code);
      const error = new ShoalError(unreachable ? 'HTTP_CONNECT' : 'HTTP_TRUNCATED', `${this.url} did not answer properly: ${messageOf(cause)}`, { ...this.#details(path), cause });
      if (unreachable) this.#resting = { until: this.#clock.now() + UPSTREAM_REST_MS, error };
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #details(path: string): { readonly ids: { readonly upstream: string; readonly path: string }; readonly retry: 'elsewhere' } {
    return { ids: { upstream: this.url, path }, retry: 'elsewhere' };
  }
}
