import { networkInterfaces } from 'node:os';
import { resolve } from 'node:path';
import { systemClock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import { GATEWAY_POLL_MS } from '../../core/limits.ts';
import { parseName } from '../../core/names.ts';
import type { RunsReport } from '../../core/runs.ts';
import { DeltaCache } from '../../exchange/delta-cache.ts';
import { hostUrl } from '../../exchange/host-url.ts';
import { sumOfLedgers } from '../../exchange/ledger.ts';
import type { Ledger } from '../../exchange/ledger.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import type { Received } from '../../serve/content.ts';
import { UpstreamMetadata } from '../../exchange/upstream-metadata.ts';
import type { Discovery } from '../../discover/types.ts';
import { FileContent } from '../../serve/file-content.ts';
import { createSurface } from '../../serve/surface.ts';
import type { Surface } from '../../serve/surface.ts';
import { nodeFiles } from '../../store/files.ts';
import { TufClient } from '../../trust/client/client.ts';
import { Liars } from '../device/liars.ts';
import { Neighbours } from '../device/neighbours.ts';
import { accessOf } from '../device/access.ts';
import { discover, rememberedIn } from '../discover.ts';
import { checkEntitled, membershipOf, upstreamOf } from '../membership.ts';
import { checkHost, checkListener } from '../plain-http.ts';
import { instanceName } from './instance.ts';
import { DeviceState } from './state.ts';
import { HeldMetadata, versionOf } from './metadata.ts';
import { Traffic } from '../traffic.ts';
import { News } from './news.ts';
import { reporterIn, reportingTo } from './reporting.ts';
import { RunningAgent } from './running.ts';
import { AgentTorrents } from './torrents.ts';
import type { Agent, AgentOptions } from './types.ts';

/** Starts an agent: it keeps products up to date and serves its neighbours what it has, as it arrives. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock = systemClock, files = nodeFiles, today = Date.now } = options;
  checkProducts(options.products);
  checkListener(options.listen.host, options.identity !== undefined, options.insecureHttp);
  for (const url of [options.origin, ...(options.gateway === undefined ? [] : [options.gateway]), ...(options.peers ?? [])]) checkHost(url, options.insecureHttp);
  const member = await membershipOf((holder) => {
    checkEntitled(holder, options.products.map(({ product }) => product), options.site);
  }, { ...options, files, clock, today });
  const site = parseName('site', options.site ?? member?.holder.site ?? 'default');
  const state = await DeviceState.open(files, options.state);
  const traffic = new Traffic(options.traffic ?? {}, clock, today);
  const hosts = [...(options.gateway === undefined ? [] : [options.gateway]), options.origin].map((url) => upstreamOf(url, clock, member, 'host', url === options.origin ? traffic.far : traffic.near));
  const fixed = (options.peers ?? []).map((url) => upstreamOf(url, clock, member, 'neighbour', traffic.near));
  const probed = traffic.watch(() => upstreamOf(options.origin, clock, member, 'host'));
  const deltaCache = new DeltaCache();
  const content = new FileContent(deltaCache);
  const metadata = new HeldMetadata(files, state.directory, () => news?.age);
  let surface: Surface | undefined;
  let neighbours: Neighbours | undefined;
  let discovery: Discovery | undefined;
  let running: RunningAgent | undefined;
  let news: News | undefined;
  let torrents: AgentTorrents | undefined;
  /** The gateway that was named, those that were seen, the origin. */
  const nearest = (): readonly Upstream[] => [...hosts.slice(0, -1), ...(neighbours?.gateways ?? []).map(({ upstream }) => upstream), ...hosts.slice(-1)];
  const reporter = member?.holder.device ?? (await reporterIn(files, state.directory));
  const runs = (): RunsReport => ({ reporter, runs: options.products.flatMap(({ product }) => {
    const installed = state.installed(product);
    return installed === undefined ? [] : [{ product, sequence: installed.manifest.sequence }];
  }) });
  const reporting = new WeakMap<Upstream, Upstream>();
  /** Origin and gateways are told what runs here; not a gateway that merely says it is one. */
  const told = (upstream: Upstream): Upstream => {
    if (member === undefined && !(hosts as readonly Upstream[]).includes(upstream)) return upstream;
    const known = reporting.get(upstream) ?? reportingTo(upstream, runs);
    reporting.set(upstream, known);
    return known;
  };
  try {
    const trust = await TufClient.open({
      files,
      directory: state.directory,
      trustedRoot: options.trustedRoot,
      // Neighbours last, but for one that asked a moment ago: what they pass on may be old, and nobody is to be kept from the news by them.
      fetcher: new UpstreamMetadata(() => [...new Set([...(news?.preferred ?? []), ...nearest().map(told), ...fixed, ...(neighbours?.hosts ?? [])])], (path, { url }) => {
        if (path === 'timestamp.json' && nearest().some((host) => host.url === url)) news?.answered();
      }, metadata),
      profile: { hardware: options.hardware ?? [], features: [] },
      now: () => new Date(today()),
    });
    surface = await createSurface({
      role: 'agent',
      version: options.version,
      instance: await instanceName(files, state.directory, options.advertise ?? `${options.listen.host}:${String(options.listen.port)}`, today()),
      content,
      metadata,
      clock,
      onWanted: (address) => running?.wanted(address) ?? false,
      coming: (root) => running?.coming(root) ?? false,
      received: () => receivedOf(running?.received() ?? sumOfLedgers([])),
      // Whom it sees is for who looks at the site; what it is told of others it does not pass on to neighbours that way.
      peers: { announce: () => false, at: (asked) => (asked === site ? (neighbours?.listed ?? []) : []) },
      ...(member === undefined ? {} : { access: accessOf(member, (root) => running?.uses(root) ?? []) }),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(traffic.upload === undefined ? {} : { uploadLimiter: traffic.upload }),
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
    const url = await surface.listen(options.listen.host, options.listen.port);
    const self = { instance: surface.instance, url: options.advertise === undefined ? reachable(url) : hostUrl(options.advertise) };
    discovery = await discover({ mdns: options.mdns, dht: rememberedIn(state.directory, options.dht) }, { instance: self.instance, port: Number(new URL(self.url).port), role: 'agent', site, files, clock, today, link: member, onError: options.onError });
    // The origin's list is far away: it is for those who see nobody on their LAN.
    const lists = (): readonly Upstream[] => ((discovery?.seen.length ?? 0) > 0 ? nearest().slice(0, -1) : nearest());
    neighbours = new Neighbours({ hosts: lists, discovery, site, self, clock, link: member, traffic });
    const near = neighbours;
    const { pollMs = GATEWAY_POLL_MS, random = Math.random } = options;
    news = new News({
      clock, instance: self.instance, pollMs, random,
      neighbours: () => near.members,
      gateway: () => options.gateway !== undefined || near.gateways.length > 0,
      timestamp: async () => {
        const bytes = await metadata.metadata('timestamp.json');
        const version = bytes === undefined ? 0 : versionOf(bytes);
        return typeof version === 'number' ? version : 0;
      },
    });
    torrents = options.torrent === undefined ? undefined : await AgentTorrents.open(options.torrent, { clock, content, traffic, onError: (error) => options.onError?.(error, 'torrent') });
    running = new RunningAgent(options, { torrents, traffic, news, member, clock, files, state, trust, hosts: [...hosts, ...fixed, ...probed], neighbours, discovery, content, deltaCache, metadata, surface, liars: await Liars.open(files, state.directory, today) });
    await running.serveInstalled();
    member?.keep();
    return running.start(url);
  } catch (error) {
    await discovery?.close();
    await torrents?.close();
    await surface?.close(0);
    await member?.close();
    await Promise.all([...hosts, ...fixed, ...probed].map((host) => host.close()));
    state.close();
    throw error;
  }
}

/** Each product once, each place once: two that take turns in one file would fetch it for ever. Throws `BAD_NAME`, `BAD_USAGE`. */
function checkProducts(products: AgentOptions['products']): void {
  for (const [at, { product, output }] of products.entries()) {
    parseName('product', product);
    const before = products.slice(0, at);
    if (before.some((other) => other.product === product)) throw new ShoalError('BAD_USAGE', `${product} is named twice`, { ids: { product }, hint: 'An agent keeps each product in one place.' });
    if (before.some((other) => resolve(other.output) === resolve(output))) throw new ShoalError('BAD_USAGE', `${output} is to hold two products`, { ids: { path: output }, hint: 'Give each product a place of its own.' });
  }
}

function receivedOf({ local, delta, deltaFrom, peer, gateway, origin, torrent, control }: Ledger): Received {
  return { local, delta, peer, gateway, origin, torrent, control, deltaFromOrigin: deltaFrom.origin };
}

/** The URL of a listener on all addresses, at the first address that others can use. */
function reachable(url: string): string {
  const parsed = new URL(url);
  if (!['0.0.0.0', '[::]'].includes(parsed.hostname)) return parsed.origin;
  const outside = Object.values(networkInterfaces()).flatMap((each) => each ?? []).find(({ internal, family }) => !internal && family === 'IPv4');
  parsed.hostname = outside?.address ?? '127.0.0.1';
  return parsed.origin;
}
