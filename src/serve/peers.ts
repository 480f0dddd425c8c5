import type { ObjectId } from '../core/ids.ts';
import { ANNOUNCE_TTL_MS, PEERS_MAX, SITES_MAX } from '../core/limits.ts';

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

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Says whether it was taken: what one device announced, no other can change while it stands. */
  announce(site: string, peer: Peer, owner?: string): boolean {
    const peers = this.#sites.get(site) ?? new Map<string, Announced>();
    const before = peers.get(peer.instance);
    if (before !== undefined && before.owner !== owner && before.until > this.#now()) return false;
    peers.delete(peer.instance);
    peers.set(peer.instance, { peer, owner, until: this.#now() + ANNOUNCE_TTL_MS });
    this.#trim(peers, PEERS_MAX);
    this.#sites.delete(site);
    this.#sites.set(site, peers);
    this.#trim(this.#sites, SITES_MAX);
    return true;
  }

  /** Those announced within the last five minutes, the latest last. */
  at(site: string): readonly Peer[] {
    const peers = this.#sites.get(site);
    if (peers === undefined) return [];
    for (const [instance, { until }] of peers) if (until <= this.#now()) peers.delete(instance);
    if (peers.size === 0) this.#sites.delete(site);
    return [...peers.values()].map(({ peer }) => peer);
  }

  /** What was announced longest ago goes first. */
  #trim(map: Map<string, unknown>, most: number): void {
    for (const oldest of map.keys()) {
      if (map.size <= most) return;
      map.delete(oldest);
    }
  }
}
