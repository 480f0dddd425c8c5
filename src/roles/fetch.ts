import { join, resolve } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import type { ReleaseManifest } from '../core/manifest.ts';
import { download } from '../exchange/download.ts';
import type { Ledger } from '../exchange/download.ts';
import { HttpSource } from '../exchange/source.ts';
import type { Evidence } from '../exchange/standing.ts';
import { HttpUpstream } from '../exchange/upstream.ts';
import { UpstreamMetadata } from '../exchange/upstream-metadata.ts';
import { FileSlot } from '../install/file-slot.ts';
import { makeDirectories } from '../store/durable.ts';
import { nodeFiles } from '../store/files.ts';
import type { Files } from '../store/files.ts';
import { TufClient } from '../trust/client/client.ts';

export interface FetchOptions {
  readonly product: string;
  /** The newest when undefined. */
  readonly version?: string;
  readonly origin: string;
  /** Asked for metadata and content before the origin. */
  readonly gateway?: string;
  readonly peers?: readonly string[];
  /** The provisioned root.json. */
  readonly trustedRoot: Uint8Array;
  /** Where metadata and the high-water mark are kept between runs. */
  readonly state: string;
  /** A file for a release of one artifact, a directory for one of several. */
  readonly output: string;
  readonly bases?: readonly string[];
  readonly hardware?: readonly string[];
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
  const metadataHosts = [...(gateway === undefined ? [] : [gateway]), origin].map((url) => new HttpUpstream(url, clock));
  const sources = [
    ...(options.peers ?? []).map((url) => new HttpSource('peer', url, clock)),
    ...(gateway === undefined ? [] : [new HttpSource('gateway', gateway, clock)]),
    new HttpSource('origin', origin, clock),
  ];
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
    const several = manifest.artifacts.length > 1;
    if (several) await makeDirectories(files, resolve(options.output));
    const total = manifest.artifacts.reduce((sum, { size }) => sum + size, 0);
    const slots: { readonly slot: FileSlot; readonly size: number }[] = [];
    const ledgers: Ledger[] = [];
    let before = 0;
    try {
      for (const artifact of manifest.artifacts) {
        const slot = await FileSlot.open(files, resolve(several ? join(options.output, artifact.name) : options.output));
        slots.push({ slot, size: artifact.size });
        const done = before;
        ledgers.push(
          await download({
            namespace: manifest.namespace, artifact, sources, slot, clock, random: Math.random,
            bases: options.bases ?? [],
            onProgress: (bytes) => options.onProgress?.(done + bytes, total),
            ...(options.signal === undefined ? {} : { signal: options.signal }),
            ...(options.onLie === undefined ? {} : { onLie: options.onLie }),
          }),
        );
        before += artifact.size;
      }
    } catch (error) {
      for (const { slot } of slots) await slot.close();
      throw error;
    }
    // Nothing takes its place before everything is verified.
    for (const { slot, size } of slots) await slot.activate(size);
    await trust.accepted(manifest);
    const control = metadataHosts.reduce((sum, { totals }) => sum + totals.control, 0);
    return { manifest, paths: slots.map(({ slot }) => slot.path), ledger: sumOf(ledgers, control) };
  } finally {
    await Promise.all([...metadataHosts, ...sources].map((each) => each.close()));
  }
}

function sumOf(ledgers: readonly Ledger[], control: number): Ledger {
  const sum = (pick: (ledger: Ledger) => number): number => ledgers.reduce((total, ledger) => total + pick(ledger), 0);
  return {
    local: sum((each) => each.local),
    delta: sum((each) => each.delta),
    peer: sum((each) => each.peer),
    gateway: sum((each) => each.gateway),
    origin: sum((each) => each.origin),
    control: sum((each) => each.control) + control,
    written: sum((each) => each.written),
    seconds: sum((each) => each.seconds),
  };
}
