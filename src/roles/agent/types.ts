import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import type { AgentTorrentOptions } from './torrents.ts';
import type { NamedHosts } from '../device/named.ts';
import type { Ledger } from '../../exchange/ledger.ts';
import type { Evidence } from '../../exchange/standing.ts';
import type { SurfaceOptions } from '../../serve/surface.ts';
import type { TrafficLimits } from '../traffic.ts';
import type { DhtWay, WaysToFind } from '../discover.ts';
import type { Files } from '../../store/files.ts';

/** A product that an agent keeps up to date. */
export interface FollowedProduct {
  readonly product: string;
  /** A file for releases of one artifact; for those of several a link to a directory, replaced as a whole. */
  readonly output: string;
  /** Older files, besides the one in place, that may have some of the content. */
  readonly bases?: readonly string[];
}

/** What an agent tells of its work. */
export type AgentEvent =
  | { readonly event: 'updating'; readonly product: string; readonly version: string; readonly sequence: number }
  | { readonly event: 'installed'; readonly manifest: ReleaseManifest; readonly paths: readonly string[]; readonly ledger: Ledger }
  | { readonly event: 'delta-dropped'; readonly base: ObjectId; readonly target: ObjectId; readonly reason: string }
  | { readonly event: 'lie'; readonly evidence: Evidence };

export interface AgentOptions extends NamedHosts {
  readonly products: readonly FollowedProduct[];
  /**
   * Where `shoal enroll` put this device's identity. With it, it talks TLS with the fleet's certificates, and serves
   * neighbours of its site and its products; without, it may listen on loopback only.
   */
  readonly identity?: string;
  /** Listens, and talks to named hosts, without TLS outside this machine. */
  readonly insecureHttp?: boolean;
  /** Devices of one site are told of each other. Default: that of its identity, else `default`. */
  readonly site?: string;
  /** Finds neighbours and gateways on the LAN. Without an identity anybody there can offer to serve, and see that somebody asks. */
  readonly mdns?: WaysToFind['mdns'];
  /** Finds them by the fleet's own hash table. */
  readonly dht?: DhtWay;
  /** The provisioned root.json. */
  readonly trustedRoot: Uint8Array;
  /** Where metadata, marks and what is installed are kept. One agent at a time. */
  readonly state: string;
  readonly hardware?: readonly string[];
  /**
   * Proves what was written by reading it from the medium itself, past what the system remembers of it; takes as long as the medium takes to
   * read all of it once more. An update fails with `MEDIUM_UNREADABLE` before anything is fetched where that cannot be had (Linux, native kernel, a
   * file system with O_DIRECT). Default: no.
   */
  readonly fromMedium?: boolean;
  readonly listen: { readonly host: string; readonly port: number };
  /** The URL at which neighbours reach this agent. Default: where it listens. */
  readonly advertise?: string;
  /** How often to ask for news, milliseconds, some percent more or less each time. Default five minutes. */
  readonly pollMs?: number;
  readonly version: string;
  readonly limits?: SurfaceOptions['limits'];
  /** How much it may fetch and send at a time. */
  readonly traffic?: TrafficLimits;
  /** Takes part in the torrents of its releases, among clients that know no certificates. Default: no. */
  readonly torrent?: AgentTorrentOptions;
  readonly clock?: Clock;
  readonly files?: Files;
  /** The time of day, milliseconds since the epoch. */
  readonly today?: () => number;
  readonly random?: () => number;
  readonly onEvent?: (event: AgentEvent) => void;
  readonly onProgress?: (product: string, done: number, total: number) => void;
  /** Told what went wrong; the agent tries again at its next turn. */
  readonly onError?: (error: unknown, where: string) => void;
}

/** What an agent received and served since its start. Bytes, heads included. */
export interface AgentLedger {
  readonly received: Ledger;
  readonly served: { readonly content: number; readonly control: number; readonly requests: number };
  /** Content to and from stock BitTorrent clients; what came is in `received` as well. */
  readonly torrents?: { readonly received: number; readonly sent: number };
}

export interface Agent {
  readonly url: string;
  /** Where stock BitTorrent clients reach it. */
  readonly torrentPort?: number;
  ledger(): AgentLedger;
  /** Asks for news now, and returns when whatever there was has been dealt with. */
  poll(): Promise<void>;
  /** Ends gracefully: an update that is under way is broken off and goes on at the next start. */
  close(): Promise<void>;
}
