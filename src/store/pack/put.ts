import type { ObjectId } from '../../core/ids.ts';
import type { VerifiedChunk, VerifiedPage } from '../../merkle/verify.ts';
import type { ObjectKind } from '../types.ts';
import type { Appender } from './appender.ts';
import { encodeBlock, keepFrame } from './encode.ts';
import type { BlockHead, ObjectHead } from './format.ts';
import type { PackIndex } from './index-db.ts';
import type { Pins } from './pins.ts';

/** Puts chunks and objects, each once, whoever else is putting the same ones at the time. */
export class Putter {
  readonly #index: PackIndex;
  readonly #appender: Appender;
  readonly #level: number;
  /** What is being compressed and written; resolves (never rejects) when that has ended one way or the other. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(index: PackIndex, appender: Appender, level: number) {
    this.#index = index;
    this.#appender = appender;
    this.#level = level;
  }

  /** Returns the bytes that were added. `chunks` must stay as they are until it returns. */
  async span(chunks: readonly VerifiedChunk[], pins: Pins, frame?: Uint8Array): Promise<number> {
    let added = 0;
    for (let left = new Map(chunks.map((chunk) => [chunk.id, chunk])); left.size > 0; ) {
      const waits = new Map<ObjectId, Promise<void>>();
      const fresh: VerifiedChunk[] = [];
      for (const chunk of left.values()) {
        const row = this.#index.chunk(chunk.id);
        const pending = this.#pending.get(chunk.id);
        if (row !== undefined) pins.blocks.add(row.block);
        else if (pending !== undefined) waits.set(chunk.id, pending);
        else fresh.push(chunk);
      }
      if (fresh.length > 0) added += await this.#claim(fresh.map(({ id }) => id), () => this.#store(fresh, pins, fresh.length === chunks.length ? frame : undefined));
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
    for (;;) {
      const row = this.#index.object(kind, id);
      if (row !== undefined) {
        pins.objects.add(row.number);
        return;
      }
      const pending = this.#pending.get(key);
      if (pending === undefined) break;
      await pending;
    }
    await this.#claim([key], () =>
      this.#appender.appendNew({ kind: 'object', object: kind, id, owner, payload: bytes }, (pack, offset, head: ObjectHead) => {
        pins.objects.add(this.#index.addObject(pack, offset, head));
      }),
    );
  }

  async #store(chunks: readonly VerifiedChunk[], pins: Pins, frame: Uint8Array | undefined): Promise<number> {
    const raw = sideBySide(chunks) ?? Buffer.concat(chunks.map(({ bytes }) => bytes));
    const { coding, payload } = frame === undefined ? await encodeBlock(raw, this.#level) : keepFrame(raw, frame);
    const refs = chunks.map(({ id, bytes }) => ({ id, length: bytes.byteLength }));
    return this.#appender.appendNew({ kind: 'block', coding, raw: raw.byteLength, chunks: refs, payload }, (pack, offset, head: BlockHead) => {
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
