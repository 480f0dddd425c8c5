import { join, resolve } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import { parseName } from '../core/names.ts';
import { BaseIndexes } from '../exchange/base-index.ts';
import type { Ledger } from '../exchange/ledger.ts';
import type { Evidence } from '../exchange/standing.ts';
import { UpstreamMetadata } from '../exchange/upstream-metadata.ts';
import { nodeFiles } from '../store/files.ts';
import type { Files } from '../store/files.ts';
import { TufClient } from '../trust/client/client.ts';
import { DeviceDeltas } from './device/deltas.ts';
import { installRelease } from './device/install.ts';
import { Liars } from './device/liars.ts';
import { namedSources, standingOf } from './device/named.ts';
import type { NamedHosts } from './device/named.ts';
import { Neighbours } from './device/neighbours.ts';
import { checkEntitled, membershipOf, upstreamOf } from './membership.ts';
import type { Periodic } from './periodic.ts';
import { checkHost } from './plain-http.ts';
import { Traffic } from './traffic.ts';
import type { TrafficLimits } from './traffic.ts';

export interface FetchOptions extends NamedHosts {
  /** Where `shoal enroll` put this device's identity: it talks TLS with the fleet's certificates. */
  readonly identity?: string;
  /** Talks to named hosts without TLS outside this machine. */
  readonly insecureHttp?: boolean;
  readonly product: string;
  /** The newest when undefined. */
  readonly version?: string;
  /** The devices that announced themselves at this site are asked as well. */
  readonly site?: string;
  /** The provisioned root.json. */
  readonly trustedRoot: Uint8Array;
  /** Where metadata and the high-water mark are kept between runs. */
  readonly state: string;
  /** A file for a release of one artifact; for one of several a link to a directory, replaced as a whole. */
  readonly output: string;
  readonly bases?: readonly string[];
  readonly hardware?: readonly string[];
  /**
   * Proves what was written by reading it from the medium itself, past what the system remembers of it; takes as long as the medium takes to
   * read all of it once more. Throws `MEDIUM_UNREADABLE` before anything is fetched where that cannot be had (Linux, native kernel, a
   * file system with O_DIRECT). Default: no.
   */
  readonly fromMedium?: boolean;
  /** How much it may fetch at a time; nothing is uploaded. */
  readonly traffic?: TrafficLimits;
  readonly clock?: Clock;
  readonly files?: Files;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
  readonly onLie?: (evidence: Evidence) => void;
}

export interface FetchReport {
  readonly manifest: ReleaseManifest;
  readonly paths: readonly string[];
  readonly ledger: Ledger;
}

/** Brings one release to this machine: trust first, then content from whoever is nearest, then the files in their places. */
export async function fetchRelease(options: FetchOptions): Promise<FetchReport> {
  const { clock = systemClock, files = nodeFiles, gateway, origin } = options;
  for (const url of [origin, ...(gateway === undefined ? [] : [gateway]), ...(options.peers ?? [])]) checkHost(url, options.insecureHttp);
  const member = await membershipOf((holder) => {
    checkEntitled(holder, [options.product], options.site);
  }, { ...options, files, clock });
  const traffic = new Traffic(options.traffic ?? {}, clock, Date.now);
  const metadataHosts = [...(gateway === undefined ? [] : [gateway]), origin].map((url) => upstreamOf(url, clock, member, 'host', url === origin ? traffic.far : traffic.near));
  const sources = namedSources(options, clock, member, traffic);
  const probed = traffic.watch(() => upstreamOf(origin, clock, member, 'host'));
  const neighbours = options.site === undefined ? undefined : new Neighbours({ hosts: () => metadataHosts, site: parseName('site', options.site), self: undefined, clock, link: member, traffic });
  let news: Periodic | undefined;
  try {
    const trust = await TufClient.open({
      files,
      directory: options.state,
      trustedRoot: options.trustedRoot,
      fetcher: new UpstreamMetadata(metadataHosts),
      profile: { hardware: options.hardware ?? [], features: [] },
      now: () => new Date(),
    });
    const { manifest } = await trust.release(options.product, options.version);
    traffic.begins();
    const liars = await Liars.open(files, options.state, Date.now);
    // That a liar is not remembered fails nothing: it is caught once more.
    const standing = standingOf(options, liars, clock, (evidence) => options.onLie?.(evidence), () => undefined);
    if (neighbours !== undefined) {
      // Without neighbours it goes on all the same.
      await neighbours.refresh(options.signal).catch(() => undefined);
      news = neighbours.watch(options.signal);
    }
    const deltas = await DeviceDeltas.open({
      files, trust,
      directory: options.state,
      hosts: () => metadataHosts.map(({ totals }, at) => ({ kind: at === metadataHosts.length - 1 ? 'origin' : 'gateway', totals })),
    });
    const { paths, ledger } = await installRelease({
      files, clock, manifest, standing, deltas,
      rate: traffic.rate,
      output: options.output,
      sources: (root) => [...(neighbours?.sources(root) ?? []), ...sources],
      bases: (options.bases ?? []).map((path) => resolve(path)),
      baseIndexes: new BaseIndexes(files, join(options.state, 'bases')),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.fromMedium === undefined ? {} : { fromMedium: options.fromMedium }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
    await trust.accepted(manifest);
    const control = [...metadataHosts, ...probed].reduce((sum, { totals }) => sum + totals.control, 0);
    return { manifest, paths, ledger: { ...ledger, control: ledger.control + control } };
  } finally {
    await news?.stop();
    await member?.close();
    await Promise.all([...metadataHosts, ...probed, ...sources, ...(neighbours === undefined ? [] : [neighbours])].map((each) => each.close()));
  }
}
