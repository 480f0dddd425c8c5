import { ShoalError, messageOf } from '../../core/errors.ts';
import { SWARM_MAX_TOLD, TRACKER_ANSWER_MAX_BYTES } from '../../core/limits.ts';
import type { Upstream } from '../upstream.ts';
import type { TorrentAddress } from './types.ts';

export interface TrackerReport {
  /** 40 hexadecimal digits each. */
  readonly infoHash: string;
  readonly peerId: string;
  /** Where others reach this client. */
  readonly port: number;
  /** Content since the start, and what is still to come, bytes. */
  readonly uploaded: number;
  readonly downloaded: number;
  readonly left: number;
  readonly event?: 'started' | 'completed' | 'stopped';
}

export interface TrackerAnswer {
  /** When to come back, milliseconds. */
  readonly intervalMs: number;
  /** Anybody's addresses. */
  readonly peers: readonly TorrentAddress[];
}

const BENCODE: string = 'bencode';
/** Whatever a tracker says, it is not asked more often than this, nor more rarely, milliseconds. */
const INTERVAL_LEAST_MS = 30_000;
const INTERVAL_MOST_MS = 3_600_000;

/** Tells a tracker (BEP 3, BEP 23) that this client takes part. Throws `BAD_TRACKER`, and what `upstream` throws. */
export async function announceTo(upstream: Upstream, path: string, { infoHash, peerId, port, uploaded, downloaded, left, event }: TrackerReport, signal?: AbortSignal): Promise<TrackerAnswer> {
  const numbers = { port, uploaded, downloaded, left, compact: 1, numwant: SWARM_MAX_TOLD };
  const query = [`info_hash=${escaped(infoHash)}`, `peer_id=${escaped(peerId)}`, ...Object.entries(numbers).map(([name, value]) => `${name}=${String(value)}`), ...(event === undefined ? [] : [`event=${event}`])];
  const { status, body } = await upstream.get('control', `${path}?${query.join('&')}`, TRACKER_ANSWER_MAX_BYTES, {}, signal);
  if (status !== 200) throw bad(upstream, `it answered ${String(status)}`);
  const answer = await decoded(body, upstream);
  const failure = answer['failure reason'];
  if (failure instanceof Uint8Array) throw bad(upstream, Buffer.from(failure).toString('utf8').slice(0, 200));
  const { interval, peers } = answer;
  const seconds = typeof interval === 'number' && interval > 0 ? interval : 0;
  return { intervalMs: Math.min(INTERVAL_MOST_MS, Math.max(INTERVAL_LEAST_MS, seconds * 1000)), peers: peers instanceof Uint8Array ? compact(peers) : [] };
}

/** Every byte as `%xx`: what these are is no text. */
function escaped(hex: string): string {
  return hex.replace(/../g, '%$&');
}

function compact(bytes: Uint8Array): TorrentAddress[] {
  const peers: TorrentAddress[] = [];
  for (let at = 0; at + 6 <= bytes.byteLength && peers.length < SWARM_MAX_TOLD; at += 6) {
    const port = ((bytes[at + 4] ?? 0) << 8) | (bytes[at + 5] ?? 0);
    if (port > 0) peers.push({ host: bytes.subarray(at, at + 4).join('.'), port });
  }
  return peers;
}

async function decoded(body: Uint8Array, upstream: Upstream): Promise<Readonly<Record<string, unknown>>> {
  const { default: bencode } = (await import(BENCODE)) as { readonly default: { decode(bytes: Uint8Array): unknown } };
  try {
    const answer = bencode.decode(body);
    if (typeof answer === 'object' && answer !== null && !Array.isArray(answer) && !(answer instanceof Uint8Array)) return answer as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw bad(upstream, messageOf(error));
  }
  throw bad(upstream, 'its answer is no dictionary');
}

function bad({ url }: Upstream, why: string): ShoalError {
  return new ShoalError('BAD_TRACKER', `the tracker at ${url} is of no use: ${why}`, { ids: { tracker: url }, retry: 'again' });
}
