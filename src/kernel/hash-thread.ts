import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

export interface HashJob {
  readonly bytes: Uint8Array;
  readonly lengths: readonly number[];
}

export interface HashResult {
  /** The bytes that were hashed, back again. */
  readonly bytes: Uint8Array;
  /** One BLAKE3-256 after another, 32 bytes each. */
  readonly hashes: Uint8Array;
}

/**
 * BLAKE3-256 in a thread of its own, for work that runs beside other work of the same process: a second core halves the
 * time. Memory is handed over, not copied. A thread costs some 10 MB and 50 ms to start. It keeps a process alive only while it has work.
 */
export class HashThread {
  readonly #worker: Worker;
  #ended: { readonly error: unknown } | undefined;
  readonly #waiting: { readonly resolve: (result: HashResult) => void; readonly reject: (error: unknown) => void }[] = [];

  constructor() {
    // The same place from src/kernel and, compiled, from dist/kernel.
    this.#worker = new Worker(new URL(`./hash-worker${extname(import.meta.url)}`, import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 } });
    this.#worker.unref();
    this.#worker.on('message', (result: HashResult) => {
      this.#waiting.shift()?.resolve(result);
      if (this.#waiting.length === 0) this.#worker.unref();
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the hashing thread has ended')));
  }

  /**
   * Hashes pieces of `lengths` that lie one after another in `bytes`. The memory under `bytes` is away until the answer, and
   * then under the answer's `bytes`. Rejects when the thread fails or has ended.
   */
  hash(bytes: Uint8Array, lengths: readonly number[]): Promise<HashResult> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) throw this.#ended.error;
      this.#waiting.push({ resolve, reject });
      this.#worker.ref();
      const job: HashJob = { bytes, lengths };
      this.#worker.postMessage(job, [bytes.buffer as ArrayBuffer]);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: unknown): void {
    this.#ended ??= { error };
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
