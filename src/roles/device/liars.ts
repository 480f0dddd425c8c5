import { join } from 'node:path';
import { LIARS_KEPT_MS, LIARS_MAX } from '../../core/limits.ts';
import type { Evidence } from '../../exchange/standing.ts';
import type { Files } from '../../store/files.ts';
import { KeptList } from './kept-list.ts';

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
  readonly #caught: KeptList<Caught>;
  readonly #today: () => number;

  private constructor(caught: KeptList<Caught>, today: () => number) {
    this.#caught = caught;
    this.#today = today;
  }

  static async open(files: Files, directory: string, today: () => number): Promise<Liars> {
    return new Liars(await KeptList.open(files, join(directory, 'liars.json'), { maxBytes: MAX_BYTES, most: LIARS_MAX }, isCaught), today);
  }

  /** Those that are not to be asked now. A clock that went back forgives nobody it should not: the future counts as long ago. */
  get evidence(): readonly Evidence[] {
    const now = this.#today();
    return this.#caught.entries.filter(({ at }) => at <= now && now - at < LIARS_KEPT_MS).map(({ evidence }) => evidence);
  }

  add(evidence: Evidence): Promise<void> {
    return this.#caught.add({ evidence, at: this.#today() }, (other) => other.evidence.source === evidence.source);
  }
}

function isCaught(value: unknown): value is Caught {
  const { evidence, at } = (value ?? {}) as Partial<Caught>;
  return typeof at === 'number' && typeof evidence?.source === 'string' && typeof evidence.code === 'string' && typeof evidence.message === 'string' && typeof evidence.ids === 'object';
}
