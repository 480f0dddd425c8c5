import type { Clock } from '../../core/clock.ts';
import { HttpSource } from '../../exchange/source.ts';
import type { Source, SourceKind } from '../../exchange/source.ts';
import { Standing } from '../../exchange/standing.ts';
import type { Evidence } from '../../exchange/standing.ts';
import type { Link } from '../../exchange/upstream.ts';
import { upstreamOf } from '../membership.ts';
import type { Traffic } from '../traffic.ts';
import type { Liars } from './liars.ts';

/** Hosts that a device was told of, by URL. */
export interface NamedHosts {
  readonly origin: string;
  /** Asked for metadata, content and neighbours before the origin. */
  readonly gateway?: string;
  /** Neighbours that are known without being announced. */
  readonly peers?: readonly string[];
}

/** The named hosts as sources, nearest first. The caller's to close. */
export function namedSources({ origin, gateway, peers = [] }: NamedHosts, clock: Clock, link: Link | undefined, traffic: Traffic): readonly Source[] {
  const source = (kind: SourceKind, url: string): Source => new HttpSource(kind, url, clock, upstreamOf(url, clock, link, kind === 'peer' ? 'neighbour' : 'host', kind === 'origin' ? traffic.far : traffic.near));
  return [...peers.map((url) => source('peer', url)), ...(gateway === undefined ? [] : [source('gateway', gateway)]), source('origin', origin)];
}

/**
 * The standing of everybody at the beginning of an installation. Neighbours that are caught are remembered; a gateway or an
 * origin that was named is not to be given up for a day: the next turn finds it mended, or catches it again.
 */
export function standingOf({ origin, gateway }: NamedHosts, liars: Liars, clock: Clock, onLie: (evidence: Evidence) => void, onError: (error: unknown) => void): Standing {
  const named = new Set([origin, ...(gateway === undefined ? [] : [gateway])].map((url) => new URL(url).origin));
  return new Standing(() => clock.now(), (evidence) => {
    if (!named.has(evidence.source)) void liars.add(evidence).catch(onError);
    onLie(evidence);
  }, liars.evidence);
}
