import type { RateLimiter } from '../../core/rate-limiter.ts';
import { TORRENT_MAX_REQUESTS } from '../../core/limits.ts';
import { ShoalError } from '../../core/errors.ts';
import type { TorrentLayout } from './layout.ts';
import { offsetOf, partsOf } from './layout.ts';
import type { Block } from './messages.ts';
import { encodePieceHead } from './messages.ts';
import type { TorrentContent } from './types.ts';

/** Blocks that follow each other are read together, up to so many bytes: chunks are larger than blocks, and each is hashed as it leaves. */
const READ_BYTES = 256 * 1024;

export interface AnswersParts {
  readonly layout: TorrentLayout;
  readonly content: TorrentContent;
  readonly limiter: RateLimiter | undefined;
  readonly signal: AbortSignal;
  /** Returns when the client takes more. */
  readonly write: (head: Uint8Array, bytes: Uint8Array) => Promise<void>;
  /** Content that went out, bytes. */
  readonly onSent: (bytes: number) => void;
  /** What was asked for cannot be given: it is not here any more, or not as it should be. */
  readonly onFailed: (error: unknown) => void;
}

/** What one client asks for, answered in order. */
export class Answers {
  readonly #parts: AnswersParts;
  #waiting: Block[] = [];
  #running: Promise<void> | undefined;

  constructor(parts: AnswersParts) {
    this.#parts = parts;
  }

  /** Throws `BAD_PEER_MESSAGE` for more than anybody asks. */
  ask(block: Block): void {
    if (this.#waiting.length >= TORRENT_MAX_REQUESTS) throw new ShoalError('BAD_PEER_MESSAGE', `it asks for more than ${String(TORRENT_MAX_REQUESTS)} blocks ahead`);
    this.#waiting.push(block);
    this.#running ??= this.#run().catch(this.#parts.onFailed).finally(() => (this.#running = undefined));
  }

  cancel({ piece, begin, length }: Block): void {
    const at = this.#waiting.findIndex((each) => each.piece === piece && each.begin === begin && each.length === length);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Forgets what was asked for and not sent. */
  clear(): void {
    this.#waiting = [];
  }

  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#parts;
    for (let blocks = this.#next(); blocks.length > 0 && !signal.aborted; blocks = this.#next()) await this.#send(blocks);
  }

  #next(): readonly Block[] {
    const { layout } = this.#parts;
    let [count, bytes, end] = [0, 0, -1];
    for (const block of this.#waiting) {
      const offset = offsetOf(layout, block) ?? -1;
      if (count > 0 && (offset !== end || bytes + block.length > READ_BYTES)) break;
      [count, bytes, end] = [count + 1, bytes + block.length, offset + block.length];
    }
    return this.#waiting.splice(0, count);
  }

  async #send(blocks: readonly Block[]): Promise<void> {
    const { content, layout, limiter, onSent, signal, write } = this.#parts;
    const [first] = blocks;
    const from = first === undefined ? undefined : offsetOf(layout, first);
    if (from === undefined) return;
    const bytes = Buffer.allocUnsafe(blocks.reduce((sum, { length }) => sum + length, 0));
    let filled = 0;
    for (const part of partsOf(layout, from, from + bytes.byteLength)) {
      for await (const piece of content.read(part.key, part.from, part.to)) {
        bytes.set(piece, filled);
        filled += piece.byteLength;
      }
    }
    let at = 0;
    for (const block of blocks) {
      await limiter?.wait(block.length, signal);
      if (signal.aborted) return;
      await write(encodePieceHead(block), bytes.subarray(at, at + block.length));
      at += block.length;
      onSent(block.length);
    }
  }
}
