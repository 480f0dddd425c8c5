import { join } from 'node:path';
import { LIARS_KEPT_MS, LIARS_MAX } from '../../core/limits.ts';
import type { Evidence } from '../../exchange/standing.ts';
import { readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';

interface Caught {
  readonly evidence: Evidence;
  /** Time of day, milliseconds. */
  readonly at: number;
}

const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Neighbours that were caught with wrong bytes, kept for a day so that neither the next artifact nor a restart asks them
 * again. A convenience, not a guard: without it each of them is caught once more.
 */
export class Liars {
  readonly #files: Files;
  readonly #path: string;
  readonly #today: () => number;
  #caught: readonly Caught[];

  private constructor(files: Files, path: string, today: () => number, caught: readonly Caught[]) {
    this.#files = files;
    this.#path = path;
    this.#today = today;
    this.#caught = caught;
  }

  static async open(files: Files, directory: string, today: () => number): Promise<Liars> {
    const path = join(directory, 'liars.json');
    return new Liars(files, path, today, parse(await readWhole(files, path, MAX_BYTES).catch(() => undefined)));
  }

  /** Those that are not to be asked now. A clock that went back forgives nobody it should not: the future counts as long ago. */
  get evidence(): readonly Evidence[] {
    const now = this.#today();
    return this.#caught.filter(({ at }) => at <= now && now - at < LIARS_KEPT_MS).map(({ evidence }) => evidence);
  }

  async add(evidence: Evidence): Promise<void> {
    const others = this.#caught.filter((each) => each.evidence.source !== evidence.source);
    this.#caught = [{ evidence, at: this.#today() }, ...others].slice(0, LIARS_MAX);
    await writeDurably(this.#files, this.#path, Buffer.from(JSON.stringify(this.#caught)));
  }
}

function parse(bytes: Uint8Array | undefined): readonly Caught[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes ?? []).toString('utf8'));
    return Array.isArray(value) ? value.filter(isCaught).slice(0, LIARS_MAX) : [];
  } catch {
    return [];
  }
}

function isCaught(value: unknown): value is Caught {
  const { evidence, at } = (value ?? {}) as Partial<Caught>;
  return typeof at === 'number' && typeof evidence?.source === 'string' && typeof evidence.code === 'string' && typeof evidence.message === 'string' && typeof evidence.ids === 'object';
}
