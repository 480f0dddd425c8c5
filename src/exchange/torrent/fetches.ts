import { ShoalError } from '../../core/errors.ts';
import { TORRENT_AHEAD_LEAST, TORRENT_AHEAD_MOST, TORRENT_BLOCK_BYTES } from '../../core/limits.ts';
import type { Block } from './messages.ts';

/** Bytes of the torrent that are wanted. */
export interface Stretch {
  readonly offset: number;
  readonly length: number;
}

/** Blocks asked for ahead are what the client sends in about so long, milliseconds: more than a link's delay, and soon called off. */
const AHEAD_MS = 1_000;
/** How fast it is, is found out so often, milliseconds. */
const PACE_MS = 250;

interface Asked {
  readonly fetch: Fetch;
  readonly block: Block;
  /** Where it goes in the buffer. */
  readonly at: number;
  came: boolean;
}

interface Fetch {
  readonly buffer: Uint8Array;
  readonly blocks: readonly Asked[];
  readonly onFilled: (bytes: number) => void;
  readonly settle: (error?: Error) => void;
  /** Blocks before this one have come. */
  first: number;
  settled: boolean;
}

export interface FetchesParts {
  readonly pieceLength: number;
  readonly send: (kind: 'request' | 'cancel', block: Block) => void;
  /** Counts milliseconds. */
  readonly now: () => number;
}

/** What is asked of one client: blocks in order, as many ahead as it is fast. */
export class Fetches {
  readonly #parts: FetchesParts;
  readonly #waiting: Asked[] = [];
  /** What is on its way, by name; wanted by several, it is asked for once. */
  readonly #asked = new Map<string, Asked[]>();
  #unchoked = false;
  /** Bytes a millisecond, lately; and what came since when, for the next look. */
  #pace = 0;
  #came = 0;
  #since: number;
  /** Bytes that were called off, and may come all the same. */
  #calledOff = 0;

  constructor(parts: FetchesParts) {
    this.#parts = parts;
    this.#since = parts.now();
  }

  /** Nothing is on its way. */
  get idle(): boolean {
    return this.#asked.size === 0;
  }

  get unchoked(): boolean {
    return this.#unchoked;
  }

  /**
   * Brings `stretches`, one after another, into `buffer`; `onFilled` is told how much of it, from its beginning, is there. Throws
   * what it is broken off with; nothing is written to `buffer` after it has settled.
   */
  fetch(stretches: readonly Stretch[], buffer: Uint8Array, onFilled: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const blocks: Asked[] = [];
      const stopped = (): void => {
        fetch.settle(signal?.reason instanceof Error ? signal.reason : new Error('called off'));
      };
      const fetch: Fetch = {
        buffer, blocks, onFilled,
        first: 0,
        settled: false,
        settle: (error) => {
          if (fetch.settled) return;
          fetch.settled = true;
          signal?.removeEventListener('abort', stopped);
          if (error === undefined) {
            resolve();
          } else {
            this.#callOff(fetch);
            reject(error);
          }
        },
      };
      let at = 0;
      for (const stretch of stretches) {
        for (const block of this.#blocksOf(stretch)) {
          blocks.push({ fetch, block, at, came: false });
          at += block.length;
        }
      }
      if (signal?.aborted === true) {
        stopped();
        return;
      }
      signal?.addEventListener('abort', stopped, { once: true });
      this.#waiting.push(...blocks);
      this.#ask();
    });
  }

  /** A block came. Says whether it was asked for. */
  came(piece: number, begin: number, bytes: Uint8Array): boolean {
    const name = nameOf({ piece, begin, length: bytes.byteLength });
    const asked = this.#asked.get(name);
    if (asked === undefined) {
      const late = bytes.byteLength <= this.#calledOff;
      if (late) this.#calledOff -= bytes.byteLength;
      return late;
    }
    this.#asked.delete(name);
    this.#measure(bytes.byteLength);
    for (const each of asked) if (!each.fetch.settled) fill(each, bytes);
    this.#ask();
    return true;
  }

  /** The client sends nothing for now (BEP 3: what was asked before is forgotten), or goes on. */
  choked(choked: boolean): void {
    this.#unchoked = !choked;
    if (choked) this.end(new ShoalError('TORRENT_CHOKED', 'the client sends to others now', { retry: 'again' }));
    else this.#ask();
  }

  /** Breaks everything off. */
  end(error: ShoalError): void {
    const all = new Set([...[...this.#asked.values()].flat(), ...this.#waiting].map(({ fetch }) => fetch));
    this.#asked.clear();
    this.#waiting.length = 0;
    for (const fetch of all) fetch.settle(error);
  }

  #ask(): void {
    if (!this.#unchoked) return;
    const most = Math.min(TORRENT_AHEAD_MOST, TORRENT_AHEAD_LEAST + Math.ceil((this.#pace * AHEAD_MS) / TORRENT_BLOCK_BYTES));
    while (this.#asked.size < most) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (this.#asked.size === 0) [this.#since, this.#came] = [this.#parts.now(), 0];
      const name = nameOf(next.block);
      const same = this.#asked.get(name);
      if (same === undefined) this.#parts.send('request', next.block);
      this.#asked.set(name, [...(same ?? []), next]);
    }
  }

  #measure(bytes: number): void {
    this.#came += bytes;
    const elapsed = this.#parts.now() - this.#since;
    if (elapsed < PACE_MS) return;
    this.#pace = this.#came / elapsed;
    [this.#since, this.#came] = [this.#parts.now(), 0];
  }

  #callOff(fetch: Fetch): void {
    for (let at = this.#waiting.length - 1; at >= 0; at--) if (this.#waiting[at]?.fetch === fetch) this.#waiting.splice(at, 1);
    for (const [name, asked] of this.#asked) {
      const [first] = asked;
      if (first === undefined || !asked.every((each) => each.fetch === fetch)) continue;
      this.#asked.delete(name);
      this.#calledOff += first.block.length;
      this.#parts.send('cancel', first.block);
    }
    this.#ask();
  }

  /** Ends of blocks are where all clients have them, so that what is kept in memory elsewhere is of use. */
  *#blocksOf({ offset, length }: Stretch): Generator<Block> {
    const { pieceLength } = this.#parts;
    for (let at = offset; at < offset + length; ) {
      const piece = Math.floor(at / pieceLength);
      const begin = at - piece * pieceLength;
      const end = Math.min(pieceLength, begin - (begin % TORRENT_BLOCK_BYTES) + TORRENT_BLOCK_BYTES, offset + length - piece * pieceLength);
      yield { piece, begin, length: end - begin };
      at += end - begin;
    }
  }
}

function fill(asked: Asked, bytes: Uint8Array): void {
  const { fetch } = asked;
  fetch.buffer.set(bytes, asked.at);
  asked.came = true;
  while (fetch.blocks[fetch.first]?.came === true) fetch.first++;
  const next = fetch.blocks[fetch.first];
  const last = fetch.blocks.at(-1);
  try {
    fetch.onFilled(next?.at ?? (last === undefined ? 0 : last.at + last.block.length));
    if (next === undefined) fetch.settle();
  } catch (error) {
    fetch.settle(error instanceof Error ? error : new Error(String(error)));
  }
}

function nameOf({ piece, begin, length }: Block): string {
  return `${String(piece)}:${String(begin)}:${String(length)}`;
}
