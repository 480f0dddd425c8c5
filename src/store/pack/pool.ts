import { join } from 'node:path';
import type { Files, OpenFile } from '../files.ts';

/** Open pack files kept at a time when nobody reads them. */
const KEPT_OPEN = 32;

interface Entry {
  readonly file: Promise<OpenFile>;
  users: number;
}

function packName(number: number): string {
  return `${String(number).padStart(8, '0')}.pack`;
}

/** The number in a pack's file name, or undefined. */
export function packNumber(name: string): number | undefined {
  const match = /^(\d{8,12})\.pack$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Open pack files, shared by their readers. A file in use stays readable when its name is removed. */
export class PackPool {
  readonly #files: Files;
  readonly #directory: string;
  readonly #open = new Map<number, Entry>();

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  path(number: number): string {
    return join(this.#directory, packName(number));
  }

  /** Runs `work` with the pack open. Throws `NO_SUCH_FILE` when the pack is gone. */
  async use<T>(number: number, work: (file: OpenFile) => Promise<T>): Promise<T> {
    const entry = this.#acquire(number);
    try {
      return await work(await entry.file);
    } finally {
      await this.#release(number, entry);
    }
  }

  /** Like `use`, for readers that go on between two pieces. */
  async *stream(number: number, work: (file: OpenFile) => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const entry = this.#acquire(number);
    try {
      yield* work(await entry.file);
    } finally {
      await this.#release(number, entry);
    }
  }

  busy(number: number): boolean {
    return (this.#open.get(number)?.users ?? 0) > 0;
  }

  /** Closes a file that is about to go, or has changed. Readers that are in it carry on. */
  async drop(number: number): Promise<void> {
    const entry = this.#open.get(number);
    this.#open.delete(number);
    if (entry?.users === 0) await close(entry);
  }

  async close(): Promise<void> {
    for (const number of [...this.#open.keys()]) await this.drop(number);
  }

  #acquire(number: number): Entry {
    let entry = this.#open.get(number);
    if (entry === undefined) {
      entry = { file: this.#files.open(this.path(number), 'read'), users: 0 };
      // Whoever waits for the file sees the failure; nobody else need.
      entry.file.catch(() => this.#open.delete(number));
    }
    entry.users++;
    this.#open.delete(number);
    this.#open.set(number, entry);
    return entry;
  }

  async #release(number: number, entry: Entry): Promise<void> {
    entry.users--;
    if (this.#open.get(number) !== entry) {
      if (entry.users === 0) await close(entry);
      return;
    }
    for (const [other, candidate] of this.#open) {
      if (this.#open.size <= KEPT_OPEN) break;
      if (candidate.users > 0) continue;
      this.#open.delete(other);
      await close(candidate);
    }
  }
}

async function close(entry: Entry): Promise<void> {
  try {
    await (await entry.file).close();
  } catch {
    // It never opened, or its close failed after reads only: there is nothing to lose and nobody to tell.
  }
}
