import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { findWay } from './others.ts';
import type { WayFound, WaySearch } from './others.ts';

/** What a thread sends back: what was found, or why nothing could be. */
export type SearchAnswer = { readonly found: WayFound } | { readonly error: unknown };

interface Waiting {
  readonly what: WaySearch;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (found: WayFound) => void;
  readonly reject: (error: unknown) => void;
}

/** The memory of its own that a thread takes at most: some 12 MiB of Node, and compressors. */
export const SEARCH_THREAD_BYTES = 48 * 1024 * 1024;

/** Looks for what made streams (`findWay`) in threads of their own: seconds for each megabyte, which several cores share. Threads begin with the first stream. */
export class SearchThreads {
  readonly #most: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Waiting>();
  readonly #waiting: Waiting[] = [];

  /** With 0 `threads` all is done by who asks, one stream after another. */
  constructor(threads: number) {
    this.#most = threads;
  }

  /** Rejects when a thread fails, or with the reason of `signal` where it aborts before a thread looks. */
  find(what: WaySearch, signal?: AbortSignal): Promise<WayFound> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ what, signal, resolve, reject });
      this.#next();
    });
  }

  /** What is under way is given up. */
  async close(): Promise<void> {
    const all = [...this.#idle, ...this.#busy.keys()];
    this.#idle.length = 0;
    for (const { reject } of [...this.#waiting.splice(0), ...this.#busy.values()]) reject(new Error('looking for what made a stream was given up'));
    this.#busy.clear();
    await Promise.all(all.map((worker) => worker.terminate()));
  }

  #turn = Promise.resolve();

  #next(): void {
    if (this.#most === 0) {
      const own = this.#waiting.shift();
      if (own !== undefined) this.#turn = this.#turn.then(() => here(own));
      return;
    }
    while (this.#waiting.length > 0) {
      const worker = this.#idle.pop() ?? (this.#busy.size < this.#most ? this.#begin() : undefined);
      const own = worker === undefined ? undefined : this.#waiting.shift();
      if (worker === undefined || own === undefined) return;
      if (own.signal?.aborted === true) {
        this.#idle.push(worker);
        own.reject(own.signal.reason);
        continue;
      }
      this.#busy.set(worker, own);
      // A copy: the stream lies in the artifact.
      const bytes = Uint8Array.from(own.what.bytes);
      worker.postMessage({ ...own.what, bytes } satisfies WaySearch, [bytes.buffer]);
    }
  }

  #begin(): Worker {
    // The same place from src/container and, compiled, from dist/container.
    const worker = new Worker(new URL(`./search-worker${extname(import.meta.url)}`, import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 } });
    const end = (): Waiting | undefined => {
      const own = this.#busy.get(worker);
      this.#busy.delete(worker);
      return own;
    };
    worker.on('message', (answer: SearchAnswer) => {
      const own = end();
      if (own === undefined) return;
      this.#idle.push(worker);
      if ('found' in answer) own.resolve(answer.found);
      else own.reject(answer.error);
      this.#next();
    });
    worker.on('error', (error) => {
      end()?.reject(error);
      this.#next();
    });
    return worker;
  }
}

async function here({ what, signal, resolve, reject }: Waiting): Promise<void> {
  try {
    signal?.throwIfAborted();
    resolve(await findWay(what));
  } catch (error) {
    reject(error);
  }
}
