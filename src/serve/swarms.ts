import { isIPv4 } from 'node:net';
import { SWARM_INTERVAL_S, SWARM_MAX_PEERS, SWARM_MAX_TOLD, SWARM_MAX_TORRENTS } from '../core/limits.ts';

/** What a stock client says to a tracker (BEP 3, "Trackers"). */
export interface Announce {
  /** 40 hexadecimal digits. */
  readonly infoHash: string;
  /** 40 hexadecimal digits. */
  readonly peerId: string;
  readonly address: string;
  readonly port: number;
  readonly complete: boolean;
  readonly stopped: boolean;
  readonly wanted: number;
}

interface SwarmPeer {
  readonly address: string;
  readonly port: number;
  readonly complete: boolean;
  readonly until: number;
}

export interface SwarmAnswer {
  readonly complete: number;
  readonly incomplete: number;
  /** BEP 23: four bytes of address and two of port each. */
  readonly peers: Uint8Array;
}

/** Two intervals and a half: who did not come back by then is gone. */
const LIFE_MS = SWARM_INTERVAL_S * 2_500;

/** Which stock clients have said lately that they take part in which torrent. In memory, bounded, IPv4. */
export class Swarms {
  readonly #now: () => number;
  readonly #swarms = new Map<string, Map<string, SwarmPeer>>();

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  announce({ infoHash, peerId, address, port, complete, stopped, wanted }: Announce): SwarmAnswer {
    const peers = this.#swarms.get(infoHash) ?? new Map<string, SwarmPeer>();
    this.#swarms.delete(infoHash);
    this.#swarms.set(infoHash, peers);
    this.#trim(this.#swarms, SWARM_MAX_TORRENTS);
    const now = this.#now();
    for (const [id, { until }] of peers) if (until <= now) peers.delete(id);
    // One address is one client: whoever makes up peer ids takes no more places by it.
    const mine = `${address} ${String(port)}`;
    peers.delete(mine);
    const others = [...peers.values()].reverse();
    if (!stopped && isIPv4(address) && port > 0 && peerId !== '') {
      peers.set(mine, { address, port, complete, until: now + LIFE_MS });
      this.#trim(peers, SWARM_MAX_PEERS);
    }
    const told = stopped ? [] : others.filter((peer) => !complete || !peer.complete).slice(0, Math.min(wanted, SWARM_MAX_TOLD));
    return { ...this.counts(infoHash), peers: Buffer.concat(told.map((peer) => compact(peer))) };
  }

  /** How many have all of it, and how many do not. */
  counts(infoHash: string): { readonly complete: number; readonly incomplete: number } {
    const now = this.#now();
    const peers = [...(this.#swarms.get(infoHash)?.values() ?? [])].filter(({ until }) => until > now);
    const complete = peers.filter((peer) => peer.complete).length;
    return { complete, incomplete: peers.length - complete };
  }

  /** Who came back longest ago goes first. */
  #trim(map: Map<string, unknown>, most: number): void {
    for (const oldest of map.keys()) {
      if (map.size <= most) return;
      map.delete(oldest);
    }
  }
}

function compact({ address, port }: SwarmPeer): Uint8Array {
  return Uint8Array.from([...address.split('.').map(Number), port >> 8, port & 255]);
}
