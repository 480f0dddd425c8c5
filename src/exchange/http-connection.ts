import net from 'node:net';
import tls from 'node:tls';
import { afterLooking } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { ErrorIds } from '../core/errors.ts';
import { takeAll } from '../core/rate-limiter.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { CONNECT_TIMEOUT_MS, HEADER_MAX_BYTES, HTTP_INTERIM_MAX, HTTP_PROCESSING_MAX, STALL_MIN_BYTES } from '../core/limits.ts';
import type { ClientTls } from '../identity/tls.ts';
import { ChunkedDecoder } from './http-chunked.ts';
import { malformed, parseHead } from './http-head.ts';
import type { ResponseHead } from './http-head.ts';

/** Where a body goes. Both functions are called while bytes arrive: they must not wait, and may throw to refuse. */
export interface BodyTarget {
  /**
   * Once the head is in: the buffer that takes the body, which must hold `length` bytes, or as much as will be accepted
   * when `length` is undefined (chunked coding). The connection writes to it until the exchange has settled.
   */
  begin(head: ResponseHead, length: number | undefined): Uint8Array;
  /** After every read: the first `filled` bytes of the buffer are there. */
  progress?(filled: number): void;
}

export interface Exchange {
  readonly method: string;
  /** Path and query, as they go on the wire. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
  /** Silence, or a mere drip, for this long is `HTTP_STALLED`. */
  readonly stallMs: number;
  /** Told of every 102 (Processing): the other side is still at it. */
  readonly onProcessing?: (() => void) | undefined;
}

export interface Exchanged {
  readonly head: ResponseHead;
  /** The part of the target's buffer that holds the body. */
  readonly body: Uint8Array;
  /** Bytes received and sent, heads included. */
  readonly received: number;
  readonly sent: number;
}

/** What a connection is opened with. */
export interface ConnectionParts {
  readonly clock: Clock;
  /** Client certificate, trust, server name. */
  readonly tls: ClientTls;
  /** What it receives is counted against each of these. */
  readonly limiters: readonly RateLimiter[];
}

interface Pending {
  readonly exchange: Exchange;
  readonly target: BodyTarget;
  readonly resolve: (answer: Exchanged) => void;
  readonly reject: (error: ShoalError) => void;
}

const EMPTY = new Uint8Array(0);
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
/** Most bytes in one read: hashing them holds nothing else up for as much as a millisecond. */
const READ_BYTES = 1024 * 1024;
const CHUNKED_SCRATCH_BYTES = 64 * 1024;

/**
 * One HTTP/1.1 connection, one exchange at a time. Bodies are read by the kernel straight into the caller's buffer
 * (`onread`): no stream, no allocation, no copy (decision 0001 has the figures). Everything is bounded: head, body,
 * framing, interim answers, silence. After any failure the connection is closed; bytes that nobody asked for are one.
 */
export class HttpConnection {
  readonly origin: string;
  readonly #clock: Clock;
  readonly #socket: net.Socket;
  readonly #onClose: () => void;
  readonly #headBytes = Buffer.allocUnsafeSlow(HEADER_MAX_BYTES);
  #headLength = 0;
  #interim = 0;
  #pending: Pending | undefined;
  #head: ResponseHead | undefined;
  #target: Uint8Array = EMPTY;
  #filled = 0;
  #chunked: ChunkedDecoder | undefined;
  #scratch: Buffer | undefined;
  #received = 0;
  #sent = 0;
  #exchanges = 0;
  #failure: ShoalError | undefined;
  #reached = false;
  #stopStallTimer: (() => void) | undefined;
  readonly #limiters: readonly RateLimiter[];
  /** Lets the socket be read again: a limit holds it up until then. */
  #held: (() => void) | undefined;
  /** A limit of ours has held it up since silence was last looked for. */
  #wasHeld = false;

  static async open(origin: URL, parts: ConnectionParts, onClose: () => void, signal: AbortSignal, reached: () => void): Promise<HttpConnection> {
    const connection = new HttpConnection(origin, parts, onClose);
    connection.#socket.once('connect', () => {
      connection.#reached = true;
      reached();
    });
    const stop = (): void => {
      // Whether the other side was reached at all makes a difference; one that takes long for its part of a TLS handshake was.
      const { code, message, ids, retry } = signal.reason as ShoalError;
      connection.destroy(new ShoalError(code, message, { cause: signal.reason, ids: connection.#socket.connecting ? { ...ids, connecting: 1 } : ids, retry }));
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      await connection.#connected(origin.protocol === 'https:' ? 'secureConnect' : 'connect');
      const refused = connection.#socket instanceof tls.TLSSocket ? parts.tls.verify?.(connection.#socket) : undefined;
      if (refused !== undefined) {
        connection.destroy(refused);
        throw refused;
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
    return connection;
  }

  private constructor(origin: URL, { clock, tls: connectOptions, limiters }: ConnectionParts, onClose: () => void) {
    this.origin = origin.origin;
    this.#clock = clock;
    this.#limiters = limiters;
    this.#onClose = onClose;
    const secure = origin.protocol === 'https:';
    // URL keeps the brackets of an IPv6 address; the socket layer does not take them.
    const host = origin.hostname.replace(/^\[(.*)\]$/, '$1');
    const port = origin.port === '' ? (secure ? 443 : 80) : Number(origin.port);
    const onread = { buffer: () => this.#nextBuffer(), callback: (length: number, bytes: Uint8Array) => this.#onRead(length, bytes) };
    if (secure) {
      const name = net.isIP(host) === 0 ? { servername: host } : {};
      // `onread` is taken by tls.connect as by net.connect (Node documents it as one of socket.connect()'s options).
      const { verify: _, remember, ...given } = connectOptions;
      const options = { ALPNProtocols: ['http/1.1'], ...name, ...given, host, port, onread };
      this.#socket = tls.connect(options);
      this.#socket.on('session', (session: Buffer) => remember?.(session));
      // Taken up again and of no use: the other side does not know it any more, or has something against it.
      if (given.session !== undefined) this.#socket.once('close', () => { if (this.#exchanges === 0) remember?.(undefined); });
    } else {
      this.#socket = net.connect({ host, port, onread });
    }
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (cause: Error) => {
      this.#fail(this.#lost(cause));
    });
    this.#socket.on('end', () => {
      this.#fail(this.#lost());
    });
    this.#socket.on('close', () => {
      this.#fail(this.#lost());
      this.#onClose();
    });
  }

  /** Says whether another exchange can begin. */
  get usable(): boolean {
    return this.#failure === undefined && this.#pending === undefined && !this.#socket.destroyed;
  }

  /** Exchanges that were completed. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /** Bytes that the last exchange brought, whatever became of it. None, on a reused connection: it was being closed. */
  get received(): number {
    return this.#received;
  }

  /** Idle connections do not keep the process alive. */
  idle(isIdle: boolean): void {
    if (isIdle) this.#socket.unref();
    else this.#socket.ref();
  }

  /** Sends a request and receives the answer into `target`. Settles only when nothing touches the target's buffer any more. */
  async exchange(exchange: Exchange, target: BodyTarget): Promise<Exchanged> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#pending !== undefined) throw new TypeError('one exchange at a time');
    this.#headLength = 0;
    this.#interim = 0;
    this.#received = 0;
    this.#filled = 0;
    return new Promise((resolve, reject) => {
      this.#pending = { exchange, target, resolve, reject };
      const lines = [`${exchange.method} ${exchange.path} HTTP/1.1`];
      for (const [name, value] of Object.entries(exchange.headers)) lines.push(`${name}: ${value}`);
      const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
      this.#sent = head.byteLength + (exchange.body?.byteLength ?? 0);
      this.#watch(exchange.stallMs);
      this.#socket.cork();
      this.#socket.write(head);
      if (exchange.body !== undefined) this.#socket.write(exchange.body);
      this.#socket.uncork();
    });
  }

  /** Closes the connection; an exchange in progress fails with `error`. */
  destroy(error: ShoalError): void {
    this.#fail(error);
  }

  async #connected(event: 'connect' | 'secureConnect'): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const stop = afterLooking(this.#clock, CONNECT_TIMEOUT_MS, () => {
        this.#fail(new ShoalError('HTTP_CONNECT', `${this.origin} did not answer within ${String(CONNECT_TIMEOUT_MS / 1000)} s`, { ids: this.#ids, retry: 'elsewhere' }));
      });
      this.#socket.once(event, () => {
        stop();
        resolve();
      });
      this.#socket.once('close', () => {
        stop();
        reject(this.#failure ?? this.#lost());
      });
      this.#socket.once('error', () => {
        stop();
        reject(this.#failure ?? this.#lost());
      });
    });
  }

  /** What the kernel may fill next. Never more than is still wanted, so that a body cannot run over. */
  #nextBuffer(): Uint8Array {
    if (this.#chunked !== undefined) return (this.#scratch ??= Buffer.allocUnsafeSlow(CHUNKED_SCRATCH_BYTES));
    if (this.#head === undefined) return this.#headBytes.subarray(this.#headLength);
    let most = READ_BYTES;
    for (const { piece } of this.#limiters) most = Math.min(most, Math.ceil(piece));
    return this.#target.subarray(this.#filled, Math.min(this.#head.length ?? 0, this.#filled + most));
  }

  #onRead(length: number, bytes: Uint8Array): boolean {
    try {
      this.#received += length;
      if (this.#pending === undefined) throw malformed('bytes that belong to no request');
      if (this.#chunked !== undefined) this.#onChunked(this.#chunked, bytes.subarray(0, length));
      else if (this.#head === undefined) this.#onHead(length);
      else this.#onBody(length);
    } catch (error) {
      this.#fail(error instanceof ShoalError ? error : new ShoalError('HTTP_REFUSED', 'the answer was refused', { cause: error, retry: 'elsewhere' }));
    }
    const ms = takeAll(this.#limiters, length);
    if (ms > 0) this.#hold(ms);
    return !this.#socket.destroyed && this.#held === undefined;
  }

  /** Reads nothing for a while: the other side's window fills, and it sends no faster. */
  #hold(ms: number): void {
    this.#held?.();
    this.#wasHeld = true;
    this.#held = this.#clock.after(ms, () => {
      this.#held = undefined;
      this.#socket.resume();
    });
  }

  #onHead(length: number): void {
    const from = Math.max(0, this.#headLength - HEAD_END.byteLength);
    this.#headLength += length;
    for (let searchFrom = from; ;) {
      const end = this.#headBytes.subarray(0, this.#headLength).indexOf(HEAD_END, searchFrom);
      if (end < 0) {
        if (this.#headLength === HEADER_MAX_BYTES) throw malformed(`a head of more than ${String(HEADER_MAX_BYTES)} bytes`);
        return;
      }
      const head = parseHead(this.#headBytes.toString('latin1', 0, end));
      const bodyAt = end + HEAD_END.byteLength;
      if (head.status >= 200) {
        this.#begin(head, Buffer.from(this.#headBytes.subarray(bodyAt, this.#headLength)));
        return;
      }
      // 101 would change the protocol, which we never ask for (RFC 9110, 15.2.2).
      const processing = head.status === 102;
      const most = processing ? HTTP_PROCESSING_MAX : HTTP_INTERIM_MAX;
      if (head.status === 101 || ++this.#interim > most) throw malformed(`a status of ${String(head.status)} instead of an answer`);
      if (processing) this.#pending?.exchange.onProcessing?.();
      this.#headBytes.copyWithin(0, bodyAt, this.#headLength);
      this.#headLength -= bodyAt;
      searchFrom = 0;
    }
  }

  #begin(head: ResponseHead, rest: Buffer): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    if (head.length !== undefined && rest.byteLength > head.length) throw malformed('more bytes than its Content-Length');
    const target = pending.target.begin(head, head.length);
    if (target.byteLength < (head.length ?? 0)) throw new RangeError('the target has no room for the body');
    this.#head = head;
    this.#target = target;
    this.#watch(pending.exchange.stallMs);
    if (head.length === undefined) {
      const chunked = new ChunkedDecoder((bytes) => {
        if (this.#filled + bytes.byteLength > target.byteLength) {
          throw new ShoalError('HTTP_TOO_LARGE', `the answer has more than the ${String(target.byteLength)} bytes accepted`, { retry: 'elsewhere' });
        }
        target.set(bytes, this.#filled);
        this.#filled += bytes.byteLength;
      });
      this.#chunked = chunked;
      this.#onChunked(chunked, rest);
    } else {
      target.set(rest);
      this.#onBody(rest.byteLength);
    }
  }

  #onBody(length: number): void {
    this.#filled += length;
    this.#pending?.target.progress?.(this.#filled);
    if (this.#filled === this.#head?.length) this.#complete();
  }

  #onChunked(chunked: ChunkedDecoder, bytes: Uint8Array): void {
    const used = chunked.push(bytes);
    this.#pending?.target.progress?.(this.#filled);
    if (!chunked.done) return;
    if (used < bytes.byteLength) throw malformed('more bytes than its last chunk');
    this.#complete();
  }

  #complete(): void {
    const { pending, head } = { pending: this.#pending, head: this.#head };
    if (pending === undefined || head === undefined) return;
    const answer = { head, body: this.#target.subarray(0, this.#filled), received: this.#received, sent: this.#sent };
    this.#settle();
    this.#exchanges++;
    if (!head.keepAlive) this.#fail(new ShoalError('HTTP_CLOSED', `${this.origin} closes the connection`, { retry: 'again' }));
    pending.resolve(answer);
  }

  #settle(): void {
    this.#stopStallTimer?.();
    this.#stopStallTimer = undefined;
    this.#pending = undefined;
    this.#head = undefined;
    this.#target = EMPTY;
    this.#chunked = undefined;
    this.#headLength = 0;
  }

  /** Every `stallMs` the exchange must have moved: a byte while waiting for the head, a worthwhile number within the body. */
  #watch(stallMs: number): void {
    this.#stopStallTimer?.();
    const inBody = this.#head !== undefined;
    const before = inBody ? this.#filled : this.#received;
    this.#stopStallTimer = this.#clock.after(stallMs, () => {
      const moved = (inBody ? this.#filled : this.#received) - before;
      const held = this.#wasHeld;
      this.#wasHeld = this.#held !== undefined;
      if (held || moved >= (inBody ? STALL_MIN_BYTES : 1)) {
        this.#watch(stallMs);
        return;
      }
      const text = `${this.origin} sent only ${String(moved)} bytes in ${String(stallMs / 1000)} s`;
      this.#fail(new ShoalError('HTTP_STALLED', text, { retry: 'elsewhere' }));
    });
  }

  /** Of errors before the connection is of use: whether somebody has taken it, whatever he made of it. */
  get #ids(): ErrorIds {
    return this.#reached ? { reached: 1 } : {};
  }

  #lost(cause?: Error): ShoalError {
    const details = { ids: this.#ids, retry: 'elsewhere', ...(cause === undefined ? {} : { cause }) } as const;
    if (this.#socket.connecting || (this.#exchanges === 0 && this.#pending === undefined)) {
      return new ShoalError('HTTP_CONNECT', `${this.origin} cannot be reached${cause === undefined ? '' : `: ${cause.message}`}`, details);
    }
    const wanted = this.#head?.length;
    const how = this.#head === undefined ? 'before it answered' : `after ${String(this.#filled)}${wanted === undefined ? '' : ` of ${String(wanted)}`} bytes`;
    return new ShoalError('HTTP_TRUNCATED', `${this.origin} closed the connection ${how}`, details);
  }

  #fail(error: ShoalError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const pending = this.#pending;
    this.#settle();
    this.#held?.();
    this.#socket.destroy();
    pending?.reject(error);
  }
}
