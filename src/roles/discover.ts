import { dirname, join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { INSTANCE_MAX_BYTES } from '../core/limits.ts';
import { isName } from '../core/names.ts';
import { wire } from '../core/wire.ts';
import type { DhtNodeOptions, DhtOptions } from '../discover/dht.ts';
import type { MdnsOptions } from '../discover/mdns.ts';
import { severalWays } from '../discover/several.ts';
import type { Discovery, Seen } from '../discover/types.ts';
import type { Link } from '../exchange/upstream.ts';
import { makeDirectories, readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';
import { upstreamOf } from './membership.ts';

/** The ways in which a host was told to find its neighbours, besides the list that origin and gateway keep. */
export interface WaysToFind {
  /** Multicast DNS, on one interface or on all. `optional`: goes on without where the port cannot be had. */
  readonly mdns?: { readonly interface?: string; readonly udpPort?: number; readonly optional?: boolean } | undefined;
  /** The fleet's own hash table: where this host takes part, the fleet's secret, nodes to begin with (docs/discovery.md). */
  readonly dht?: DhtWay | undefined;
}

export interface DhtWay extends Pick<DhtNodeOptions, 'listen' | 'secret' | 'nodes'> {
  /** Where nodes are remembered, so that the next start needs none of those that were named. */
  readonly remember?: string;
}

export interface DiscoverOptions extends Pick<MdnsOptions, 'instance' | 'port' | 'role'> {
  readonly site: string;
  readonly files: Files;
  readonly clock: Clock;
  readonly today: () => number;
  /** With it neighbours are talked to over TLS alone. */
  readonly link: Link | undefined;
  readonly onError: ((error: unknown, where: string) => void) | undefined;
}

/** Begins with all ways that were asked for. Throws `DISCOVERY` when one cannot be had that is not optional. */
export async function discover({ mdns, dht }: WaysToFind, options: DiscoverOptions): Promise<Discovery | undefined> {
  const ways: Discovery[] = [];
  try {
    if (mdns !== undefined) {
      const { clock, link } = options;
      const proves = link === undefined ? {} : { proves: async (url: string) => (await whoIs(url, clock, link))?.role === 'gateway' };
      ways.push(...(await multicast({ ...mdns, ...options, ...proves, secure: link !== undefined }, options.onError)));
    }
    if (dht !== undefined) ways.push(await hashTable(dht, options));
  } catch (error) {
    for (const way of ways) await way.close();
    throw error;
  }
  return severalWays(ways);
}

async function multicast({ optional, ...options }: MdnsOptions & { readonly optional?: boolean }, onError: DiscoverOptions['onError']): Promise<readonly Discovery[]> {
  const { startMdns } = await import('../discover/mdns.ts');
  try {
    return [await startMdns(options)];
  } catch (error) {
    if (optional !== true || !isShoalError(error, 'DISCOVERY')) throw error;
    onError?.(error, 'mdns');
    return [];
  }
}

const NODES_MAX_BYTES = 16_384;

async function hashTable({ listen, secret, nodes, remember }: DhtWay, { files, link, clock, onError, ...options }: DiscoverOptions): Promise<Discovery> {
  const { startDht } = await import('../discover/dht.ts');
  const known = remember === undefined ? [] : nodesIn(await readWhole(files, remember, NODES_MAX_BYTES).catch(() => undefined));
  const onNodes = (now: readonly string[]): void => {
    if (remember === undefined) return;
    void makeDirectories(files, dirname(remember)).then(() => writeDurably(files, remember, Buffer.from(JSON.stringify(now)))).catch((error: unknown) => onError?.(error, 'dht'));
  };
  const dht: DhtOptions = { ...options, listen, secret, clock, nodes: [...new Set([...nodes, ...known])], secure: link !== undefined, identify: (url) => whoIs(url, clock, link), onNodes };
  return startDht(dht);
}

/** The same, its nodes remembered in a directory of state. */
export function rememberedIn(directory: string, dht: DhtWay | undefined): DhtWay | undefined {
  return dht === undefined ? undefined : { remember: join(directory, 'dht-nodes.json'), ...dht };
}

/** What can be read of remembered nodes. */
function nodesIn(bytes: Uint8Array | undefined): readonly string[] {
  try {
    const list = JSON.parse(Buffer.from(bytes ?? []).toString('utf8')) as unknown;
    return Array.isArray(list) ? list.filter((each): each is string => typeof each === 'string' && /^[\d.]{7,15}:\d{1,5}$/.test(each)) : [];
  } catch {
    return [];
  }
}

/** What the host at `url` says that it is. Whoever is not of ours, over TLS where that is ours, does not count. */
async function whoIs(url: string, clock: Clock, link: Link | undefined): Promise<Pick<Seen, 'instance' | 'role'> | undefined> {
  const upstream = upstreamOf(url, clock, link, 'neighbour');
  try {
    const { status, body } = await upstream.get('control', wire.instance, INSTANCE_MAX_BYTES, {}, AbortSignal.timeout(WHO_IS_MS));
    const { instance, role } = JSON.parse(Buffer.from(body).toString('utf8')) as { readonly instance?: unknown; readonly role?: unknown };
    if (status !== 200 || typeof instance !== 'string' || !isName(instance) || (role !== 'agent' && role !== 'gateway')) return undefined;
    return { instance, role };
  } finally {
    await upstream.close();
  }
}

const WHO_IS_MS = 5_000;

/** The fleet's secret as a file has it: a line of 32 characters or more. Throws `BAD_USAGE`. */
export function dhtSecret(text: string): Uint8Array {
  const line = text.trim();
  if (line.length < 32 || line.includes('\n')) throw new ShoalError('BAD_USAGE', 'the secret of the hash table is one line of 32 characters or more', { hint: 'Let "shoal origin --dht HOST:PORT --dht-secret FILE" make one, and give it to every host of the fleet.' });
  return Buffer.from(line);
}
