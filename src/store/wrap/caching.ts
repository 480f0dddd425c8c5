import type { ObjectId } from '../../core/ids.ts';
import { ByteLru } from '../lru.ts';
import type { Coding, ObjectKind, Run, StoreReader } from '../types.ts';

/** Keeps what was read lately in memory, at most `maxBytes` of it. Content-addressed, so nothing kept is ever stale. */
export class CachingReader implements StoreReader {
  readonly #inner: StoreReader;
  readonly #kept: ByteLru<string, Uint8Array>;

  constructor(inner: StoreReader, maxBytes: number) {
    this.#inner = inner;
    this.#kept = new ByteLru(maxBytes);
  }

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return this.#inner.has(ids);
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#through(id, () => this.#inner.chunk(id));
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#through(`${kind} ${id}`, () => this.#inner.object(kind, id));
  }

  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    return this.#inner.runs(ids, accept);
  }

  close(): Promise<void> {
    this.#kept.clear();
    return this.#inner.close();
  }

  async #through(key: string, read: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const bytes = await read();
    if (bytes !== undefined) this.#kept.set(key, bytes);
    return bytes;
  }
}
