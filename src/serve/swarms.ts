import { isIPv4 } from 'node:net';
import { SWARM_INTERVAL_S, SWARM_MAX_PEERS, SWARM_MAX_TOLD, SWARM_PEERS_PER_ADDRESS, SWARM_MAX_TORRENTS } from '../core/limits.ts';

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
    // One address and port is one client: whoever makes up peer ids takes no more places by it, and whoever makes up ports takes his own.
    const mine = `${address} ${String(port)}`;
    peers.delete(mine);
    const same: string[] = [];
    for (const [id, peer] of peers) {
      if (peer.until <= now) peers.delete(id);
      else if (peer.address === address) same.push(id);
    }
    const others = stopped ? [] : [...peers.values()];
    if (!stopped && isIPv4(address) && port > 0 && peerId !== '') {
      for (const oldest of same.slice(0, Math.max(0, same.length - SWARM_PEERS_PER_ADDRESS + 1))) peers.delete(oldest);
      peers.set(mine, { address, port, complete, until: now + LIFE_MS });
      this.#trim(peers, SWARM_MAX_PEERS);
    }
    const told: SwarmPeer[] = [];
    // Who came last first: it is still there.
    for (let at = others.length - 1; at >= 0 && told.length < Math.min(wanted, SWARM_MAX_TOLD); at--) {
      const peer = others[at];
      if (peer !== undefined && !(complete && peer.complete)) told.push(peer);
    }
    return { ...this.counts(infoHash), peers: Buffer.concat(told.map((peer) => compact(peer))) };
  }

  /** How many have all of it, and how many do not. */
  counts(infoHash: string): { readonly complete: number; readonly incomplete: number } {
    const now = this.#now();
    let [complete, incomplete] = [0, 0];
    for (const peer of this.#swarms.get(infoHash)?.values() ?? []) {
      if (peer.until <= now) continue;
      if (peer.complete) complete++;
      else incomplete++;
    }
    return { complete, incomplete };
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
