import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { INDEX_MAX_LEVEL, INNER_FANOUT } from '../core/limits.ts';
import { makeInner, makeLeaf } from './page.ts';
import type { ChunkRef, PageRef } from './page.ts';
import { sealPage } from './verify.ts';
import type { VerifiedPage } from './verify.ts';

export interface BuiltIndex {
  readonly root: ObjectId;
  readonly bytes: number;
  readonly spans: number;
}

/**
 * Builds the index of an artifact from its spans, in order, in memory that grows with the number of levels and not with
 * the artifact. Every finished page goes to `emit` at once; the promise `emit` returns is waited for (backpressure).
 */
export class IndexBuilder {
  readonly #emit: (page: VerifiedPage) => void | Promise<void>;
  /** Entries waiting for a page, by level of the page they will be in: `#open[1]` are leaves. */
  readonly #open: PageRef[][] = [[], []];
  #finished = false;

  constructor(emit: (page: VerifiedPage) => void | Promise<void>) {
    this.#emit = emit;
  }

  /** Adds the next span. Throws `BAD_PAGE` when its chunks make no lawful span. */
  async addSpan(chunks: readonly ChunkRef[]): Promise<VerifiedPage> {
    if (this.#finished) throw new ShoalError('INDEX_FINISHED', 'a finished index takes no further spans');
    const leaf = sealPage(makeLeaf(chunks));
    await this.#emit(leaf);
    await this.addLeaf(leaf.id, leaf.page.bytes);
    return leaf;
  }

  /** Adds a span whose leaf page somebody has sealed already; it is not emitted again. */
  async addLeaf(id: ObjectId, bytes: number): Promise<void> {
    if (this.#finished) throw new ShoalError('INDEX_FINISHED', 'a finished index takes no further spans');
    await this.#add(1, { id, bytes, spans: 1 });
  }

  /** Closes all levels and returns the root. An artifact without spans has an empty level-1 page as its root. */
  async finish(): Promise<BuiltIndex> {
    this.#finished = true;
    for (let level = 1; ; level++) {
      const entries = this.#open[level] ?? [];
      const above = this.#open.slice(level + 1).some((list) => list.length > 0);
      if (!above && level > 1 && entries.length === 1) {
        const [top] = entries;
        if (top !== undefined) return { root: top.id, bytes: top.bytes, spans: top.spans };
      }
      if (entries.length > 0 || (level === 1 && !above)) await this.#close(level);
    }
  }

  async #add(level: number, entry: PageRef): Promise<void> {
    const entries = (this.#open[level] ??= []);
    // A full page is closed only when something follows it, so that a lone full page stays the root.
    if (entries.length === INNER_FANOUT) await this.#close(level);
    (this.#open[level] ??= []).push(entry);
  }

  async #close(level: number): Promise<void> {
    if (level > INDEX_MAX_LEVEL) throw new ShoalError('ARTIFACT_TOO_LARGE', 'the artifact has more spans than an index can hold');
    const page = sealPage(makeInner(level, this.#open[level] ?? []));
    this.#open[level] = [];
    await this.#emit(page);
    const { bytes, spans } = page.page as { bytes: number; spans: number };
    await this.#add(level + 1, { id: page.id, bytes, spans });
  }
}
