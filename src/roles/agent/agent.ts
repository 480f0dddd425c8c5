import { networkInterfaces } from 'node:os';
import { systemClock } from '../../core/clock.ts';
import { parseName } from '../../core/names.ts';
import { DeltaCache } from '../../exchange/delta-cache.ts';
import { HttpUpstream } from '../../exchange/upstream.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import { UpstreamMetadata } from '../../exchange/upstream-metadata.ts';
import type { Discovery } from '../../discover/types.ts';
import { FileContent } from '../../serve/file-content.ts';
import { createSurface } from '../../serve/surface.ts';
import type { Surface } from '../../serve/surface.ts';
import { nodeFiles } from '../../store/files.ts';
import { TufClient } from '../../trust/client/client.ts';
import { Liars } from '../device/liars.ts';
import { Neighbours } from '../device/neighbours.ts';
import { DeviceState } from './state.ts';
import { HeldMetadata } from './metadata.ts';
import { RunningAgent } from './running.ts';
import type { Agent, AgentOptions } from './types.ts';

/** Starts an agent: it keeps products up to date and serves its neighbours what it has, as it arrives. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock = systemClock, files = nodeFiles, today = Date.now } = options;
  for (const { product } of options.products) parseName('product', product);
  const site = parseName('site', options.site ?? 'default');
  const state = await DeviceState.open(files, options.state);
  const hosts = [...(options.gateway === undefined ? [] : [options.gateway]), options.origin].map((url) => new HttpUpstream(url, clock));
  const fixed = (options.peers ?? []).map((url) => new HttpUpstream(url, clock));
  const deltaCache = new DeltaCache();
  const content = new FileContent(deltaCache);
  const metadata = new HeldMetadata(files, state.directory);
  let surface: Surface | undefined;
  let neighbours: Neighbours | undefined;
  let discovery: Discovery | undefined;
  /** The gateway that was named, those that were seen, the origin. */
  const nearest = (): readonly Upstream[] => [...hosts.slice(0, -1), ...(neighbours?.gateways ?? []).map(({ upstream }) => upstream), ...hosts.slice(-1)];
  try {
    const trust = await TufClient.open({
      files,
      directory: state.directory,
      trustedRoot: options.trustedRoot,
      // Neighbours last: what they pass on may be old, but nobody can be kept from the news by one of them.
      fetcher: new UpstreamMetadata(() => [...nearest(), ...fixed, ...(neighbours?.hosts ?? [])]),
      profile: { hardware: options.hardware ?? [], features: [] },
      now: () => new Date(today()),
    });
    surface = await createSurface({
      role: 'agent',
      version: options.version,
      content,
      metadata,
      clock,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
    const url = await surface.listen(options.listen.host, options.listen.port);
    const self = { instance: surface.instance, url: options.advertise === undefined ? reachable(url) : new URL(options.advertise).origin };
    if (options.mdns !== undefined) {
      const { startMdns } = await import('../../discover/mdns.ts');
      discovery = await startMdns({ instance: self.instance, port: Number(new URL(self.url).port), role: 'agent', clock, ...options.mdns });
    }
    neighbours = new Neighbours({ hosts: nearest, discovery, site, self, clock });
    const running = new RunningAgent(options, { clock, files, state, trust, hosts: [...hosts, ...fixed], neighbours, discovery, content, deltaCache, metadata, surface, liars: await Liars.open(files, state.directory, today) });
    await running.serveInstalled();
    return running.start(url);
  } catch (error) {
    await discovery?.close();
    await surface?.close(0);
    await Promise.all([...hosts, ...fixed].map((host) => host.close()));
    state.close();
    throw error;
  }
}

/** The URL of a listener on all addresses, at the first address that others can use. */
function reachable(url: string): string {
  const parsed = new URL(url);
  if (!['0.0.0.0', '[::]'].includes(parsed.hostname)) return parsed.origin;
  const outside = Object.values(networkInterfaces()).flatMap((each) => each ?? []).find(({ internal, family }) => !internal && family === 'IPv4');
  parsed.hostname = outside?.address ?? '127.0.0.1';
  return parsed.origin;
}
