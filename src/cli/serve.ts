import { Option } from 'commander';
import type { Command } from 'commander';
import { ShoalError } from '../core/errors.ts';
import { parseName } from '../core/names.ts';
import { expectPassingBuffers } from '../kernel/heap.ts';
import type { OpenListenerOptions } from '../roles/origin/open-listener.ts';
import type { OpenProducts } from '../serve/open-products.ts';
import { DEFAULT_HOME, byteCount, listenOption, parseListen, wholeNumber } from './values.ts';
import { limitsOf, withGentle, withLimits } from './limits.ts';
import type { LimitFlags } from './limits.ts';
import { emit, say, untilToldToEnd } from './output.ts';
import { dhtOf, withDht } from './dht.ts';
import type { DhtFlags } from './dht.ts';
import { tokensIn } from './upload.ts';

interface Running {
  readonly url: string;
  /** Where stock BitTorrent clients are answered. */
  readonly torrents?: string;
  /** Where an agent is one of these. */
  readonly torrentPort?: number;
  /** UDP port of its node of the hash table. */
  readonly dhtPort?: number;
  ledger(): unknown;
  close(): Promise<void>;
}

export async function runUntilTold(role: string, running: Running): Promise<void> {
  say(`${role} at ${running.url}; stop it with Ctrl-C.`);
  if (running.torrents !== undefined) say(`torrents at ${running.torrents}/v1/torrents`);
  emit({ event: 'ready', role, url: running.url, ...(running.torrents === undefined ? {} : { torrents: running.torrents }), ...(running.torrentPort === undefined ? {} : { torrentPort: running.torrentPort }), ...(running.dhtPort === undefined ? {} : { dhtPort: running.dhtPort }) });
  await untilToldToEnd();
  await running.close();
  emit({ event: 'end', role, ledger: running.ledger() });
}

/** A gateway waits a minute for one before it that is about to end: whoever looks on wants to know. Milliseconds. */
const SILENT_MS = 3_000;

interface MdnsFlags {
  readonly mdns?: string | boolean;
  readonly identity?: string;
  readonly listen: { readonly host: string };
}

/** Multicast DNS: as it was asked for; else where neighbours prove who they are and can reach us at all. */
export function mdnsOf({ mdns, identity, listen }: MdnsFlags): { readonly mdns?: { readonly interface?: string; readonly optional?: boolean } } {
  if (mdns === false) return {};
  if (typeof mdns === 'string') return { mdns: { interface: mdns } };
  if (mdns === true) return { mdns: {} };
  const outside = !/^(localhost|127\..*|::1)$/.test(listen.host);
  return identity !== undefined && outside ? { mdns: { optional: true } } : {};
}

export function complain(error: unknown, where: string): void {
  say(`shoal: ${where}: ${error instanceof Error ? error.message : String(error)}`);
}

/** The price of the flag stands where it is asked for. */
export const INSECURE_LISTEN = 'listen outside this machine without TLS: whoever reaches the port can fetch, whoever is on the way can see what';

interface TorrentFlags {
  readonly torrent?: { readonly host: string; readonly port: number };
  readonly torrentProducts?: readonly string[];
  readonly torrentUrl?: string;
}

/** Products are opened by name: nobody opens one by accident. */
function torrentOf({ torrent, torrentProducts, torrentUrl }: TorrentFlags): { readonly torrent?: OpenListenerOptions } {
  if (torrent === undefined) {
    if (torrentProducts !== undefined || torrentUrl !== undefined) throw new ShoalError('BAD_USAGE', '--torrent-products and --torrent-url belong to --torrent HOST:PORT');
    return {};
  }
  if (torrentProducts === undefined) throw new ShoalError('BAD_USAGE', '--torrent opens products to anybody: name them with --torrent-products');
  if (torrentUrl !== undefined && !/^https?:$/.test(URL.parse(torrentUrl)?.protocol ?? '')) throw new ShoalError('BAD_USAGE', `${torrentUrl.slice(0, 200)} is not a URL`);
  const products = openProducts(torrentProducts);
  return { torrent: { listen: torrent, products, ...(torrentUrl === undefined ? {} : { url: torrentUrl }) } };
}

/** Products as `--torrent-products` names them. Throws `BAD_NAME`. */
export function openProducts(names: readonly string[]): OpenProducts {
  return names.includes('*') ? 'all' : new Set(names.map((name) => parseName('product', name)));
}

export function addOrigin(program: Command, version: string): void {
  const command = program
    .command('origin')
    .summary('serve releases')
    .description('Serve releases: metadata, index pages, spans. Signs timestamp and snapshot anew when they are due.')
    .option('--home <dir>', 'home of the server', DEFAULT_HOME)
    .addOption(listenOption('address', 8470))
    .option('--json', 'failures as a JSON object too; results are JSON lines anyway')
    .option('--upload-token <file>', 'take uploads from whoever has the token in this file; it is made when there is none')
    .option('--tls', 'speak TLS on loopback as well')
    .option('--name <host...>', 'further names and addresses in its certificate, for clients that know no fleets')
    .option('--insecure-http', INSECURE_LISTEN)
    .option('--torrent <host:port>', 'offer stock BitTorrent clients the --torrent-products here, without TLS: torrents, web seed, tracker;\nwhoever reaches this address can fetch these products', parseListen)
    .option('--torrent-products <name...>', 'products that anybody may have there; "*": all')
    .option('--torrent-url <url>', 'where clients reach that from outside (default: the host they ask for)');
  withDht(command)
    .addHelpText('after', '\nOn loopback it speaks plain HTTP, for this machine and for a proxy in front of it. Everywhere else it speaks TLS 1.3 with\ncertificates of the fleet: devices enrol first (shoal token, shoal enroll).\n\nExamples:\n  shoal origin --home fleet --listen 0.0.0.0:8470\n  shoal origin --home server --upload-token server/upload.token\n  shoal origin --home fleet --listen 0.0.0.0:8470 --torrent 0.0.0.0:8480 --torrent-products os-images')
    .action(async (options: { home: string; listen: { host: string; port: number }; uploadToken?: string; tls?: boolean; name?: string[]; insecureHttp?: boolean } & TorrentFlags & DhtFlags) => {
      expectPassingBuffers();
      const torrent = torrentOf(options);
      const { startHomeOrigin } = await import('../roles/home-origin.ts');
      const uploadTokens = options.uploadToken === undefined ? [] : await tokensIn(options.uploadToken);
      const { sentence } = await import('./deltas.ts');
      const onDelta = (outcome: Parameters<typeof sentence>[0]): void => say(sentence(outcome));
      await runUntilTold('origin', await startHomeOrigin({ home: options.home, listen: options.listen, version, uploadTokens, onDelta, onError: complain, names: options.name ?? [], ...torrent, ...(await dhtOf(options, true)), ...(options.tls === undefined ? {} : { tls: options.tls }), ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }) }));
    });
}

export function addGateway(program: Command, version: string): void {
  const command = program
    .command('gateway')
    .summary('fetch once for a site, keep, serve')
    .description('Fetch what devices of a site ask for once, verify it, keep it, serve it.')
    .requiredOption('--origin <url>', 'where to fetch from')
    .requiredOption('--cache <dir>', 'where to keep it')
    .addOption(new Option('--max-size <bytes>', 'most the cache may take on disk, such as 500M or 20G').argParser(byteCount).default(10_000_000_000, '10000000000'))
    .option('--poll <seconds>', 'ask the origin for news at most this often', wholeNumber(0), 300)
    .addOption(listenOption('address', 8471))
    .option('--identity <dir>', 'its identity (shoal enroll, with a token of --role gateway): TLS with the fleet')
    .option('--mdns [address]', 'let agents find it on the LAN by multicast DNS (on the interface with this address); with an identity\nthis is on wherever it listens outside this machine')
    .option('--no-mdns', 'never use multicast DNS')
    .option('--insecure-http', `${INSECURE_LISTEN}; also talk to the origin so`)
    .option('--json', 'failures as a JSON object too; results are JSON lines anyway');
  withDht(withGentle(withLimits(command, 'download', 'upload')))
    .addHelpText('after', '\nExample:\n  shoal gateway --origin https://origin.example:8470 --identity /var/lib/shoal/identity --listen 0.0.0.0:8471 \\\n                --cache /var/cache/shoal --max-size 20G')
    .action(async (options: { origin: string; cache: string; maxSize: number; poll: number; listen: { host: string; port: number }; mdns?: string | boolean; identity?: string; insecureHttp?: boolean } & DhtFlags & LimitFlags) => {
      expectPassingBuffers();
      const dht = await dhtOf(options);
      const { PackCache } = await import('../store/pack/cache.ts');
      const { startGateway } = await import('../roles/gateway.ts');
      const waiting = setTimeout(() => { say(`shoal: still opening ${options.cache}: it is large, or another process uses it`); }, SILENT_MS).unref();
      const cache = await PackCache.open(options.cache, { maxBytes: options.maxSize }).finally(() => { clearTimeout(waiting); });
      await runUntilTold('gateway', await startGateway({ origin: options.origin, directory: options.cache, cache, listen: options.listen, version, pollMs: options.poll * 1000, onError: complain, ...limitsOf(options), ...mdnsOf(options), ...dht, ...(options.identity === undefined ? {} : { identity: options.identity }), ...(options.insecureHttp === undefined ? {} : { insecureHttp: options.insecureHttp }) }));
    });
}
