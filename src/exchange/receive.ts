import { ShoalError } from '../core/errors.ts';
import { SPAN_TIMEOUT_MS } from '../core/limits.ts';
import { HEADER_RAW_LENGTH } from '../core/wire.ts';
import { zstdDecompressAsync } from '../kernel/zstd.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunks, verifyChunksLater } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { BodyTarget, HttpAnswer, HttpOptions } from './http.ts';
import { mostEncoded } from './span-body.ts';

/** Verified bytes are handed on in batches of about this many: few calls, and far less than a span to wait for. */
const BATCH_BYTES = 1024 * 1024;
/** On a slow link what is whole is handed on so often, milliseconds: it is the sign that somebody is at work. */
const BATCH_MS = 1_000;
/** The same of what others wait for, and of what is passed on by one that waits for it himself. */
const PASSED_BATCH_BYTES = 256 * 1024;
const PASSED_BATCH_MS = 200;

export interface ReceiveOptions extends HttpOptions {
  /** Codings to ask for. Default identity: compressed answers cost a decoder and a second buffer. */
  readonly acceptZstd?: boolean;
  /** Told whenever bytes of the body have arrived, verified or not. */
  readonly onBytes?: () => void;
  /**
   * Whether the host has brought right bytes before. Then it is verified beside the receiving; else as it arrives, so that
   * nothing more is asked of a liar meanwhile.
   */
  readonly proven?: boolean;
  /** Others wait for what is verified, or it may come no further: it is handed on in smaller batches. */
  readonly passedOn?: boolean;
  /** Counts milliseconds. Default: the time of the process. */
  readonly now?: () => number;
}

/** Whoever can fetch into the caller's memory: a client by URL, an upstream by path. */
export interface Receiver {
  receive(url: string, target: BodyTarget, options: HttpOptions): Promise<HttpAnswer>;
}

export interface Received {
  readonly rawBytes: number;
  /** Bytes on the wire, heads included. */
  readonly received: number;
  readonly sent: number;
}

/**
 * Fetches `chunks`, which the URL names in this order, into `buffer` and verifies them, a batch at a time, as they come.
 * `onBatch` gets verified neighbours, in order: `first` is the position of the first in `chunks`. Their bytes are views
 * of `buffer`; what `onBatch` returns is awaited, all of it, before this settles, so the caller may reuse the buffer then.
 * Batches that were handed on before a failure are good and may be kept.
 *
 * Throws what `client` throws, `HTTP_TOO_LARGE` for more than any coding makes of the chunks, `HTTP_BODY` for a wrong
 * length or coding, `CHUNK_MISMATCH` at the first chunk that is not what its id says (all: elsewhere), and whatever
 * `onBatch` throws.
 */
export async function receiveChunks(
  client: Receiver,
  url: string,
  chunks: readonly ChunkRef[],
  buffer: Uint8Array,
  onBatch: (batch: readonly VerifiedChunk[], first: number) => Promise<void>,
  options: ReceiveOptions = {},
): Promise<Received> {
  const rawBytes = chunks.reduce((sum, { length }) => sum + length, 0);
  if (rawBytes > buffer.byteLength) throw new RangeError('the buffer does not hold the chunks');
  const batches = new Batches(chunks, onBatch, options.proven === true, options.now ?? (() => performance.now()), options.passedOn === true);
  const raw = buffer.subarray(0, rawBytes);
  let zstd = false;
  try {
    const answer = await client.receive(
      url,
      {
        begin: ({ headers }, length) => {
          const coding = headers.get('content-encoding') ?? 'identity';
          const claimed = headers.get(HEADER_RAW_LENGTH);
          if (claimed !== undefined && claimed !== String(rawBytes)) throw wrong(`it claims ${claimed.slice(0, 20)} raw bytes, not ${String(rawBytes)}`);
          zstd = coding === 'zstd' && options.acceptZstd === true;
          if (!zstd && coding !== 'identity') throw wrong(`it has the coding "${coding.slice(0, 40)}", which was not asked for`);
          const most = mostEncoded(rawBytes, chunks.length);
          if ((length ?? 0) > most) throw new ShoalError('HTTP_TOO_LARGE', `the answer has ${String(length)} bytes; ${String(most)} are accepted`, { retry: 'elsewhere' });
          if (!zstd && length !== undefined && length !== rawBytes) throw wrong(`it has ${String(length)} bytes, not ${String(rawBytes)}`);
          return zstd ? Buffer.allocUnsafeSlow(length ?? most) : raw;
        },
        progress: (filled) => {
          options.onBytes?.();
          if (!zstd) batches.advance(raw, filled);
        },
      },
      { timeoutMs: SPAN_TIMEOUT_MS, ...options, headers: { ...options.headers, 'Accept-Encoding': options.acceptZstd === true ? 'zstd' : 'identity' } },
    );
    const body = zstd ? await zstdDecompressAsync(answer.body, rawBytes) : answer.body;
    if (body.byteLength !== rawBytes) throw wrong(`it decodes to ${String(body.byteLength)} bytes, not ${String(rawBytes)}`);
    if (zstd) batches.advance(body, rawBytes);
    await batches.settled();
    return { rawBytes, received: answer.received, sent: answer.sent };
  } catch (error) {
    // When our own side failed (disk full), that is what happened, not the transfer that was broken off because of it.
    await batches.settled();
    throw error;
  }
}

function wrong(problem: string): ShoalError {
  return new ShoalError('HTTP_BODY', `the body is not the one asked for: ${problem}`, { retry: 'elsewhere' });
}

/** Verifies chunks as their bytes arrive, a batch at a time beside the receiving of others, and hands them on. */
export class Batches {
  readonly #chunks: readonly ChunkRef[];
  readonly #onBatch: (batch: readonly VerifiedChunk[], first: number) => Promise<void>;
  readonly #running: Promise<unknown>[] = [];
  #first = 0;
  #begin = 0;
  #next = 0;
  #offset = 0;
  readonly #now: () => number;
  #handed: number;
  readonly #beside: boolean;
  readonly #batch: { readonly bytes: number; readonly ms: number };
  #failure: { readonly error: unknown } | undefined;

  /** The parameters are those of `receiveChunks`. */
  constructor(chunks: readonly ChunkRef[], onBatch: (batch: readonly VerifiedChunk[], first: number) => Promise<void>, beside: boolean, now: () => number, passedOn = false) {
    this.#batch = passedOn ? { bytes: PASSED_BATCH_BYTES, ms: PASSED_BATCH_MS } : { bytes: BATCH_BYTES, ms: BATCH_MS };
    this.#now = now;
    this.#handed = now();
    this.#chunks = chunks;
    this.#onBatch = onBatch;
    this.#beside = beside;
  }

  /** The first `filled` bytes of `raw` are there, and stay as they are. Throws when a batch was wrong or has failed. */
  advance(raw: Uint8Array, filled: number): void {
    this.#check();
    for (let chunk = this.#chunks[this.#next]; chunk !== undefined && filled - this.#offset >= chunk.length; chunk = this.#chunks[this.#next]) {
      this.#offset += chunk.length;
      this.#next++;
    }
    const whole = this.#next === this.#chunks.length;
    if (this.#next > this.#first && (whole || this.#offset - this.#begin >= this.#batch.bytes || this.#now() - this.#handed >= this.#batch.ms)) this.#handOn(raw);
  }

  /** Waits for every batch. Throws what the first failed one threw. */
  async settled(): Promise<void> {
    await this.quiet();
    this.#check();
  }

  /** Waits until no batch is being worked on, whatever became of it. */
  async quiet(): Promise<void> {
    await Promise.all(this.#running);
  }

  #handOn(raw: Uint8Array): void {
    this.#handed = this.#now();
    const first = this.#first;
    const chunks = this.#chunks.slice(first, this.#next);
    const bytes = raw.subarray(this.#begin, this.#offset);
    const verified = this.#beside ? verifyChunksLater(chunks, bytes) : Promise.resolve(verifyChunks(chunks, bytes));
    this.#running.push(
      verified.then((batch) => this.#onBatch(batch, first)).catch((error: unknown) => {
        this.#failure ??= { error };
      }),
    );
    this.#first = this.#next;
    this.#begin = this.#offset;
  }

  #check(): void {
    if (this.#failure !== undefined) throw asError(this.#failure.error);
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
