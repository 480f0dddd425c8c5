import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ObjectId } from '../core/ids.ts';
import { API, CACHE_IMMUTABLE, CACHE_NEVER, HEADER_ARRIVING, HEADER_BASE, HEADER_BRINGING, HEADER_REVOCATIONS, HEADER_ROOT, HEADER_SEGMENTS, HEADER_SPANS, HEADER_WORKING, wire } from '../core/wire.ts';
import { ShoalError } from '../core/errors.ts';
import { etagOf } from '../core/etag.ts';
import { BRINGING_MOST } from '../core/limits.ts';
import { tiers } from '../kernel/tiers.ts';
import type { Access, Permissions } from './access.ts';
import { notFound } from './answers.ts';
import type { ContentProvider, MetadataProvider, Received } from './content.ts';
import type { App } from './context.ts';
import type { SurfaceMetrics } from './metrics.ts';
import { matchesEtag } from './negotiate.ts';
import type { SitePeers } from './peers.ts';
import { noteRuns, runsRoute } from './runs.ts';
import type { RunsDesk } from './runs.ts';
import { Announcement, BaseParams, Health, Holdings, Instance, KeyParams, MetadataParams, PeerParams, Peers, RootParams, SiteParams, TargetParams, Uses } from './schemas.ts';

export interface ControlContext {
  readonly role: string;
  readonly version: string;
  readonly instance: string;
  readonly content: ContentProvider;
  readonly metadata: MetadataProvider | undefined;
  readonly peers: SitePeers | undefined;
  readonly metrics: SurfaceMetrics;
  readonly may: Permissions;
  readonly access: Access | undefined;
  readonly onWanted: ((address: string) => boolean) | undefined;
  readonly received: (() => Received) | undefined;
  readonly runs: RunsDesk | undefined;
}

const METADATA = 'application/json; charset=utf-8';
/** A file whose name begins with its version never changes (TUF 6.1); `timestamp.json` is asked for anew each time. */
const NUMBERED = /^[0-9]+\./;

/** The control plane: who holds what, what is trusted, how this host is. Never cached, save what is numbered. */
export function controlRoutes(app: App, context: ControlContext): void {
  const { content, metadata, peers, metrics, may } = context;

  if (context.access !== undefined) fleetRoutes(app, context.access, may);
  if (metadata !== undefined) {
    app.get(`${API}/tuf/metadata/:file`, { schema: { summary: 'TUF metadata', tags: ['trust'], params: MetadataParams } }, async (request, reply) => {
      const { file } = request.params;
      const allowed = may.metadata(request, file);
      if (allowed && context.runs !== undefined && file === 'timestamp.json') noteRuns(request, may, context.runs);
      const bytes = allowed ? await metadata.metadata(file) : undefined;
      if (bytes === undefined) throw notFound(file);
      const age = NUMBERED.test(file) ? undefined : metadata.age?.();
      if (age !== undefined) void reply.header('age', age);
      const newestRoot = file === 'timestamp.json' ? await metadata.newestRoot?.() : undefined;
      if (newestRoot !== undefined) void reply.header(HEADER_ROOT, newestRoot);
      return answerFile(request, reply, bytes, NUMBERED.test(file) ? CACHE_IMMUTABLE : 'no-cache', METADATA);
    });
    app.get(`${API}/tuf/targets/*`, { schema: { summary: 'TUF targets: release manifests', tags: ['trust'], params: TargetParams, Uses } }, async (request, reply) => {
      const path = request.params['*'];
      const bytes = (await may.target(request, path)) ? await metadata.target(path) : undefined;
      if (bytes === undefined) throw notFound('the target');
      return answerFile(request, reply, bytes, CACHE_IMMUTABLE, 'application/octet-stream');
    });
  }

  app.get(`${API}/holdings`, { schema: { summary: 'The artifacts held', tags: ['peers'], response: { 200: Holdings } } }, async (request, reply) => {
    void reply.header('cache-control', CACHE_NEVER);
    const all = await content.holdings();
    const shown = await Promise.all(all.map(({ key }) => may.artifact(request, key.root, key.namespace)));
    const artifacts = all.filter((_, at) => shown[at]).map(({ base, bringing, key, release, size, spans, working }) => ({
      ...key, size, spans: spans.count, held: spans.size,
      ...(release === undefined ? {} : { product: release.product, version: release.version }),
      ...(working === undefined ? {} : { working }), ...(base === undefined ? {} : { base }),
      ...(bringing === undefined || bringing.size === 0 ? {} : { bringing: [...bringing].slice(0, BRINGING_MOST) }),
    }));
    const told = { instance: context.instance, role: context.role, artifacts };
    // Who shares nothing with this host is not told either how much it has to do.
    if (artifacts.length === 0 && !may.operations(request)) return told;
    const received = context.received?.();
    const { content: sent, control } = metrics.totals;
    return { ...told, ...(received === undefined ? {} : { received: { ...received } }), sent: { content: sent, control } };
  });
  app.get(`${API}/holdings/:namespace/:root`, { schema: { summary: 'Bitmap of the spans held', tags: ['peers'], params: KeyParams } }, async (request, reply) => {
    const { namespace, root } = request.params;
    const holding = (await may.artifact(request, root as ObjectId, namespace)) ? await content.holding({ namespace, root: root as ObjectId }) : undefined;
    if (holding === undefined) {
      if (context.onWanted?.(request.ip) === true) void reply.header(HEADER_WORKING, '1');
      throw notFound('the artifact');
    }
    const { arriving, base, bringing, spans, working } = holding;
    const coming = [...(arriving?.keys() ?? [])].slice(0, BRINGING_MOST);
    void reply.headers({ 'cache-control': CACHE_NEVER, 'content-type': 'application/octet-stream', [HEADER_SPANS]: spans.count, ...(working === true ? { [HEADER_WORKING]: '1' } : {}), ...(bringing === undefined || bringing.size === 0 ? {} : { [HEADER_BRINGING]: [...bringing].slice(0, BRINGING_MOST).join(',') }), ...(coming.length === 0 ? {} : { [HEADER_ARRIVING]: coming.join(',') }), ...(base === undefined ? {} : { [HEADER_BASE]: base }) });
    return reply.send(Buffer.from(spans.encode()));
  });

  app.get(`${API}/holdings/:namespace/:root/deltas/:base`, { schema: { summary: 'Bitmap of the segments of a delta that a device holds', tags: ['peers'], params: BaseParams } }, async (request, reply) => {
    const { namespace, root, base } = request.params;
    const held = (await may.artifact(request, root as ObjectId, namespace)) ? await content.deltaHolding?.({ namespace, root: root as ObjectId }, base as ObjectId) : undefined;
    if (held === undefined) throw notFound('the delta');
    void reply.headers({ 'cache-control': CACHE_NEVER, 'content-type': 'application/octet-stream', [HEADER_SEGMENTS]: held.count });
    return reply.send(Buffer.from(held.encode()));
  });

  if (context.runs !== undefined) runsRoute(app, may, context.runs);
  if (peers !== undefined) {
    app.put(
      `${API}/sites/:site/peers/:instance`,
      { schema: { summary: 'Announces a host of a site for five minutes', tags: ['peers'], params: PeerParams, body: Announcement } },
      async (request, reply) => {
        const { site, instance } = request.params;
        const { url, roots } = request.body;
        if (!URL.canParse(url)) throw new ShoalError('BAD_REQUEST', 'url is not a URL');
        const taken = may.site(request, site) && peers.announce(site, { instance, url, roots: roots as ObjectId[] }, may.device(request));
        if (!taken) throw new ShoalError('FORBIDDEN', 'this is not yours to announce');
        return reply.code(204).header('cache-control', CACHE_NEVER).send();
      },
    );
    app.get(`${API}/sites/:site/peers`, { schema: { summary: 'The hosts announced at a site', tags: ['peers'], params: SiteParams, response: { 200: Peers } } }, async (request, reply) => {
      void reply.header('cache-control', CACHE_NEVER);
      if (!may.site(request, request.params.site)) throw notFound('the site');
      const listed = peers.at(request.params.site);
      // Of what somebody may not have he is not told either who has it.
      const roots = [...new Set(listed.flatMap((peer) => peer.roots))];
      const allowed = await Promise.all(roots.map((root) => may.artifact(request, root)));
      const shown = new Set(roots.filter((_, at) => allowed[at]));
      return { peers: listed.map((peer) => ({ ...peer, roots: peer.roots.filter((root) => shown.has(root)) })) };
    });
  }

  app.get(wire.instance, { schema: { summary: 'Which host this is', tags: ['peers'], response: { 200: Instance } } }, (request, reply) => {
    // For members: whoever may have the timestamp may know this as well.
    if (!may.metadata(request, 'timestamp.json')) throw notFound('what you ask for');
    void reply.header('cache-control', CACHE_NEVER);
    return { instance: context.instance, role: context.role };
  });
  app.get(`${API}/health`, { schema: { summary: 'Role, version, tiers', tags: ['operations'], response: { 200: Health } } }, async (request, reply) => {
    if (!may.operations(request)) throw notFound('what you ask for');
    void reply.header('cache-control', CACHE_NEVER);
    return Promise.resolve({ role: context.role, version: context.version, instance: context.instance, tiers });
  });
  app.get('/metrics', { schema: { summary: 'Prometheus text', tags: ['operations'] } }, async (request, reply) => {
    if (!may.operations(request)) throw notFound('what you ask for');
    void reply.headers({ 'cache-control': CACHE_NEVER, 'content-type': metrics.registry.contentType });
    return reply.send(await metrics.registry.metrics());
  });
}

/** What members of a fleet ask each other, where certificates say who they are. */
function fleetRoutes(app: App, { member, uses }: Access, may: Permissions): void {
  app.addHook('onRequest', async (request, reply) => {
    // Not to those who enrol: it is the time of the last revocation.
    if (member.revocations.number >= 0 && may.device(request) !== undefined) void reply.header(HEADER_REVOCATIONS, String(member.revocations.number));
    await Promise.resolve();
  });
  app.get(wire.revocations, { schema: { summary: 'The signed revocation list', tags: ['identity'] } }, async (_request, reply) => {
    const { bytes } = member.revocations;
    if (bytes === undefined) throw notFound('a revocation list');
    void reply.headers({ 'cache-control': CACHE_NEVER, 'content-type': 'application/octet-stream' });
    return reply.send(Buffer.from(bytes));
  });
  app.get(`${API}/fleet/uses/:root`, { schema: { summary: 'For gateways: what an artifact is used for', tags: ['identity'], params: RootParams, response: { 200: Uses } } }, async (request, reply) => {
    if (!may.host(request)) throw notFound('what you ask for');
    void reply.header('cache-control', CACHE_NEVER);
    return { uses: (await uses(request.params.root as ObjectId)).map(({ namespace, product }) => ({ namespace, product })) };
  });
}

function answerFile(request: FastifyRequest, reply: FastifyReply, bytes: Uint8Array, cache: string, type: string): FastifyReply {
  const etag = etagOf(bytes);
  void reply.headers({ etag, 'cache-control': cache });
  if (matchesEtag(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.headers({ 'content-type': type, 'x-content-type-options': 'nosniff' }).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
