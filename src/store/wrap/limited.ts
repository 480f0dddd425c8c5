import type { ObjectId } from '../../core/ids.ts';
import type { Coding, ObjectKind, Run, StoreReader } from '../types.ts';

/**
 * At most `limit` reads at a time, streams included; the rest wait their turn. A stream holds its place until it is read
 * to the end or given up, so `limit` also bounds the memory that slow readers tie up.
 */
export class LimitedReader implements StoreReader {
  readonly #inner: StoreReader;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(inner: StoreReader, limit: number) {
    this.#inner = inner;
    this.#free = limit;
  }

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return this.#inner.has(ids);
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#limited(() => this.#inner.chunk(id));
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#limited(() => this.#inner.object(kind, id));
  }

  async runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    const runs = await this.#limited(() => this.#inner.runs(ids, accept));
    return runs?.map((run) => ({ ...run, open: () => this.#stream(run) }));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async *#stream(run: Run): AsyncGenerator<Uint8Array> {
    await this.#acquire();
    try {
      yield* run.open();
    } finally {
      this.#release();
    }
  }

  async #limited<T>(read: () => Promise<T>): Promise<T> {
    await this.#acquire();
    try {
      return await read();
    } finally {
      this.#release();
    }
  }

  async #acquire(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    // The place is handed over, not given back: nobody can slip in between.
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
