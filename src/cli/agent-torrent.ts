import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import type { AgentTorrentOptions } from '../roles/agent/torrents.ts';
import { openProducts } from './serve.ts';
import { parseListen } from './values.ts';

export interface AgentTorrentFlags {
  readonly torrent?: string;
  readonly torrentProducts?: readonly string[];
  readonly torrentListen?: { readonly host: string; readonly port: number };
}

/** Adds the flags of an agent that takes part in torrents. */
export function withTorrents(command: Command): Command {
  return command
    .option('--torrent <url>', 'take part in the torrents that an origin offers there (shoal origin --torrent): fetch the --torrent-products from\nstock BitTorrent clients too, and send them to any, without TLS: whoever reaches it can fetch these products')
    .option('--torrent-products <name...>', 'products that anybody may have from here; "*": all')
    .option('--torrent-listen <host:port>', 'where such clients reach it (default: the host of --listen, any port)', parseListen);
}

/** Throws `BAD_USAGE`. */
export function torrentsOf({ torrent, torrentListen, torrentProducts }: AgentTorrentFlags, listen: { readonly host: string }): { readonly torrent?: AgentTorrentOptions } {
  if (torrent === undefined) {
    if (torrentProducts !== undefined || torrentListen !== undefined) throw new ShoalError('BAD_USAGE', '--torrent-products and --torrent-listen belong to --torrent URL');
    return {};
  }
  if (torrentProducts === undefined) throw new ShoalError('BAD_USAGE', '--torrent opens products to anybody: name them with --torrent-products');
  if (!/^https?:$/.test(URL.parse(torrent)?.protocol ?? '')) throw new ShoalError('BAD_USAGE', `${torrent.slice(0, 200)} is not a URL: give that of an origin's --torrent, for example http://downloads.example:8480`);
  return { torrent: { url: torrent, products: openProducts(torrentProducts), listen: torrentListen ?? { host: listen.host, port: 0 } } };
}
