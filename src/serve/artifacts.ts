import { ShoalError, isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { remember } from '../core/remember.ts';
import type { ContentKey } from '../core/wire.ts';
import { isLeaf } from '../merkle/page.ts';
import type { ChunkRef, LeafPage } from '../merkle/page.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { Span } from '../merkle/reader.ts';
import { verifyPage } from '../merkle/verify.ts';
import type { VerifiedPage } from '../merkle/verify.ts';

/** Fetches an encoded page that was asked for under `key`. Undefined when it is not to be had. */
export type PageLookup = (key: ContentKey, id: ObjectId) => Promise<Uint8Array | VerifiedPage | undefined>;

interface Opened {
  readonly reader: IndexReader;
  readonly leaves: Map<number, LeafPage>;
  members: Set<ObjectId> | undefined;
}

/** Indexes kept open, and leaf pages kept of each: 64 × 128 × some 4 KiB decoded is 32 MiB at most. */
const OPEN_MAX = 64;
const LEAVES_MAX = 128;

/** The indexes of what a host serves, opened when asked for and a bounded number kept. */
export class ArtifactIndexes {
  readonly #page: PageLookup;
  readonly #open = new Map<string, Promise<Opened>>();

  constructor(page: PageLookup) {
    this.#page = page;
  }

  /** The index of an artifact, or undefined when its top page is not to be had. */
  async reader(key: ContentKey): Promise<IndexReader | undefined> {
    return (await this.#opened(key))?.reader;
  }

  /** Where span `index` lies and which chunks it has; undefined when the artifact, the span or its pages are not here. */
  async span(key: ContentKey, index: number): Promise<{ readonly span: Span; readonly chunks: readonly ChunkRef[] } | undefined> {
    const opened = await this.#opened(key);
    if (opened === undefined || index >= opened.reader.spans) return undefined;
    return absent(async () => {
      const span = await opened.reader.span(index);
      const leaf = opened.leaves.get(index) ?? (await opened.reader.leaf(span));
      remember(opened.leaves, index, leaf, LEAVES_MAX);
      return { span, chunks: leaf.chunks };
    });
  }

  /** Says whether `id` is a page of the index of `key`: knowing a page's hash opens nothing under another key. */
  async isMember(key: ContentKey, id: ObjectId): Promise<boolean> {
    const opened = await this.#opened(key);
    if (opened === undefined) return false;
    opened.members ??= await this.#members(key, opened.reader);
    return opened.members.has(id);
  }

  forget(key: ContentKey): void {
    this.#open.delete(nameOf(key));
  }

  async #members(key: ContentKey, reader: IndexReader): Promise<Set<ObjectId>> {
    const inner = await reader.innerPages();
    const members = new Set(inner);
    for (const id of inner) {
      const encoded = await this.#page(key, id);
      const page = encoded === undefined ? undefined : verifyPage(id, encoded).page;
      if (page !== undefined && !isLeaf(page)) for (const child of page.children) members.add(child.id);
    }
    return members;
  }

  async #opened(key: ContentKey): Promise<Opened | undefined> {
    const name = nameOf(key);
    const known = this.#open.get(name) ?? this.#openIndex(key);
    remember(this.#open, name, known, OPEN_MAX);
    try {
      return await known;
    } catch (error) {
      this.#open.delete(name);
      if (isShoalError(error, 'NO_SUCH_PAGE')) return undefined;
      throw error;
    }
  }

  async #openIndex(key: ContentKey): Promise<Opened> {
    const page = async (id: ObjectId): Promise<Uint8Array | VerifiedPage> => {
      const encoded = await this.#page(key, id);
      if (encoded === undefined) throw new ShoalError('NO_SUCH_PAGE', `index page ${id.slice(0, 12)}… is not here`, { ids: { page: id }, retry: 'elsewhere' });
      return encoded;
    };
    return { reader: await IndexReader.open(key.root, undefined, { page }), leaves: new Map(), members: undefined };
  }
}

function nameOf({ namespace, root }: ContentKey): string {
  return `${namespace}/${root}`;
}

async function absent<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isShoalError(error, 'NO_SUCH_PAGE')) return undefined;
    throw error;
  }
}
