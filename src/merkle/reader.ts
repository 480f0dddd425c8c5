import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { isLeaf } from './page.ts';
import type { ChunkRef, InnerPage, LeafPage, PageRef } from './page.ts';
import { verifyPage } from './verify.ts';
import type { VerifiedPage } from './verify.ts';

/** Where encoded pages come from: a store, a peer, the origin. What it returns is not trusted. */
export interface PageSource {
  /** The encoded page, verified already or not. Throws when it cannot be had. */
  page(id: ObjectId): Promise<Uint8Array | VerifiedPage>;
}

/** One span of an artifact, located. */
export interface Span {
  /** Position among the artifact's spans, from 0. */
  readonly index: number;
  /** Byte offset in the artifact. */
  readonly offset: number;
  readonly bytes: number;
  /** Id of the leaf page that lists its chunks. */
  readonly leaf: ObjectId;
}

/**
 * Reads the index under a root, page by page, each verified against the entry that named it: hash, level, byte and span
 * counts. Any span is reached after one page per level. Inner pages are kept (they are under 1 % of 1 % of the artifact);
 * leaf pages are the caller's to keep.
 */
export class IndexReader {
  readonly root: ObjectId;
  readonly top: InnerPage;
  readonly #source: PageSource;
  readonly #inner = new Map<ObjectId, InnerPage>();

  private constructor(root: ObjectId, top: InnerPage, source: PageSource) {
    this.root = root;
    this.top = top;
    this.#source = source;
  }

  /** Fetches and checks the top page. `size` is the signed size of the artifact: another one is `INDEX_SIZE`. */
  static async open(root: ObjectId, size: number | undefined, source: PageSource): Promise<IndexReader> {
    const top = verifyPage(root, await source.page(root)).page;
    if (isLeaf(top)) throw new ShoalError('BAD_PAGE', 'the top page of an index cannot be a leaf', { ids: { root } });
    // Without this, a chain of single-entry pages would give one artifact several roots (docs/format.md, "Shape").
    if (top.level > 1 && top.children.length < 2) throw new ShoalError('BAD_PAGE', 'the top page of an index has a level too many', { ids: { root } });
    if (size !== undefined && top.bytes !== size) {
      throw new ShoalError('INDEX_SIZE', `the index covers ${String(top.bytes)} bytes but the manifest says ${String(size)}`, { ids: { root } });
    }
    return new IndexReader(root, top, source);
  }

  get bytes(): number {
    return this.top.bytes;
  }

  get spans(): number {
    return this.top.spans;
  }

  /** Locates a span by number. Throws `NO_SUCH_SPAN` outside `0 … spans - 1`. */
  async span(index: number): Promise<Span> {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.spans) {
      throw new ShoalError('NO_SUCH_SPAN', `the artifact has ${String(this.spans)} spans; there is no span ${String(index)}`, { ids: { root: this.root } });
    }
    return this.#descend((child, skipped) => index < skipped.spans + child.spans);
  }

  /** Locates the span that holds the byte at `offset`. Throws `OUT_OF_RANGE` at or past the end. */
  async spanAt(offset: number): Promise<Span> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset >= this.bytes) {
      throw new ShoalError('OUT_OF_RANGE', `byte ${String(offset)} is outside the artifact of ${String(this.bytes)} bytes`, { ids: { root: this.root } });
    }
    return this.#descend((child, skipped) => offset < skipped.bytes + child.bytes);
  }

  /** All spans in order, from span `from` on. */
  async *allSpans(from = 0): AsyncGenerator<Span> {
    for (let index = from; index < this.spans; index++) yield await this.span(index);
  }

  /** The chunks of a span: fetches the leaf page and checks it against its entry. */
  async leaf(span: Span): Promise<LeafPage> {
    return this.checkLeaf(span, await this.#source.page(span.leaf));
  }

  /** Checks an encoded leaf page that came by another way (a neighbour, a rebuild) for the place `span`. */
  checkLeaf(span: Span, encoded: Uint8Array | VerifiedPage): LeafPage {
    const { page } = verifyPage(span.leaf, encoded);
    if (!isLeaf(page) || page.bytes !== span.bytes) {
      throw new ShoalError('BAD_PAGE', `the leaf page of span ${String(span.index)} contradicts the page above it`, { ids: { root: this.root, span: span.index } });
    }
    return page;
  }

  /** The proof of a span: ids of the pages from the root to its leaf, in order. */
  async proof(index: number): Promise<readonly ObjectId[]> {
    const path: ObjectId[] = [];
    const span = await this.#descendNoting((child, skipped) => index < skipped.spans + child.spans, path);
    return [...path, span.leaf];
  }

  /** Ids of all inner pages, top first: what a host keeps to serve the index. */
  async innerPages(): Promise<readonly ObjectId[]> {
    const ids: ObjectId[] = [this.root];
    const walk = async (page: InnerPage): Promise<void> => {
      if (page.level === 1) return;
      for (const child of page.children) {
        ids.push(child.id);
        await walk(await this.#innerPage(child, page.level - 1));
      }
    };
    await walk(this.top);
    return ids;
  }

  async #descend(holds: (child: PageRef, skipped: { readonly bytes: number; readonly spans: number }) => boolean): Promise<Span> {
    return this.#descendNoting(holds, []);
  }

  async #descendNoting(
    holds: (child: PageRef, skipped: { readonly bytes: number; readonly spans: number }) => boolean,
    path: ObjectId[],
  ): Promise<Span> {
    let page = this.top;
    const skipped = { bytes: 0, spans: 0 };
    path.push(this.root);
    for (;;) {
      const child = page.children.find((entry) => {
        if (holds(entry, skipped)) return true;
        skipped.bytes += entry.bytes;
        skipped.spans += entry.spans;
        return false;
      });
      if (child === undefined) throw new ShoalError('NO_SUCH_SPAN', 'the index has no such span', { ids: { root: this.root } });
      if (page.level === 1) return { index: skipped.spans, offset: skipped.bytes, bytes: child.bytes, leaf: child.id };
      path.push(child.id);
      page = await this.#innerPage(child, page.level - 1);
    }
  }

  async #innerPage(entry: PageRef, level: number): Promise<InnerPage> {
    const page = this.#inner.get(entry.id) ?? verifyPage(entry.id, await this.#source.page(entry.id)).page;
    // Also where the page is known: another entry may name it and say something else of it.
    if (isLeaf(page) || page.level !== level || page.bytes !== entry.bytes || page.spans !== entry.spans) {
      throw new ShoalError('BAD_PAGE', 'an inner page contradicts the page above it', { ids: { root: this.root, page: entry.id }, retry: 'elsewhere' });
    }
    this.#inner.set(entry.id, page);
    return page;
  }
}

/** Offsets of the chunks inside their span. */
export function chunkOffsets(chunks: readonly ChunkRef[]): readonly number[] {
  let offset = 0;
  return chunks.map(({ length }) => {
    const at = offset;
    offset += length;
    return at;
  });
}
