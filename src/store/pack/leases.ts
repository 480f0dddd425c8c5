import { join } from 'node:path';
import { isObjectId } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { Files } from '../files.ts';
import { removeDurably } from '../durable.ts';

/**
 * Leases are empty files whose names say everything: ROOT-EXPIRY-SERIAL.lease, expiry in milliseconds since the epoch.
 * So any process can take one without the writer's lock, they outlive a crash, and gc reads them by listing a directory.
 */
export class Leases {
  readonly #files: Files;
  readonly #directory: string;
  readonly #now: () => number;
  readonly #serial: () => string;

  constructor(files: Files, directory: string, now: () => number, serial: () => string) {
    this.#files = files;
    this.#directory = directory;
    this.#now = now;
    this.#serial = serial;
  }

  /** Takes a lease, and says what it is called. */
  async take(root: ObjectId, ttlMs: number): Promise<{ readonly name: string; release(): Promise<void> }> {
    const name = `${root}-${String(Math.ceil(this.#now() + ttlMs))}-${this.#serial()}.lease`;
    const path = join(this.#directory, name);
    await (await this.#files.open(path, 'exclusive')).close();
    await this.#files.syncDirectory(this.#directory);
    return { name, release: () => removeDurably(this.#files, path) };
  }

  /** Roots that are leased now, by another lease than the one called `except`. */
  async roots(except?: string): Promise<ReadonlySet<ObjectId>> {
    const roots = new Set<ObjectId>();
    for (const { name, root, until } of await this.#all()) if (until > this.#now() && name !== except) roots.add(root);
    return roots;
  }

  /** Takes away what has run out. */
  async removeExpired(): Promise<void> {
    for (const { name, until } of await this.#all()) if (until <= this.#now()) await this.#files.remove(join(this.#directory, name));
  }

  async #all(): Promise<{ readonly name: string; readonly root: ObjectId; readonly until: number }[]> {
    return (await this.#files.list(this.#directory)).flatMap((name) => {
      const [root, until] = name.split('-');
      return root !== undefined && isObjectId(root) && name.endsWith('.lease') ? [{ name, root, until: Number(until) }] : [];
    });
  }
}
