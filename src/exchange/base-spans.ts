import { SpanGrouper } from '../chunk/spans.ts';
import type { ObjectId } from '../core/ids.ts';
import { IndexBuilder } from '../merkle/build.ts';
import { makeLeaf } from '../merkle/page.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { sealPage } from '../merkle/verify.ts';

/** A span of a file by the id that its leaf page has. */
export interface BaseSpan {
  readonly id: ObjectId;
  readonly offset: number;
  readonly bytes: number;
}

/** The spans of a file on this device, from its chunks in order: what root its index has, and which leaf pages. */
export class BaseSpans {
  readonly #grouper = new SpanGrouper<ChunkRef>();
  readonly #leaves: BaseSpan[] = [];
  #grouped = 0;
  #bytes = 0;

  /** Of the chunks so far. */
  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: ChunkRef): void {
    this.#bytes += chunk.length;
    for (const span of this.#grouper.add(chunk)) this.#seal(span);
  }

  async end(): Promise<{ readonly root: ObjectId; readonly leaves: readonly BaseSpan[] }> {
    const last = this.#grouper.end();
    if (last !== undefined) this.#seal(last);
    const builder = new IndexBuilder(() => undefined);
    for (const { id, bytes } of this.#leaves) await builder.addLeaf(id, bytes);
    return { root: (await builder.finish()).root, leaves: this.#leaves };
  }

  #seal(span: readonly ChunkRef[]): void {
    const { id, page } = sealPage(makeLeaf(span));
    this.#leaves.push({ id, offset: this.#grouped, bytes: page.bytes });
    this.#grouped += page.bytes;
  }
}
