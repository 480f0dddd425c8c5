import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import { SWARM_INTERVAL_S, SWARM_MAX_TOLD, TORRENT_WAIT_MS } from '../core/limits.ts';
import { API, CACHE_NEVER, wire } from '../core/wire.ts';
import type { ContentKey } from '../core/wire.ts';
import { notFound } from './answers.ts';
import type { App } from './context.ts';
import { matchesEtag } from './negotiate.ts';
import { ArtifactOfTorrent, TorrentParams, Torrents } from './schemas.ts';
import type { Swarms } from './swarms.ts';

/** A release as a torrent. */
export interface OfferedTorrent {
  readonly infoHash: string;
  /** Names the file or folder that a client makes. */
  readonly name: string;
  /** The artifact when there is one alone, which is its own web seed; with several they lie below `wire.torrentFiles`. */
  readonly single: ContentKey | undefined;
  /** The bytes of a .torrent file. */
  file(places: { readonly webSeeds: readonly string[]; readonly trackers: readonly string[]; readonly comment: string }): Promise<Uint8Array>;
}

export interface TorrentProvider {
  /** What is on offer, newest releases first. */
  list(): Promise<readonly { readonly product: string; readonly version: string }[]>;
  /** Undefined when there is no such release on offer. Takes a while the first time. */
  torrent(product: string, version: string): Promise<OfferedTorrent | undefined>;
  artifact(product: string, version: string, name: string): Promise<ContentKey | undefined>;
  /** Whether a torrent on offer has this name among clients. */
  knows(infoHash: string): Promise<boolean>;
}

export interface TorrentRoutesOptions {
  readonly torrents: TorrentProvider;
  readonly swarms: Swarms;
  readonly clock: Clock;
  /** Where clients reach these routes from outside; by default the host they asked for. */
  readonly url?: string;
}

/** For stock BitTorrent clients: .torrent files, web seeds of several files, a tracker (docs/torrents.md). */
export function torrentRoutes(app: App, { torrents, swarms, clock, url }: TorrentRoutesOptions): void {
  const baseOf = (request: FastifyRequest): string => url ?? `http://${hostOf(request)}`;

  app.get(wire.torrents, { schema: { summary: 'The torrents on offer', tags: ['torrents'], response: { 200: Torrents } } }, async (request, reply) => {
    void reply.header('cache-control', CACHE_NEVER);
    const base = baseOf(request);
    return { torrents: (await torrents.list()).map(({ product, version }) => ({ product, version, url: base + wire.torrent(product, version) })) };
  });

  app.get(`${wire.torrents}/:product/:file`, { schema: { summary: 'A release as a torrent', tags: ['torrents'], params: TorrentParams } }, async (request, reply) => {
    const { product, file } = request.params;
    const version = file.slice(0, -'.torrent'.length);
    const torrent = await soon(torrents.torrent(product, version), clock);
    if (torrent === undefined) throw notFound('the torrent');
    const base = baseOf(request);
    const webSeeds = [base + (torrent.single === undefined ? wire.torrentFiles(product, version) : wire.artifact(torrent.single))];
    const bytes = await torrent.file({ webSeeds, trackers: [base + wire.tracker], comment: `${product} ${version}` });
    // Another host in the request makes another file.
    const etag = `"${torrent.infoHash}-${Buffer.from(base).toString('base64url').slice(0, 128)}"`;
    void reply.headers({ etag, vary: 'Host', 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' });
    if (matchesEtag(request.headers['if-none-match'], etag)) return reply.code(304).send();
    void reply.headers({ 'content-type': 'application/x-bittorrent', 'content-disposition': `attachment; filename="${product}-${version}.torrent"` });
    return reply.send(Buffer.from(bytes));
  });

  // A web seed of several files is asked for FOLDER/FILE (BEP 19); the content has one URL, which caches know.
  app.get(`${wire.torrents}/:product/:version/:folder/:artifact`, { schema: { summary: 'An artifact of a release, for web seeds', tags: ['torrents'], params: ArtifactOfTorrent } }, async (request, reply) => {
    const { product, version, folder, artifact } = request.params;
    const key = folder === `${product}-${version}` ? await torrents.artifact(product, version, artifact) : undefined;
    if (key === undefined) throw notFound('the artifact');
    return reply.header('cache-control', CACHE_NEVER).redirect(wire.artifact(key), 302);
  });

  app.get(wire.tracker, { schema: { summary: 'Tracker (BEP 3, BEP 23)', tags: ['torrents'] } }, async (request, reply) => {
    const said = queryOf(request);
    const infoHash = hexOf(said.get('info_hash'));
    const peerId = hexOf(said.get('peer_id'));
    const port = Number(said.get('port') ?? 0);
    if (infoHash.length !== 40 || peerId.length !== 40 || !Number.isInteger(port) || port < 1 || port > 65_535) return tell(reply, failure('this is no announcement'));
    if (!(await torrents.knows(infoHash))) return tell(reply, failure('this torrent is not on offer here'));
    const wanted = said.get('numwant');
    const { complete, incomplete, peers } = swarms.announce({
      infoHash, peerId, port,
      // The address it comes from, whatever it says: nobody is to send others to strangers.
      address: request.ip.replace(/^::ffff:/, ''),
      complete: said.get('left') === '0',
      stopped: said.get('event') === 'stopped',
      wanted: wanted !== undefined && /^\d{1,4}$/.test(wanted) ? Number(wanted) : SWARM_MAX_TOLD,
    });
    const numbers = `8:completei${String(complete)}e10:incompletei${String(incomplete)}e8:intervali${String(SWARM_INTERVAL_S)}e12:min intervali${String(SWARM_INTERVAL_S / 4)}e`;
    return tell(reply, Buffer.concat([Buffer.from(`d${numbers}5:peers${String(peers.byteLength)}:`), peers, Buffer.from('e')]));
  });

  app.get(`${API}/torrents/scrape`, { schema: { summary: 'Scrape (BEP 48)', tags: ['torrents'] } }, async (request, reply) => {
    const infoHash = hexOf(queryOf(request).get('info_hash'));
    if (infoHash.length !== 40 || !(await torrents.knows(infoHash))) return tell(reply, Buffer.from('d5:filesdee'));
    const { complete, incomplete } = swarms.counts(infoHash);
    return tell(reply, Buffer.concat([Buffer.from('d5:filesd20:'), Buffer.from(infoHash, 'hex'), Buffer.from(`d8:completei${String(complete)}e10:downloadedi0e10:incompletei${String(incomplete)}eeee`)]));
  });
}

/** Hashing goes on when the client is told to come back. */
async function soon<T>(work: Promise<T>, clock: Clock): Promise<T> {
  let cancel = (): void => undefined;
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(TORRENT_WAIT_MS, () => { reject(new ShoalError('BUSY', 'the pieces of this torrent are still being hashed; ask again', { retry: 'again' })); });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    cancel();
    work.catch(() => undefined);
  }
}

function hostOf(request: FastifyRequest): string {
  const { host } = request.headers;
  if (host === undefined || !/^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host)) throw new ShoalError('BAD_REQUEST', 'the Host of the request is no host');
  return host;
}

/** Values are bytes, percent-encoded, so neither URL nor fastify can read them; as they stand, the first of a name. */
function queryOf({ url }: FastifyRequest): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const pair of url.slice(url.indexOf('?') + 1).split('&', 64)) {
    const [name = '', value = ''] = pair.split('=', 2);
    if (!query.has(name)) query.set(name, value);
  }
  return query;
}

/** Percent-encoded bytes as hexadecimal digits; empty when they are none. */
function hexOf(text = ''): string {
  if (text.length > 60 || !/^(?:%[0-9A-Fa-f]{2}|[\x21-\x24\x26-\x7e])*$/.test(text)) return '';
  return text.replace(/%([0-9A-Fa-f]{2})|([^%])/g, (_all, hex: string | undefined, plain: string | undefined) => (hex ?? (plain ?? '').charCodeAt(0).toString(16).padStart(2, '0')).toLowerCase());
}

function failure(reason: string): Buffer {
  return Buffer.from(`d14:failure reason${String(Buffer.byteLength(reason))}:${reason}e`);
}

function tell(reply: FastifyReply, bytes: Uint8Array): FastifyReply {
  return reply.headers({ 'cache-control': CACHE_NEVER, 'content-type': 'text/plain; charset=ISO-8859-1' }).send(Buffer.from(bytes));
}
