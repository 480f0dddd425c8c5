/**
 * So many at once, then so many a second, for each name: token buckets in a bounded map. A name that is forgotten begins
 * anew, so `most` is far above what one attacker can have of what names are.
 */
export class Allowance {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #now: () => number;
  readonly #most: number;
  readonly #spent = new Map<string, { spent: number; at: number }>();

  constructor(burst: number, perSecond: number, now: () => number, most = 4_096) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#now = now;
    this.#most = most;
  }

  /** Whether one more would be allowed. */
  left(name: string): boolean {
    return this.#level(name) + 1 <= this.#burst;
  }

  /** Takes one; says whether it was allowed. What is refused costs nothing. */
  take(name: string): boolean {
    const level = this.#level(name);
    if (level + 1 > this.#burst) return false;
    this.#spent.delete(name);
    this.#spent.set(name, { spent: level + 1, at: this.#now() });
    for (const oldest of this.#spent.keys()) {
      if (this.#spent.size <= this.#most) break;
      this.#spent.delete(oldest);
    }
    return true;
  }

  #level(name: string): number {
    const known = this.#spent.get(name);
    if (known === undefined) return 0;
    return Math.max(0, known.spent - (this.#now() - known.at) * this.#perMs);
  }
}

/** One name for what one host can choose among: an IPv4 address, or the /64 an IPv6 address is in. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::', 2) ?? [];
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const all = tail === undefined ? groups : [...groups, ...Array.from({ length: Math.max(0, 8 - groups.length - after.length) }, () => '0'), ...after];
  return all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}
