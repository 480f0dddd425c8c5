import { ShoalError } from '../core/errors.ts';

/** So many at a time, and so many for one client. Whoever is too many is sent away at once: waiting would cost memory. */
export class Gate {
  readonly #limit: number;
  readonly #perClient: number;
  readonly #clients = new Map<string, number>();
  #inside = 0;

  constructor(limit: number, perClient: number) {
    this.#limit = limit;
    this.#perClient = perClient;
  }

  get inside(): number {
    return this.#inside;
  }

  /** Returns the function that gives the place back, once. Throws `BUSY` (retry elsewhere) when there is none. */
  enter(client: string, perClient = this.#perClient): () => void {
    const mine = this.#clients.get(client) ?? 0;
    if (this.#inside >= this.#limit || mine >= perClient) {
      throw new ShoalError('BUSY', 'this host serves as many responses as it can; ask again later or ask another', { retry: 'elsewhere' });
    }
    this.#inside++;
    this.#clients.set(client, mine + 1);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#inside--;
      const left = (this.#clients.get(client) ?? 1) - 1;
      if (left === 0) this.#clients.delete(client);
      else this.#clients.set(client, left);
    };
  }
}

/** So much memory for what is being sent, and so much for one client. What does not fit is sent away at once; a single one always fits. */
export class Room {
  readonly #bytes: number;
  readonly #perClient: number;
  readonly #clients = new Map<string, number>();
  #taken = 0;

  constructor(bytes: number, perClient: number) {
    this.#bytes = bytes;
    this.#perClient = perClient;
  }

  /** Returns the function that gives the room back, once. Throws `BUSY` (retry elsewhere) when there is none. */
  enter(bytes: number, client: string): () => void {
    const mine = this.#clients.get(client) ?? 0;
    if ((this.#taken > 0 && this.#taken + bytes > this.#bytes) || (mine > 0 && mine + bytes > this.#perClient)) {
      throw new ShoalError('BUSY', 'this host sends as many deltas as it can; ask again later or ask another', { retry: 'elsewhere' });
    }
    this.#taken += bytes;
    this.#clients.set(client, mine + bytes);
    let left = bytes;
    return () => {
      this.#taken -= left;
      const rest = (this.#clients.get(client) ?? 0) - left;
      if (rest > 0) this.#clients.set(client, rest);
      else this.#clients.delete(client);
      left = 0;
    };
  }
}
