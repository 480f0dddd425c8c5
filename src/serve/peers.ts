import type { ObjectId } from '../core/ids.ts';
import { ANNOUNCED_BY_DEVICE, ANNOUNCED_MAX, ANNOUNCE_TTL_MS, PEERS_MAX, SITES_MAX } from '../core/limits.ts';

/** A host of a site, as it announced itself. */
export interface Peer {
  readonly instance: string;
  /** Where its HTTP surface is. */
  readonly url: string;
  /** Roots it holds in part or whole. */
  readonly roots: readonly ObjectId[];
}

/** The hosts of a site, as a host knows them. */
export interface SitePeers {
  /** Says whether it was taken. */
  announce(site: string, peer: Peer, owner?: string): boolean;
  at(site: string): readonly Peer[];
}

interface Announced {
  readonly peer: Peer;
  /** The device that announced it, where devices are known. */
  readonly owner: string | undefined;
  readonly until: number;
}

/** Who said lately that they are at a site. In memory: after a restart hosts announce themselves again. */
export class PeerRegistry implements SitePeers {
  readonly #now: () => number;
  readonly #sites = new Map<string, Map<string, Announced>>();
  /** Hosts and roots that are remembered. */
  #size = 0;

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Says whether it was taken: what one device announced, no other can change while it stands. */
  announce(site: string, peer: Peer, owner?: string): boolean {
    const peers = this.#sites.get(site) ?? new Map<string, Announced>();
    const before = peers.get(peer.instance);
    if (before !== undefined && before.owner !== owner && before.until > this.#now()) return false;
    this.#forget(peers, peer.instance);
    peers.set(peer.instance, { peer, owner, until: this.#now() + ANNOUNCE_TTL_MS });
    this.#size += sizeOf(peer);
    // Nobody who makes up names pushes the others of a site out.
    const own = owner === undefined ? [] : [...peers].filter(([, each]) => each.owner === owner);
    for (const [oldest] of own.slice(0, Math.max(0, own.length - ANNOUNCED_BY_DEVICE))) this.#forget(peers, oldest);
    for (const oldest of peers.keys()) {
      if (peers.size <= PEERS_MAX) break;
      this.#forget(peers, oldest);
    }
    this.#sites.delete(site);
    this.#sites.set(site, peers);
    // What was announced longest ago goes first; one site alone is never too large.
    for (const [oldest, all] of this.#sites) {
      if (this.#sites.size <= SITES_MAX && this.#size <= ANNOUNCED_MAX) break;
      for (const instance of all.keys()) this.#forget(all, instance);
      this.#sites.delete(oldest);
    }
    return true;
  }

  /** Those announced within the last five minutes, the latest last. */
  at(site: string): readonly Peer[] {
    const peers = this.#sites.get(site);
    if (peers === undefined) return [];
    for (const [instance, { until }] of peers) if (until <= this.#now()) this.#forget(peers, instance);
    if (peers.size === 0) this.#sites.delete(site);
    return [...peers.values()].map(({ peer }) => peer);
  }

  #forget(peers: Map<string, Announced>, instance: string): void {
    const known = peers.get(instance);
    if (known !== undefined) this.#size -= sizeOf(known.peer);
    peers.delete(instance);
  }
}

function sizeOf({ roots }: Peer): number {
  return 1 + roots.length;
}
