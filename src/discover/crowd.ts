import type { Clock } from '../core/clock.ts';
import { PEERS_MAX } from '../core/limits.ts';
import { Allowance } from '../identity/allowance.ts';
import type { Seen } from './types.ts';

/** Names that one address may have at once, and how soon another one may be new there when it has used them up: one a minute. */
export const NAMES_PER_ADDRESS = 32;
export const NEW_NAME_MS = 60_000;

interface Known extends Seen {
  readonly address: string;
  readonly until: number;
}

/**
 * Who says on a link that he is there. Nobody there has proved anything, so each address speaks for itself alone: it can neither take a
 * name that another one has, nor end it, nor push others out; and because everybody that is new is waited for a little, it cannot be
 * new again and again, under other names or on other ports.
 */
export class Crowd {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  /** By URL: the name that was new there last, and when. */
  readonly #places = new Map<string, { readonly instance: string; readonly since: number }>();
  readonly #names: Allowance;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#names = new Allowance(NAMES_PER_ADDRESS, 1_000 / NEW_NAME_MS, () => clock.now());
  }

  get size(): number {
    return this.#known.size;
  }

  get seen(): readonly Seen[] {
    this.#expire();
    return [...this.#known.values()].map(({ instance, url, role }) => ({ instance, url, role }));
  }

  /** `address` says that `seen` is there, for `lifeMs`. */
  heard(seen: Seen, address: string, lifeMs: number): void {
    const now = this.#clock.now();
    const known = this.#known.get(seen.instance);
    if (known === undefined || known.until <= now || known.url !== seen.url) {
      if (known !== undefined && known.until > now && known.address !== address) return;
      if (!this.#mayBeNew(seen, address, now)) return;
    }
    this.#known.delete(seen.instance);
    this.#known.set(seen.instance, { ...seen, address, until: now + lifeMs });
    if (this.#known.size > PEERS_MAX) this.#makeRoom();
  }

  /** `address` says that `instance` is gone. */
  left(instance: string, address: string): void {
    if (this.#known.get(instance)?.address === address) this.#known.delete(instance);
  }

  #mayBeNew({ instance, url }: Seen, address: string, now: number): boolean {
    const place = this.#places.get(url);
    // Another name at the same place is a host that has begun anew, which is rare: names outlive restarts.
    const changes = place !== undefined && place.instance !== instance;
    if (changes && now - place.since < NEW_NAME_MS) return false;
    if (place?.instance !== instance && !this.#names.take(address)) return false;
    if (changes) this.#known.delete(place.instance);
    this.#places.delete(url);
    this.#places.set(url, { instance, since: now });
    for (const oldest of this.#places.keys()) {
      if (this.#places.size <= 2 * PEERS_MAX) break;
      this.#places.delete(oldest);
    }
    return true;
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const [instance, { until }] of this.#known) if (until <= now) this.#known.delete(instance);
  }

  /** Of the address that has most places the one goes that was heard longest ago. */
  #makeRoom(): void {
    this.#expire();
    if (this.#known.size <= PEERS_MAX) return;
    const counts = new Map<string, number>();
    for (const { address } of this.#known.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    for (const [instance, { address }] of this.#known) {
      if (counts.get(address) !== most) continue;
      this.#known.delete(instance);
      return;
    }
  }
}
