import { readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';

/** What a device remembers for its own convenience, newest first, in a JSON file. What is damaged or not an entry is forgotten. */
export class KeptList<T> {
  readonly #files: Files;
  readonly #path: string;
  readonly #most: number;
  #entries: readonly T[];

  private constructor(files: Files, path: string, most: number, entries: readonly T[]) {
    this.#files = files;
    this.#path = path;
    this.#most = most;
    this.#entries = entries;
  }

  /** Reads at most `maxBytes` and `most` entries. */
  static async open<T>(files: Files, path: string, limits: { readonly maxBytes: number; readonly most: number }, isEntry: (value: unknown) => value is T): Promise<KeptList<T>> {
    const bytes = await readWhole(files, path, limits.maxBytes).catch(() => undefined);
    return new KeptList(files, path, limits.most, parse(bytes).filter(isEntry).slice(0, limits.most));
  }

  get entries(): readonly T[] {
    return this.#entries;
  }

  /** Puts `entry` in the place of those that `replaces` names. Known at once; rejects when it could not be written. */
  async add(entry: T, replaces: (other: T) => boolean): Promise<void> {
    this.#entries = [entry, ...this.#entries.filter((other) => !replaces(other))].slice(0, this.#most);
    await writeDurably(this.#files, this.#path, Buffer.from(JSON.stringify(this.#entries)));
  }
}

function parse(bytes: Uint8Array | undefined): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes ?? []).toString('utf8'));
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}
