import type { ObjectId } from '../../core/ids.ts';
import type { VerifiedChunk, VerifiedPage } from '../../merkle/verify.ts';
import type { ObjectKind } from '../types.ts';
import type { Appender } from './appender.ts';
import { encodeBlock, keepFrame } from './encode.ts';
import type { BlockHead, ObjectHead } from './format.ts';
import type { PackIndex } from './index-db.ts';
import type { ChunkRow, ObjectRow } from './index-rows.ts';
import type { Pins } from './pins.ts';
import type { PackReader } from './reader.ts';

/**
 * Puts chunks and objects, each once, whoever else is putting the same ones at the time. What is here and damaged is written
 * again: looked for where something is in doubt, and in pages, which are small and which no commit does without.
 */
export class Putter {
  readonly #index: PackIndex;
  readonly #reader: PackReader;
  readonly #appender: Appender;
  readonly #level: number;
  /** What is being compressed and written; resolves (never rejects) when that has ended one way or the other. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(index: PackIndex, reader: PackReader, appender: Appender, level: number) {
    this.#index = index;
    this.#reader = reader;
    this.#appender = appender;
    this.#level = level;
  }

  /** Returns the bytes that were added. `chunks` must stay as they are until it returns. */
  async span(chunks: readonly VerifiedChunk[], pins: Pins, frame?: Uint8Array): Promise<number> {
    let added = 0;
    for (let left = new Map(chunks.map((chunk) => [chunk.id, chunk])); left.size > 0; ) {
      const waits = new Map<ObjectId, Promise<void>>();
      const fresh: VerifiedChunk[] = [];
      const doubted: (readonly [VerifiedChunk, ChunkRow])[] = [];
      const damaged = new Map<ObjectId, number>();
      for (const chunk of left.values()) {
        const row = this.#index.chunk(chunk.id);
        const pending = this.#pending.get(chunk.id);
        if (row !== undefined) {
          pins.blocks.add(row.block);
          if (this.#index.isDoubted('block', row.block)) doubted.push([chunk, row]);
        } else if (pending !== undefined) waits.set(chunk.id, pending);
        else fresh.push(chunk);
      }
      for (const [chunk, row] of doubted) {
        if (await this.#reader.isSound(chunk.id, row)) continue;
        fresh.push(chunk);
        damaged.set(chunk.id, row.block);
      }
      // In the order of the span, which is that of the frame.
      const together = damaged.size === 0 ? fresh : chunks.filter((chunk) => fresh.includes(chunk));
      if (fresh.length > 0) added += await this.#claim(together.map(({ id }) => id), () => this.#store(together, pins, together.length === chunks.length ? frame : undefined, damaged));
      await Promise.all(waits.values());
      // Somebody else's write may have failed: look again.
      left = new Map([...left].filter(([id]) => waits.has(id)));
    }
    return added;
  }

  async page(page: VerifiedPage, pins: Pins): Promise<void> {
    await this.#object('page', page.id, page.encoded, undefined, pins);
  }

  async owned(kind: ObjectKind, id: ObjectId, bytes: Uint8Array, owner: ObjectId, pins: Pins): Promise<void> {
    await this.#object(kind, id, bytes, owner, pins);
    if (this.#index.hasClaim(owner, kind, id)) return;
    await this.#appender.appendNew({ kind: 'claim', object: kind, id, owner }, (pack, offset, head: ObjectHead) => this.#index.addObject(pack, offset, head));
  }

  async #object(kind: ObjectKind, id: ObjectId, bytes: Uint8Array, owner: ObjectId | undefined, pins: Pins): Promise<void> {
    const key = `${kind} ${id}`;
    let row: ObjectRow | undefined;
    for (;;) {
      row = this.#index.object(kind, id);
      if (row !== undefined) {
        pins.objects.add(row.number);
        const looked = kind === 'page' || this.#index.isDoubted('object', row.number);
        if (!looked || (await this.#reader.isSoundObject(row))) return;
      }
      const pending = this.#pending.get(key);
      if (pending === undefined) break;
      await pending;
    }
    await this.#claim([key], () =>
      this.#appender.appendNew({ kind: 'object', object: kind, id, owner, payload: bytes }, (pack, offset, head: ObjectHead) => {
        if (row === undefined) {
          pins.objects.add(this.#index.addObject(pack, offset, head));
          return;
        }
        this.#index.moveObject(row.number, pack, offset, head);
        this.#index.settle('object', row.number);
      }),
    );
  }

  /** `damaged`: the blocks that hold them already, in vain. */
  async #store(chunks: readonly VerifiedChunk[], pins: Pins, frame: Uint8Array | undefined, damaged: ReadonlyMap<ObjectId, number>): Promise<number> {
    const raw = sideBySide(chunks) ?? Buffer.concat(chunks.map(({ bytes }) => bytes));
    const { coding, payload } = frame === undefined ? await encodeBlock(raw, this.#level) : keepFrame(raw, frame);
    const refs = chunks.map(({ id, bytes }) => ({ id, length: bytes.byteLength }));
    return this.#appender.appendNew({ kind: 'block', coding, raw: raw.byteLength, chunks: refs, payload }, (pack, offset, head: BlockHead) => {
      for (const [id, block] of damaged) this.#index.removeChunk(id, block);
      pins.blocks.add(this.#index.addBlock(pack, offset, head));
      return head.head + head.stored;
    });
  }

  async #claim<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const attempt = work();
    const ended = attempt.then(() => undefined, () => undefined).finally(() => {
      for (const key of keys) if (this.#pending.get(key) === ended) this.#pending.delete(key);
    });
    for (const key of keys) this.#pending.set(key, ended);
    return attempt;
  }
}

/** The bytes of chunks that lie one behind the other in memory, as a publisher's and a receiver's do; else undefined. */
function sideBySide(chunks: readonly VerifiedChunk[]): Uint8Array | undefined {
  const first = chunks[0]?.bytes;
  if (first === undefined) return undefined;
  let end = first.byteOffset;
  for (const { bytes } of chunks) {
    if (bytes.buffer !== first.buffer || bytes.byteOffset !== end) return undefined;
    end += bytes.byteLength;
  }
  return new Uint8Array(first.buffer, first.byteOffset, end - first.byteOffset);
}
