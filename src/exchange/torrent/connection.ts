import type { Socket } from 'node:net';
import { Bitmap } from '../../core/bitmap.ts';
import type { Clock } from '../../core/clock.ts';
import { ShoalError, messageOf } from '../../core/errors.ts';
import { SERVE_STALL_MS, STALL_MIN_BYTES, STALL_TIMEOUT_MS, TORRENT_BLOCK_BYTES, TORRENT_KEEP_ALIVE_MS, TORRENT_MESSAGES_PER_SECOND, TORRENT_SILENCE_MS, TORRENT_UNASKED_BYTES } from '../../core/limits.ts';
import { takeAll } from '../../core/rate-limiter.ts';
import type { RateLimiter } from '../../core/rate-limiter.ts';
import { Answers } from './answers.ts';
import { Fetches } from './fetches.ts';
import type { Stretch } from './fetches.ts';
import { offsetOf } from './layout.ts';
import type { TorrentLayout } from './layout.ts';
import { KEEP_ALIVE, MessageReader, encodeBitfield, encodeBlock, encodeHave, encodeSimple, piecesIn } from './messages.ts';
import type { Message } from './messages.ts';
import type { TorrentContent } from './types.ts';

export interface ConnectionParts {
  /** Greeted already. The connection's own from now on. */
  readonly socket: Socket;
  /** What came after the greeting. */
  readonly rest: Uint8Array;
  readonly layout: TorrentLayout;
  readonly content: TorrentContent;
  readonly clock: Clock;
  /** What comes is counted against each of these, and what goes out against `upload`. */
  readonly limiters: readonly RateLimiter[];
  readonly upload: RateLimiter | undefined;
  /** Content that came and went, bytes. */
  readonly onBytes: (received: number, sent: number) => void;
  readonly onClose: (reason: string) => void;
}

/** How often a connection looks at its time limits, milliseconds. */
const LOOK_MS = 1_000;

/**
 * One stock client, after the greeting (BEP 3). Whatever it sends is bounded in memory, time and number; that it is right,
 * nobody believes: blocks go to whoever asked for them, and are verified there.
 */
export class Connection {
  /** The pieces that it says it has. */
  readonly pieces: Bitmap;
  readonly #parts: ConnectionParts;
  readonly #reader: MessageReader;
  readonly #fetches: Fetches;
  readonly #answers: Answers;
  readonly #stop = new AbortController();
  #choking = true;
  #interesting = false;
  #interested = false;
  /** Since the last look at the limits. */
  #messages = 0;
  #unasked = 0;
  #heard: number;
  #spoke: number;
  #stalling: { since: number; bytes: number };
  #cancelLook: () => void = () => undefined;
  #resume: () => void = () => undefined;

  constructor(parts: ConnectionParts) {
    const { clock, content, layout, upload } = parts;
    this.#parts = parts;
    this.pieces = new Bitmap(layout.pieces);
    this.#reader = new MessageReader(layout.pieces);
    this.#heard = this.#spoke = clock.now();
    this.#stalling = { since: clock.now(), bytes: 0 };
    this.#fetches = new Fetches({ pieceLength: layout.pieceLength, now: () => clock.now(), send: (kind, block) => { this.#send(encodeBlock(kind, block)); } });
    this.#answers = new Answers({
      layout, content,
      limiter: upload,
      signal: this.#stop.signal,
      write: (head, bytes) => this.#writeAll(head, bytes),
      onSent: (bytes) => { parts.onBytes(0, bytes); },
      onFailed: (error) => { this.close(`what it asked for is not here: ${messageOf(error)}`); },
    });
  }

  /** Says what this device has, as a bitfield of BEP 3, and listens from now on. */
  begin(bitfield: Uint8Array): void {
    const { rest, socket } = this.#parts;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => { this.#take(bytes); });
    socket.on('error', () => undefined);
    socket.once('close', () => { this.close('the client is gone'); });
    if (socket.destroyed) this.close('the client is gone');
    if (bitfield.some((byte) => byte !== 0)) this.#send(encodeBitfield(bitfield));
    this.#look();
    if (rest.byteLength > 0) this.#take(rest);
    socket.resume();
  }

  /** It sends to this device. */
  get unchoked(): boolean {
    return this.#fetches.unchoked;
  }

  /** It wants something from this device. */
  get wanting(): boolean {
    return this.#interested;
  }

  /** Whether it is sent to. */
  get served(): boolean {
    return !this.#choking;
  }

  get closed(): boolean {
    return this.#stop.signal.aborted;
  }

  have(piece: number): void {
    this.#send(encodeHave(piece));
  }

  /** Says whether this device would take something. */
  want(wanted: boolean): void {
    if (wanted === this.#interesting) return;
    this.#interesting = wanted;
    this.#send(encodeSimple(wanted ? 'interested' : 'not-interested'));
  }

  /** Says whether it is sent to. */
  serve(served: boolean): void {
    if (served === this.served) return;
    this.#choking = !served;
    if (!served) this.#answers.clear();
    this.#send(encodeSimple(served ? 'unchoke' : 'choke'));
  }

  /** Brings stretches of the torrent into `buffer`; see `Fetches.fetch`. */
  fetch(stretches: readonly Stretch[], buffer: Uint8Array, onFilled: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    if (this.closed) return Promise.reject(gone('the client is gone'));
    if (!this.unchoked) return Promise.reject(new ShoalError('TORRENT_CHOKED', 'the client sends to others now', { retry: 'again' }));
    return this.#fetches.fetch(stretches, buffer, onFilled, signal);
  }

  close(reason: string): void {
    if (this.closed) return;
    this.#stop.abort();
    this.#cancelLook();
    this.#resume();
    this.#answers.clear();
    this.#fetches.end(gone(reason));
    this.#parts.socket.destroy();
    this.#parts.onClose(reason);
  }

  /** Returns when nothing of this device is read for it any more. */
  async settled(): Promise<void> {
    await this.#answers.settled();
  }

  #take(bytes: Uint8Array): void {
    if (this.closed) return;
    const { clock, limiters, socket } = this.#parts;
    this.#heard = clock.now();
    try {
      this.#reader.push(bytes, (message) => {
        if (!this.closed) this.#hear(message);
      });
    } catch (error) {
      this.close(messageOf(error));
      return;
    }
    const ms = takeAll(limiters, bytes.byteLength);
    if (ms <= 0 || this.closed) return;
    socket.pause();
    this.#resume = clock.after(ms, () => { socket.resume(); });
  }

  #hear(message: Message): void {
    const { layout } = this.#parts;
    if (++this.#messages > TORRENT_MESSAGES_PER_SECOND && message.kind !== 'piece') throw refused('it sends too many messages');
    switch (message.kind) {
      case 'choke':
      case 'unchoke':
        this.#fetches.choked(message.kind === 'choke');
        break;
      case 'interested':
      case 'not-interested':
        this.#interested = message.kind === 'interested';
        break;
      case 'have':
        if (message.piece >= layout.pieces) throw refused('it has a piece that there is not');
        this.pieces.add(message.piece);
        break;
      case 'bitfield':
        // Some say it later than BEP 3 has it, and again.
        for (const piece of piecesIn(message.bytes, layout.pieces)) this.pieces.add(piece);
        break;
      case 'request':
        if (offsetOf(layout, message) === undefined || message.length > TORRENT_BLOCK_BYTES) throw refused('it asks for bytes that there are not');
        // Who was choked a moment ago does not know it yet.
        if (this.served) this.#answers.ask({ piece: message.piece, begin: message.begin, length: message.length });
        break;
      case 'cancel':
        this.#answers.cancel(message);
        break;
      case 'piece':
        this.#parts.onBytes(message.bytes.byteLength, 0);
        this.#stalling.bytes += message.bytes.byteLength;
        if (!this.#fetches.came(message.piece, message.begin, message.bytes)) this.#unasked += message.bytes.byteLength;
        if (this.#unasked > TORRENT_UNASKED_BYTES) throw refused('it sends what nobody asked for');
        break;
      case 'keep-alive':
      case 'unknown':
    }
  }

  #look(): void {
    if (this.closed) return;
    const { clock } = this.#parts;
    const now = clock.now();
    this.#messages = 0;
    if (now - this.#heard > TORRENT_SILENCE_MS) {
      this.close('it said nothing for minutes');
      return;
    }
    if (this.#fetches.idle || this.#stalling.bytes >= STALL_MIN_BYTES) this.#stalling = { since: now, bytes: 0 };
    if (now - this.#stalling.since > STALL_TIMEOUT_MS) {
      this.close('it does not send what it was asked for');
      return;
    }
    if (now - this.#spoke > TORRENT_KEEP_ALIVE_MS) this.#send(KEEP_ALIVE);
    this.#cancelLook = clock.after(LOOK_MS, () => { this.#look(); }, 'background');
  }

  #send(bytes: Uint8Array): void {
    if (this.closed) return;
    this.#spoke = this.#parts.clock.now();
    this.#parts.socket.write(bytes);
    // Small messages alone: whoever reads none of them is not written to without end.
    if (this.#parts.socket.writableLength > TORRENT_UNASKED_BYTES) this.close('it reads nothing');
  }

  /** Waits until the client takes more: what was read for it waits as well, and no more of it. */
  async #writeAll(head: Uint8Array, bytes: Uint8Array): Promise<void> {
    const { clock, socket } = this.#parts;
    this.#spoke = clock.now();
    if (this.closed) return;
    socket.cork();
    socket.write(head);
    const more = socket.write(bytes);
    socket.uncork();
    if (more) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(SERVE_STALL_MS, () => { this.close('it reads nothing'); });
      const end = (): void => {
        cancel();
        socket.off('drain', end);
        this.#stop.signal.removeEventListener('abort', end);
        resolve();
      };
      socket.once('drain', end);
      this.#stop.signal.addEventListener('abort', end, { once: true });
    });
  }
}

function refused(why: string): ShoalError {
  return new ShoalError('BAD_PEER_MESSAGE', why, { retry: 'elsewhere' });
}

function gone(reason: string): ShoalError {
  return new ShoalError('TORRENT_GONE', reason, { retry: 'elsewhere' });
}
