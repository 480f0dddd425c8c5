import type { ObjectId } from '../../core/ids.ts';
import type { Coding, ObjectKind, Run, StoreReader } from '../types.ts';

/** Reads asked for several times at once are done once: for stores where a read is a request to somebody else. */
export class SharedReader implements StoreReader {
  readonly #inner: StoreReader;
  readonly #running = new Map<string, Promise<Uint8Array | undefined>>();

  constructor(inner: StoreReader) {
    this.#inner = inner;
  }

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return this.#inner.has(ids);
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#once(id, () => this.#inner.chunk(id));
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#once(`${kind} ${id}`, () => this.#inner.object(kind, id));
  }

  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    return this.#inner.runs(ids, accept);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #once(key: string, read: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
    let running = this.#running.get(key);
    if (running === undefined) {
      running = read().finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    return running;
  }
}
