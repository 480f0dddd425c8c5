import type { Clock } from '../core/clock.ts';
import { ShoalError, messageOf } from '../core/errors.ts';
import { DHT_ANNOUNCE_MS, DHT_ASK_LEAST_MS, DHT_FIRST_MS, DHT_IDENTIFY_AT_ONCE, DHT_IDENTIFY_MS, DHT_NODES_KEPT, DHT_RECORDS_MAX, DHT_RECORD_MS, DHT_WINDOW_EDGE_MS, DHT_WINDOW_MS, PEERS_MAX } from '../core/limits.ts';
import { SealedSocket, windowKey } from './sealed-socket.ts';
import type { Discovery, Seen } from './types.ts';

/**
 * Neighbours by a distributed hash table of the fleet's own (Kademlia with BEP 5's messages, `bittorrent-dht`), where there is
 * neither tracker nor multicast. Every datagram is sealed with the fleet's secret, so whoever has not got it can neither take
 * part nor read; a site is found under a keyed hash of its name that changes every hour. An announcement is an address and a port.
 */
export interface DhtNodeOptions {
  /** Shared by the fleet; 32 bytes or more. */
  readonly secret: Uint8Array;
  readonly listen: { readonly host: string; readonly port: number };
  /** Nodes to begin with, `HOST:PORT`: those of the fleet that have a fixed place. */
  readonly nodes: readonly string[];
  readonly clock: Clock;
  /** The time of day, milliseconds since the epoch. */
  readonly today: () => number;
}

export interface DhtOptions extends DhtNodeOptions {
  readonly site: string;
  /** Port of this host's HTTP surface. */
  readonly port: number;
  readonly instance: string;
  readonly secure: boolean;
  /** Asks the host at a URL what it is; undefined when nobody of ours answers there. */
  readonly identify: (url: string) => Promise<Pick<Seen, 'instance' | 'role'> | undefined>;
  /** Told now and then which nodes there are, to begin with the next time. */
  readonly onNodes?: (nodes: readonly string[]) => void;
}

/** What is used of `bittorrent-dht`, which has no types of its own. */
interface Dht {
  listen(port: number, address: string, listening: () => void): void;
  address(): { readonly port: number };
  announce(infoHash: Buffer, port: number, done: (error: Error | null) => void): void;
  lookup(infoHash: Buffer, done: (error: Error | null) => void): void;
  toJSON(): { readonly nodes: readonly { readonly host: string; readonly port: number }[] };
  on(event: 'peer', listener: (peer: { readonly host: string; readonly port: number }) => void): void;
  on(event: 'error' | 'warning', listener: (error: Error) => void): void;
  once(event: 'error', listener: (error: Error) => void): void;
  removeListener(event: 'error', listener: (error: Error) => void): void;
  destroy(done: () => void): void;
}

const BITTORRENT_DHT: string = 'bittorrent-dht';

/** A node of the fleet's hash table: it keeps and answers what others say, and says nothing of its own. */
export interface DhtNode {
  readonly port: number;
  /** Bytes without IP and UDP heads, and datagrams that were dropped. */
  readonly totals: Readonly<{ sent: number; received: number; dropped: number }>;
  close(): Promise<void>;
}

/** Throws `DISCOVERY` when the port cannot be had. */
export async function startDhtNode(options: DhtNodeOptions): Promise<DhtNode> {
  return new RunningNode(...(await openDht(options)));
}

/** Announces a host and finds the others of its site. Throws `DISCOVERY` when the port cannot be had. */
export async function startDht(options: DhtOptions): Promise<Discovery & Pick<DhtNode, 'port' | 'totals'>> {
  return new DhtDiscovery(options, ...(await openDht(options)));
}

async function openDht({ secret, listen, nodes, clock, today }: DhtNodeOptions): Promise<[Dht, SealedSocket]> {
  const { Client } = (await import(BITTORRENT_DHT)) as { readonly Client: new (options: Readonly<Record<string, unknown>>) => Dht };
  const socket = new SealedSocket(secret, clock, today);
  // Never the library's own list of public nodes, which an empty one is not.
  const dht = new Client({ socket, bootstrap: [...nodes], maxAge: DHT_RECORD_MS, maxPeers: DHT_RECORDS_MAX, maxTables: 64, maxValues: 1 });
  try {
    await new Promise<void>((resolve, reject) => {
      dht.once('error', reject);
      dht.listen(listen.port, listen.host, () => {
        dht.removeListener('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    await new Promise<void>((resolve) => { dht.destroy(resolve); });
    throw new ShoalError('DISCOVERY', `the hash table of the fleet cannot be used: ${messageOf(cause)}`, { cause, ids: { host: listen.host, port: listen.port }, hint: 'Another program may hold the UDP port.' });
  }
  // A host that is away, a full buffer: nothing that ends discovery.
  for (const event of ['error', 'warning'] as const) dht.on(event as 'error', () => undefined);
  return [dht, socket];
}

class RunningNode implements DhtNode {
  readonly #dht: Dht;
  readonly #socket: SealedSocket;

  constructor(dht: Dht, socket: SealedSocket) {
    this.#dht = dht;
    this.#socket = socket;
  }

  get port(): number {
    return this.#dht.address().port;
  }

  get totals(): DhtNode['totals'] {
    return this.#socket.totals;
  }

  close(): Promise<void> {
    return new Promise((resolve) => { this.#dht.destroy(resolve); });
  }
}

/** A host at an address that somebody announced, as far as it was asked. */
interface Found {
  readonly until: number;
  /** When it may be asked again. */
  readonly again: number;
  readonly seen: Seen | undefined;
}

class DhtDiscovery extends RunningNode implements Discovery {
  readonly #options: DhtOptions;
  readonly #dht: Dht;
  readonly #found = new Map<string, Found>();
  #asking = 0;
  #asked = -Infinity;
  #pause = DHT_FIRST_MS;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: DhtOptions, dht: Dht, socket: SealedSocket) {
    super(dht, socket);
    this.#options = options;
    this.#dht = dht;
    dht.on('peer', ({ host, port }) => { this.#hear(`${options.secure ? 'https' : 'http'}://${host}:${String(port)}`); });
    this.#announce();
  }

  get seen(): readonly Seen[] {
    const now = this.#options.clock.now();
    for (const [url, { until }] of this.#found) if (until <= now) this.#found.delete(url);
    return [...this.#found.values()].flatMap(({ seen }) => seen ?? []);
  }

  ask(): void {
    const now = this.#options.clock.now();
    if (this.#closed || now - this.#asked < DHT_ASK_LEAST_MS) return;
    this.#asked = now;
    for (const key of this.#keys()) {
      // A look first: the library would announce to those whom it met minutes ago, and find nobody new by it.
      this.#dht.lookup(key, () => {
        if (!this.#closed) this.#dht.announce(key, this.#options.port, () => undefined);
      });
    }
  }

  override close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    this.#tellNodes();
    return super.close();
  }

  /** At once, then ever more rarely, but before what was said is forgotten. */
  #announce(): void {
    this.#asked = -Infinity;
    this.ask();
    this.#cancel = this.#options.clock.after(this.#pause, () => {
      this.#pause = Math.min(2 * this.#pause, DHT_ANNOUNCE_MS);
      this.#tellNodes();
      this.#announce();
    });
  }

  /** Where the site is found now: near the end of an hour in two places, for clocks differ. */
  #keys(): Buffer[] {
    const { secret, site, secure, today } = this.#options;
    const windows = new Set([-DHT_WINDOW_EDGE_MS, DHT_WINDOW_EDGE_MS].map((edge) => Math.floor((today() + edge) / DHT_WINDOW_MS)));
    return [...windows].map((window) => windowKey(secret, `site ${site}${secure ? ' tls' : ''}`, window).subarray(0, 20));
  }

  /** Somebody said that a host of the site is at `url`. It is asked itself, or it is nobody. */
  #hear(url: string): void {
    const { clock, identify, instance } = this.#options;
    const now = clock.now();
    const known = this.#found.get(url);
    if (this.#closed) return;
    if (known !== undefined && known.again > now) {
      if (known.seen !== undefined) this.#note(url, { ...known, until: now + DHT_RECORD_MS });
      return;
    }
    if (this.#asking >= DHT_IDENTIFY_AT_ONCE) return;
    this.#asking++;
    this.#note(url, { until: now + DHT_RECORD_MS, again: now + DHT_IDENTIFY_MS, seen: known?.seen });
    void identify(url).catch(() => undefined).then((who) => {
      this.#asking--;
      const seen = who === undefined || who.instance === instance ? undefined : { ...who, url };
      const after = clock.now();
      if (!this.#closed) this.#note(url, { until: after + DHT_RECORD_MS, again: after + DHT_IDENTIFY_MS, seen });
    });
  }

  #note(url: string, found: Found): void {
    this.#found.delete(url);
    this.#found.set(url, found);
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= PEERS_MAX) break;
      this.#found.delete(oldest);
    }
  }

  #tellNodes(): void {
    const nodes = this.#dht.toJSON().nodes.slice(0, DHT_NODES_KEPT).map(({ host, port }) => `${host}:${String(port)}`);
    if (nodes.length > 0) this.#options.onNodes?.(nodes);
  }
}
