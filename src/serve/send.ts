import type { ServerResponse } from 'node:http';
import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';

export interface Body {
  /** Bytes, exactly: more or fewer end the connection. */
  readonly length: number;
  /** Bytes in pieces of bounded size, each made when the one before has left, whose memory it may use again. */
  open(): AsyncIterable<Uint8Array>;
}

export interface SendOptions {
  readonly clock: Clock;
  /** The client must take at least one piece within so many milliseconds. */
  readonly stallMs: number;
  /** What it may take, together with others. */
  readonly limiter?: RateLimiter | undefined;
}

/**
 * Sends a body with its length known. One piece is in memory at a time: the next is asked for once the kernel has taken
 * the last, so a slow reader costs one piece and keeps it until it stalls for `stallMs`. Whatever fails once the head is
 * out cuts the connection, which is how HTTP/1.1 tells a client that a body is incomplete (RFC 9112, 8). Returns the
 * bytes sent. Throws `CLIENT_GONE`, `CLIENT_STALLED`, `WRONG_LENGTH`, or what the body throws.
 */
export async function sendBody(raw: ServerResponse, status: number, headers: Readonly<Record<string, string | number>>, body: Body, { clock, limiter, stallMs }: SendOptions): Promise<number> {
  const pieces = body.open()[Symbol.asyncIterator]();
  const watch = new Watch(raw, clock, stallMs);
  let sent = 0;
  try {
    // The first piece comes before the head, so that damage found in it is still an honest error answer.
    let piece = body.length === 0 ? undefined : await pieces.next();
    raw.writeHead(status, { ...headers, 'content-length': body.length });
    while (piece !== undefined && piece.done !== true) {
      sent += piece.value.byteLength;
      if (sent > body.length) throw wrongLength(sent, body.length);
      if (limiter === undefined || limiter.rate === Infinity) await watch.write(piece.value);
      else await atMost(limiter, piece.value, watch);
      piece = sent === body.length ? undefined : await pieces.next();
    }
    if (sent < body.length) throw wrongLength(sent, body.length);
    watch.stop();
    raw.end();
    return sent;
  } catch (error) {
    if (raw.headersSent) raw.destroy();
    throw error;
  } finally {
    watch.stop();
    await pieces.return?.();
  }
}

/** Pieces below this wait for the next one, so many of them at most. */
const SMALL_BYTES = 1024;
const SMALL_MOST = 16;

/** In pieces so small that all who are served at a limit get some at any time, each in its turn. */
async function atMost(limiter: RateLimiter, bytes: Uint8Array, watch: Watch): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const piece = bytes.subarray(at, at + Math.ceil(limiter.piece));
    await limiter.wait(piece.byteLength, watch.gone);
    await watch.write(piece);
    at += piece.byteLength;
  }
}

class Watch {
  readonly #raw: ServerResponse;
  readonly #stop: () => void;
  #pieces = 0;
  #held = 0;
  #gone: ShoalError | undefined;
  /** Made when somebody waits: most answers wait for nothing but the kernel, and a signal costs as much as all else of a small one. */
  #ended: AbortController | undefined;
  #fail: ((error: ShoalError) => void) | undefined;
  readonly #onClose = (): void => this.#end(new ShoalError('CLIENT_GONE', 'the client closed the connection', { retry: 'again' }));

  constructor(raw: ServerResponse, clock: Clock, stallMs: number) {
    this.#raw = raw;
    raw.once('close', this.#onClose);
    let stop = (): void => undefined;
    const look = (before: number): void => {
      stop = clock.after(stallMs, () => {
        if (this.#fail === undefined || this.#pieces > before) {
          look(this.#pieces);
          return;
        }
        this.#end(new ShoalError('CLIENT_STALLED', `the client took nothing for ${String(stallMs / 1000)} s`, { retry: 'again' }));
        raw.destroy();
      });
    };
    look(0);
    this.#stop = () => stop();
  }

  /** Aborted when there is nobody any more to write to. */
  get gone(): AbortSignal {
    this.#ended ??= new AbortController();
    if (this.#gone !== undefined) this.#ended.abort();
    return this.#ended.signal;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#gone !== undefined) throw this.#gone;
    if (bytes.byteLength < SMALL_BYTES && this.#held < SMALL_MOST) {
      // Frame heads and the like go out with what follows, in one packet.
      if (this.#held++ === 0) this.#raw.cork();
      this.#raw.write(Buffer.from(bytes));
      return;
    }
    await new Promise<void>((resolve, reject) => {
      this.#fail = reject;
      this.#raw.write(bytes, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(this.#gone ?? new ShoalError('CLIENT_GONE', 'the client closed the connection', { cause: error, retry: 'again' }));
      });
      this.#release();
    });
    this.#fail = undefined;
    this.#pieces++;
  }

  stop(): void {
    this.#release();
    this.#stop();
    this.#raw.off('close', this.#onClose);
  }

  #release(): void {
    if (this.#held > 0) this.#raw.uncork();
    this.#held = 0;
  }

  #end(error: ShoalError): void {
    this.#gone = error;
    this.#ended?.abort();
    this.#fail?.(error);
  }
}

function wrongLength(sent: number, wanted: number): ShoalError {
  return new ShoalError('WRONG_LENGTH', `a body of ${String(wanted)} bytes came to ${String(sent)}`, { ids: { sent, wanted } });
}
