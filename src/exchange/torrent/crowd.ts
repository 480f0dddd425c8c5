import { LIARS_MAX, TORRENT_CONNECTIONS_PER_ADDRESS, TORRENT_LIES_MOST, TORRENT_MAX_CONNECTIONS } from '../../core/limits.ts';
import type { TorrentAddress } from './types.ts';

/** The connections to stock clients of all swarms together, and who is not spoken to any more. */
export class Crowd {
  readonly #connections = new Map<string, number>();
  /** By address: the ports from which wrong bytes came. */
  readonly #lies = new Map<string, Set<number>>();
  #count = 0;

  get size(): number {
    return this.#count;
  }

  /** Takes a place for a connection. Says whether there was one. */
  enter({ host, port }: TorrentAddress): boolean {
    const count = this.#connections.get(host) ?? 0;
    const lies = this.#lies.get(host);
    if (this.#count >= TORRENT_MAX_CONNECTIONS || count >= TORRENT_CONNECTIONS_PER_ADDRESS) return false;
    if (lies !== undefined && (lies.has(port) || lies.size >= TORRENT_LIES_MOST)) return false;
    this.#connections.set(host, count + 1);
    this.#count++;
    return true;
  }

  leave({ host }: TorrentAddress): void {
    const left = (this.#connections.get(host) ?? 1) - 1;
    if (left === 0) this.#connections.delete(host);
    else this.#connections.set(host, left);
    this.#count--;
  }

  /** Notes wrong bytes: a client that comes back from another port may be another one, until that has happened too often. */
  caught({ host, port }: TorrentAddress): void {
    const lies = this.#lies.get(host) ?? new Set();
    this.#lies.delete(host);
    this.#lies.set(host, lies.add(port));
    for (const oldest of this.#lies.keys()) {
      if (this.#lies.size <= LIARS_MAX) return;
      this.#lies.delete(oldest);
    }
  }
}
