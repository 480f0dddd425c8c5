import { join } from 'node:path';
import { Gauge } from 'prom-client';
import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import { GATEWAY_POLL_MS } from '../core/limits.ts';
import { parseName } from '../core/names.ts';
import { wire } from '../core/wire.ts';
import { renewRoute } from '../serve/enroll-routes.ts';
import { PeerRegistry } from '../serve/peers.ts';
import { createSurface } from '../serve/surface.ts';
import type { SurfaceOptions } from '../serve/surface.ts';
import { nodeFiles } from '../store/files.ts';
import type { Files } from '../store/files.ts';
import type { CacheStore } from '../store/types.ts';
import { accessOf } from './device/access.ts';
import { discover, rememberedIn } from './discover.ts';
import type { DhtWay, WaysToFind } from './discover.ts';
import { GatewayContent } from './gateway/content.ts';
import { GatewayMetadata } from './gateway/metadata.ts';
import { GatewayRuns } from './gateway/runs.ts';
import { GatewayRenewals } from './gateway/renewals.ts';
import { GatewayUses } from './gateway/uses.ts';
import { measureCertificate } from './certificate-gauge.ts';
import { membershipOf, upstreamOf } from './membership.ts';
import { checkHost, checkListener } from './plain-http.ts';
import { Traffic } from './traffic.ts';
import type { TrafficLimits } from './traffic.ts';
import type { UpstreamTotals } from '../exchange/upstream.ts';

export interface GatewayOptions {
  /** URL of the host to fetch from: the origin, or another gateway. */
  readonly origin: string;
  /** Where metadata is kept. */
  readonly directory: string;
  readonly cache: CacheStore;
  readonly listen: { readonly host: string; readonly port: number };
  readonly version: string;
  /** At most how often the origin is asked for news, milliseconds. Default five minutes. */
  readonly pollMs?: number;
  /** Where `shoal enroll` put its identity: it talks TLS with the fleet's certificates; without, it may listen on loopback only. */
  readonly identity?: string;
  /** Listens, and talks to the origin, without TLS outside this machine. */
  readonly insecureHttp?: boolean;
  /** Makes itself known on the LAN by multicast DNS. */
  readonly mdns?: WaysToFind['mdns'];
  /** Makes itself known in the fleet's own hash table, and is a node of it. */
  readonly dht?: DhtWay;
  /** The site at which the hash table has it. Default: that of its identity, else `default`. */
  readonly site?: string;
  readonly limits?: SurfaceOptions['limits'];
  /** How much it may fetch and send at a time. */
  readonly traffic?: TrafficLimits;
  readonly clock?: Clock;
  readonly today?: () => number;
  readonly files?: Files;
  readonly onError?: (error: unknown, url: string) => void;
}

/** What a gateway did, for the line it prints at the end. Bytes, heads included. */
export interface GatewayLedger {
  readonly upstream: Readonly<UpstreamTotals>;
  readonly served: { readonly content: number; readonly control: number; readonly requests: number };
}

export interface Gateway {
  readonly url: string;
  ledger(): GatewayLedger;
  /** Ends gracefully. Closes the cache as well. */
  close(): Promise<void>;
}

/** Starts a gateway: everything it is asked for it fetches once, verifies, keeps and serves. Whatever it fails with, the cache is closed then. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  // What is begun is ended in the opposite order, also when something after it cannot be had: a process with a socket left open never ends.
  const begun = new AsyncDisposableStack();
  begun.defer(() => options.cache.close());
  try {
    return await start(options, begun);
  } catch (error) {
    await begun.disposeAsync();
    throw error;
  }
}

async function start(options: GatewayOptions, begun: AsyncDisposableStack): Promise<Gateway> {
  const { cache, clock = systemClock, files = nodeFiles, today = Date.now } = options;
  checkHost(options.origin, options.insecureHttp);
  checkListener(options.listen.host, options.identity !== undefined, options.insecureHttp);
  const member = await membershipOf(({ role }) => {
    if (role !== 'gateway') throw new ShoalError('NOT_A_GATEWAY', `the identity in ${options.identity ?? ''} is that of an ${role}`, { hint: 'Enrol it with a token of "shoal token --role gateway".' });
  }, { ...options, files, clock, today });
  begun.defer(async () => member?.close());
  const traffic = new Traffic(options.traffic ?? {}, clock, today);
  const upstream = upstreamOf(options.origin, clock, member, 'host', traffic.far);
  const probed = traffic.watch(() => upstreamOf(options.origin, clock, member, 'host'));
  begun.defer(async () => { await Promise.all([upstream, ...probed].map((host) => host.close())); });
  const renewals = new GatewayRenewals(upstream, clock);
  const uses = await GatewayUses.open(files, join(options.directory, 'uses'), upstream, clock);
  const metadata = await GatewayMetadata.open({ directory: join(options.directory, 'metadata'), files, upstream, clock, today, pollMs: options.pollMs ?? GATEWAY_POLL_MS });
  const content = await GatewayContent.open(cache, upstream, clock);
  const runs = new GatewayRuns(upstream, clock);
  begun.defer(() => runs.close());
  const surface = await createSurface({
    role: 'gateway',
    version: options.version,
    content,
    metadata,
    peers: new PeerRegistry(() => clock.now()),
    runs,
    clock,
    ...(traffic.upload === undefined ? {} : { uploadLimiter: traffic.upload }),
    ...(member === undefined ? {} : { access: accessOf(member, (root) => uses.of(root), [wire.renew]), control: (app) => { renewRoute(app, (request, address) => renewals.renew(request, address)); } }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.onError === undefined ? {} : { onError: options.onError }),
  });
  begun.defer(() => surface.close());
  const { registry } = surface.metrics;
  if (member !== undefined) measureCertificate(registry, member);
  new Gauge({
    name: 'shoal_upstream_received_bytes',
    help: 'Bytes received from the upstream since the start, heads included, by plane.',
    labelNames: ['plane'] as const,
    registers: [registry],
    collect() {
      this.set({ plane: 'content' }, upstream.totals.content);
      this.set({ plane: 'control' }, upstream.totals.control);
    },
  });
  new Gauge({
    name: 'shoal_cache_bytes',
    help: 'Bytes the cache has on the medium.',
    registers: [registry],
    async collect() {
      this.set((await cache.usage()).bytes);
    },
  });
  const url = await surface.listen(options.listen.host, options.listen.port);
  const site = parseName('site', options.site ?? member?.holder.site ?? 'default');
  const discovery = await discover({ mdns: options.mdns, dht: rememberedIn(options.directory, options.dht) }, { instance: surface.instance, port: Number(new URL(url).port), role: 'gateway', site, files, clock, today, link: member, onError: options.onError });
  begun.defer(async () => discovery?.close());
  member?.keep();
  return {
    url,
    ledger: () => ({ upstream: { ...upstream.totals }, served: { ...surface.metrics.totals } }),
    close: () => begun.disposeAsync(),
  };
}
