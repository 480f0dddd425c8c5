import { randomBytes } from 'node:crypto';
import { BlockList, createServer, isIPv6 } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../core/clock.ts';
import { ShoalError, isShoalError, messageOf } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { TORRENT_MAX_CONNECTIONS, TORRENT_MAX_FILE_BYTES } from '../../core/limits.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { wire } from '../../core/wire.ts';
import type { Source } from '../../exchange/source.ts';
import { Crowd } from '../../exchange/torrent/crowd.ts';
import { hearGreeting } from '../../exchange/torrent/greet.ts';
import { layoutOf } from '../../exchange/torrent/layout.ts';
import type { TorrentLayout } from '../../exchange/torrent/layout.ts';
import { Swarm } from '../../exchange/torrent/swarm.ts';
import { announceTo } from '../../exchange/torrent/tracker.ts';
import type { TorrentContent } from '../../exchange/torrent/types.ts';
import { HttpUpstream } from '../../exchange/upstream.ts';
import { describeTorrent } from '../../publish/torrent.ts';
import { ArtifactBytes } from '../../serve/artifact-bytes.ts';
import type { FileContent } from '../../serve/file-content.ts';
import { isOpen } from '../../serve/open-products.ts';
import type { OpenProducts } from '../../serve/open-products.ts';
import type { Traffic } from '../traffic.ts';

/** How an agent takes part in the torrents of its releases. */
export interface AgentTorrentOptions {
  /** Where the origin answers stock clients (`shoal origin --torrent`): torrents and tracker. */
  readonly url: string;
  /** Where stock clients reach this device. Whoever does can have the products; port 0: any. */
  readonly listen: { readonly host: string; readonly port: number };
  /** The products that anybody may have from here. */
  readonly products: OpenProducts;
}

export interface AgentTorrentParts {
  readonly clock: Clock;
  readonly content: FileContent;
  readonly traffic: Traffic;
  readonly onError: (error: unknown) => void;
}

/** Until a torrent that could not be had is asked for again, doubling, milliseconds: its pieces may still be hashed. */
const AGAIN_FIRST_MS = 2_000;
const AGAIN_MOST_MS = 300_000;
/** Its first word to others, as clients have it (BEP 20). */
const CLIENT = '-SH0100-';

interface Followed {
  readonly product: string;
  readonly manifest: ReleaseManifest;
  swarm: Swarm | undefined;
  tries: number;
  cancel: () => void;
  gone: boolean;
}

/** The torrents of what an agent has or fetches: it is one client more in each, under one port. */
export class AgentTorrents {
  readonly #options: AgentTorrentOptions;
  readonly #parts: AgentTorrentParts;
  readonly #upstream: HttpUpstream;
  readonly #content: TorrentContent;
  readonly #server: Server;
  readonly #crowd = new Crowd();
  readonly #peerId = Buffer.concat([Buffer.from(CLIENT), randomBytes(12)]).toString('hex');
  readonly #followed = new Set<Followed>();
  readonly #greeting = new Set<Socket>();
  readonly #stop = new AbortController();
  #ended = { received: 0, sent: 0 };
  #complained = '';

  /** Throws `UNUSABLE_ADDRESS` when the port cannot be had. */
  static async open(options: AgentTorrentOptions, parts: AgentTorrentParts): Promise<AgentTorrents> {
    const torrents = new AgentTorrents(options, parts);
    const { host, port } = options.listen;
    await new Promise<void>((resolve, reject) => {
      torrents.#server.once('error', (cause) => {
        reject(new ShoalError('UNUSABLE_ADDRESS', `cannot listen for BitTorrent on ${host}:${String(port)}: ${cause.message}`, { cause, ids: { host, port } }));
      });
      torrents.#server.listen(port, host, resolve);
    });
    return torrents;
  }

  private constructor(options: AgentTorrentOptions, parts: AgentTorrentParts) {
    const { clock, content } = parts;
    this.#options = options;
    this.#parts = parts;
    this.#upstream = new HttpUpstream(options.url, clock);
    this.#content = contentOf(content);
    this.#server = createServer((socket) => void this.#greeted(socket));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections to stock clients. */
  get connections(): number {
    return this.#crowd.size;
  }

  /** Content that came and went, bytes. */
  get totals(): { readonly received: number; readonly sent: number } {
    let { received, sent } = this.#ended;
    for (const { swarm } of this.#followed) {
      received += swarm?.totals.received ?? 0;
      sent += swarm?.totals.sent ?? 0;
    }
    return { received, sent };
  }

  /** Takes part in the torrent of a release, if its product was opened and there is one. Returns at once. */
  follow(manifest: ReleaseManifest): void {
    const { product, sequence } = manifest;
    if (!isOpen(this.#options.products, product) || this.#stop.signal.aborted) return;
    for (const each of this.#followed) if (each.product === product && each.manifest.sequence === sequence) return;
    const followed: Followed = { product, manifest, swarm: undefined, tries: 0, gone: false, cancel: () => undefined };
    this.#followed.add(followed);
    void this.#join(followed);
  }

  /** Leaves the torrents of a product but for that of the release that is in place now. */
  async keep({ product, sequence }: ReleaseManifest): Promise<void> {
    for (const each of this.#followed) if (each.product === product && each.manifest.sequence !== sequence) await this.#leave(each);
  }

  /** Stock clients that send something of an artifact. */
  sources(root: ObjectId): readonly Source[] {
    return [...this.#followed].flatMap(({ swarm }) => (swarm?.layout.parts.some(({ key }) => key.root === root) === true ? swarm.sources : []));
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#server.close();
    for (const socket of this.#greeting) socket.destroy();
    await Promise.all([...this.#followed].map((each) => this.#leave(each)));
    await this.#upstream.close();
  }

  async #leave(followed: Followed): Promise<void> {
    followed.gone = true;
    followed.cancel();
    this.#followed.delete(followed);
    const { swarm } = followed;
    if (swarm === undefined) return;
    await swarm.close();
    this.#ended = { received: this.#ended.received + swarm.totals.received, sent: this.#ended.sent + swarm.totals.sent };
  }

  async #join(followed: Followed): Promise<void> {
    const { clock, traffic } = this.#parts;
    try {
      const layout = await this.#layoutOf(followed.manifest);
      if (followed.gone) return;
      followed.swarm = new Swarm({
        layout, clock,
        content: this.#content,
        crowd: this.#crowd,
        peerId: this.#peerId,
        port: this.port,
        isNear,
        limiters: traffic,
        upload: traffic.upload,
        announce: (report, signal) => announceTo(this.#upstream, wire.tracker, report, signal),
        onError: (error) => { this.#complain(error); },
      });
    } catch (error) {
      if (followed.gone) return;
      this.#complain(error);
      followed.cancel = clock.after(Math.min(AGAIN_MOST_MS, AGAIN_FIRST_MS * 2 ** followed.tries++), () => void this.#join(followed), 'background');
    }
  }

  async #layoutOf({ artifacts, namespace, product, version }: ReleaseManifest): Promise<TorrentLayout> {
    const { status, body } = await this.#upstream.get('control', wire.torrent(product, version), TORRENT_MAX_FILE_BYTES, {}, this.#stop.signal);
    if (status === 200) return layoutOf(await describeTorrent(body), namespace, artifacts);
    throw new ShoalError('NO_TORRENT', status === 404 ? `${this.#upstream.url} offers no torrent of ${product} ${version}` : `${this.#upstream.url} answered ${String(status)} for the torrent of ${product} ${version}`, {
      ids: { product, version, status }, retry: 'again', hint: 'Is the product among --torrent-products of the origin?',
    });
  }

  async #greeted(socket: Socket): Promise<void> {
    const host = plainAddress(socket.remoteAddress);
    const port = socket.remotePort;
    if (host === undefined || port === undefined || this.#greeting.size >= TORRENT_MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    this.#greeting.add(socket);
    const greeted = await hearGreeting(socket, this.#parts.clock);
    this.#greeting.delete(socket);
    if (greeted === undefined) return;
    const swarm = [...this.#followed].find((each) => each.swarm?.layout.infoHash === greeted.greeting.infoHash)?.swarm;
    if (swarm === undefined) socket.destroy();
    else swarm.take(greeted, { host, port });
  }

  /** The same again and again is said once. */
  #complain(error: unknown): void {
    if (this.#stop.signal.aborted || messageOf(error) === this.#complained) return;
    this.#complained = messageOf(error);
    this.#parts.onError(error);
  }
}

/** What a device has, as far as it has arrived. */
function contentOf(content: FileContent): TorrentContent {
  const bytes = new ArtifactBytes(content);
  return {
    spans: async (key) => (await content.holding(key))?.spans.size ?? 0,
    has: async (key, from, to) => {
      try {
        return await bytes.has(key, from, to);
      } catch (error) {
        // Its index has not come that far.
        if (isShoalError(error, 'NO_SUCH_PAGE')) return false;
        throw error;
      }
    },
    read: (key, from, to) => bytes.read(key, from, to),
  };
}

/** IPv4 as such, also where a listener for both sees it inside IPv6. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.)/i, '');
}

/** Whether an address is on a network that this device has an address on. */
function isNear(host: string): boolean {
  const near = new BlockList();
  for (const { address, cidr, family } of Object.values(networkInterfaces()).flatMap((each) => each ?? [])) {
    const bits = Number(cidr?.split('/')[1]);
    if (Number.isInteger(bits) && bits > 0) near.addSubnet(address, bits, family === 'IPv6' ? 'ipv6' : 'ipv4');
  }
  return near.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}
