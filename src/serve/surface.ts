import { randomUUID } from 'node:crypto';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { fastifySwagger } from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { fastify } from 'fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import type { ObjectId } from '../core/ids.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import {
  CONTROL_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  PROCESSING_MS,
  REQUEST_BODY_MAX_BYTES,
  REQUEST_HEAD_MAX_BYTES,
  REQUEST_TIMEOUT_MS,
  SERVE_MAX_CONNECTIONS,
  SERVE_MAX_CONNECTIONS_PER_ADDRESS,
  SERVE_MAX_RESPONSES,
  SERVE_MAX_RESPONSES_PER_CLIENT,
  SERVE_STALL_MS,
} from '../core/limits.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { API, HEADER_PATIENT } from '../core/wire.ts';
import { Callers, EVERYBODY, mayBeTold } from './access.ts';
import type { Access, Permissions } from './access.ts';
import { errorAnswer, notFound, sendError } from './answers.ts';
import type { ContentProvider, MetadataProvider, Received } from './content.ts';
import { Connections } from './connections.ts';
import { contentRoutes } from './content-routes.ts';
import type { App, ContentContext } from './context.ts';
import { controlRoutes } from './control-routes.ts';
import { keepDoor } from './door.ts';
import { Gate } from './gate.ts';
import { SurfaceMetrics } from './metrics.ts';
import { Paces } from './paces.ts';
import type { SitePeers } from './peers.ts';
import type { RunsDesk } from './runs.ts';
import { sendBody } from './send.ts';

export interface SurfaceLimits {
  /** Content responses at a time; the next are answered 503. */
  readonly responses: number;
  readonly responsesPerClient: number;
  readonly connections: number;
  /** Connections from one address, where addresses are all that is known of clients. */
  readonly connectionsPerAddress: number;
  /** Milliseconds in which a client must take at least one piece, or anything at all where an answer is not sent in pieces. */
  readonly stallMs: number;
  /** Milliseconds in which a request must be complete. */
  readonly requestMs: number;
}

export interface SurfaceOptions {
  readonly role: 'origin' | 'gateway' | 'agent';
  readonly version: string;
  /** Tells this host from others for as long as it runs. Default: random. */
  readonly instance?: string;
  readonly content: ContentProvider;
  readonly metadata?: MetadataProvider;
  readonly peers?: SitePeers;
  /** Who keeps what devices run. */
  readonly runs?: RunsDesk;
  /** Further routes of the control plane, such as the origin's upload. */
  readonly control?: (app: App, may: Permissions) => void;
  /** TLS with the fleet's certificates, and who may have what; plain HTTP without it. */
  readonly access?: Access;
  /** Who may have what where callers are not known. Default: everybody everything. Not with `access`, which knows them. */
  readonly permissions?: Permissions;
  /** Told the address of whoever wants to know what is held of an artifact that is not known here. Says whether this host looks for news now. */
  readonly onWanted?: (address: string) => boolean;
  /** Whether this host is about to get an artifact: who asks for a page of it that is not here is told so. */
  readonly coming?: (root: ObjectId) => boolean;
  /** What this host has received, for who looks at the site. */
  readonly received?: () => Received;
  readonly limits?: Partial<SurfaceLimits>;
  /** What all answers of the content plane together may take. */
  readonly uploadLimiter?: RateLimiter;
  readonly clock?: Clock;
  /** Told of failures that are ours: the client sees no more than a code. */
  readonly onError?: (error: unknown, url: string) => void;
}

export interface Surface {
  readonly app: App;
  readonly metrics: SurfaceMetrics;
  readonly instance: string;
  /** Listens and returns the URL. Port 0 picks a free one. */
  listen(host: string, port: number): Promise<string>;
  /** Takes no new requests, lets running ones end within `graceMs`, then cuts them. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Anything a path of ours never has: escapes, empty or dot segments, backslashes. Two spellings would be two cache
 * entries. The one escape let through is that of "+", which TUF clients use in the names of roles.
 */
const STRANGE_PATH = /%(?!2B)|\\|\/\/|\/\.{1,2}(?:\/|$)/;

/** The one HTTP surface of origin, gateway and device (docs/protocol.md). */
export async function createSurface(options: SurfaceOptions): Promise<Surface> {
  const limits: SurfaceLimits = {
    responses: SERVE_MAX_RESPONSES,
    responsesPerClient: SERVE_MAX_RESPONSES_PER_CLIENT,
    connections: SERVE_MAX_CONNECTIONS,
    connectionsPerAddress: SERVE_MAX_CONNECTIONS_PER_ADDRESS,
    stallMs: SERVE_STALL_MS,
    requestMs: REQUEST_TIMEOUT_MS,
    ...options.limits,
  };
  const clock = options.clock ?? systemClock;
  const instance = options.instance ?? randomUUID();
  const gate = new Gate(limits.responses, limits.responsesPerClient);
  const metrics = new SurfaceMetrics(() => gate.inside);
  const connections = new Connections(limits, () => {
    metrics.cut();
  });
  const callers = options.access === undefined ? undefined : new Callers(options.access, connections, clock);
  const may: Permissions = callers ?? options.permissions ?? EVERYBODY;
  const app = build(callers, limits);
  if (callers === undefined) app.server.on('connection', (socket: Socket) => {
    connections.address(socket);
  });
  connections.watch(app.server, limits.stallMs);
  // Whoever has no certificate of the fleet learns nothing: not even that what they ask for is not here.
  keepDoor(app.server, (request) => callers?.mayAsk(request) ?? true);
  const detach = callers?.attach(app.server as Server);
  const report = (error: unknown, url: string): void => options.onError?.(error, url);

  measure(app, metrics);
  if (callers !== undefined) keepPace(app, callers, clock);
  refuseStrangePaths(app);
  app.setErrorHandler(async (error, request, reply) => {
    const answer = errorAnswer(error);
    if (answer.status >= 500 && answer.status !== 503) report(error, request.url);
    if (answer.code === 'BUSY') metrics.refused();
    await sendError(reply, answer);
  });
  app.setNotFoundHandler(() => {
    throw notFound('what you ask for');
  });

  await app.register(fastifySwagger, {
    openapi: { openapi: '3.1.0', info: { title: `Shoal ${options.role}`, version: options.version, description: 'Content plane: immutable, cacheable. Control plane: never cached. See docs/protocol.md.' } },
  });
  const send: ContentContext['send'] = async (request, reply, status, headers, body) => {
    if (request.method === 'HEAD') {
      reply.hijack();
      reply.raw.writeHead(status, { ...headers, 'content-length': body.length }).end();
      return reply;
    }
    const leave = gate.enter(may.client(request));
    reply.hijack();
    try {
      await sendBody(reply.raw, status, headers, body, { clock, stallMs: limits.stallMs, limiter: options.uploadLimiter });
    } catch (error) {
      failed(reply, error);
      if (!isShoalError(error, 'CLIENT_GONE') && !isShoalError(error, 'CLIENT_STALLED')) report(error, request.url);
    } finally {
      leave();
    }
    return reply;
  };
  const patiently: ContentContext['patiently'] = async (request, { raw }, work) => {
    if (request.headers[HEADER_PATIENT] === undefined) return work;
    let cancel = (): void => undefined;
    const tell = (): void => {
      cancel = clock.after(PROCESSING_MS, () => {
        if (!raw.headersSent && !raw.destroyed) raw.writeProcessing();
        tell();
      });
    };
    tell();
    try {
      return await work;
    } finally {
      cancel();
    }
  };
  const failed = (reply: FastifyReply, error: unknown): void => {
    metrics.broken(error instanceof ShoalError ? error.code : 'INTERNAL');
    if (reply.raw.headersSent || reply.raw.destroyed) return;
    const { status, code, message } = errorAnswer(error);
    const text = JSON.stringify({ error: code, message });
    reply.raw.writeHead(status, { 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text) });
    reply.raw.end(text);
  };
  await app.register(
    async (plane) => {
      plane.addHook('preHandler', async (request) => {
        const { namespace, root } = request.params as { readonly namespace?: string; readonly root?: string };
        if (root !== undefined && !(await may.artifact(request, root as ObjectId, namespace))) throw notFound('what you ask for');
      });
      contentRoutes(plane, { content: options.content, coming: options.coming, client: (request) => may.client(request), send, patiently });
      onlyRead(plane, '/*');
      await Promise.resolve();
    },
    { prefix: `${API}/content` },
  );
  await app.register(async (plane) => {
    const { role, version, content, metadata, peers } = options;
    controlRoutes(plane, { role, version, instance, content, metadata, peers, metrics, may, access: options.access, onWanted: options.onWanted, runs: options.runs, received: options.received });
    onlyRead(plane, `${API}/tuf/*`);
    options.control?.(plane, may);
    plane.get('/openapi.json', { schema: { summary: 'This description', tags: ['operations'] } }, (request) => {
      if (!may.operations(request)) throw notFound('what you ask for');
      return app.swagger();
    });
    await Promise.resolve();
  });

  return {
    app,
    metrics,
    instance,
    listen: async (host, port) => {
      try {
        const url = new URL(await app.listen({ host, port }));
        // The framework says loopback for all addresses; whoever announces where he is must not.
        if (host === '0.0.0.0' || host === '::') url.hostname = host === '::' ? '[::]' : host;
        return url.origin;
      } catch (cause) {
        const { code } = cause as { readonly code?: string };
        const why = code === 'EADDRINUSE' ? 'something listens there already' : messageOf(cause);
        throw new ShoalError('LISTEN', `cannot listen on ${host}:${String(port)}: ${why}`, { cause, ids: { host, port }, retry: 'again' });
      }
    },
    close: async (graceMs = 10_000) => {
      const stop = clock.after(graceMs, () => {
        app.server.closeAllConnections();
      });
      try {
        await app.close();
      } finally {
        detach?.();
        stop();
      }
    },
  };
}

function build(callers: Callers | undefined, limits: SurfaceLimits): App {
  const common = {
    logger: false,
    bodyLimit: REQUEST_BODY_MAX_BYTES,
    connectionTimeout: 0,
    requestTimeout: limits.requestMs,
    handlerTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    exposeHeadRoutes: true,
    // What the framework cannot read as a path never meets a hook.
    frameworkErrors: (_error: unknown, _request: unknown, reply: FastifyReply): void => {
      void sendError(reply, errorAnswer(new ShoalError('BAD_PATH', 'this is no path here')));
    },
    // One spelling of a path. A full span's chunk set has some 6,000 characters.
    routerOptions: { maxParamLength: 8_192, caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: false } },
    clientErrorHandler: (error: ParserError, socket: Socket) => {
      if (mayBeTold(socket, callers)) clientErrorHandler(error, socket);
      else socket.destroy();
    },
  } as const;
  const http = { maxHeaderSize: REQUEST_HEAD_MAX_BYTES, headersTimeout: limits.requestMs, connectionsCheckingInterval: Math.min(CONTROL_TIMEOUT_MS, limits.requestMs), noDelay: true, requireHostHeader: false, highWaterMark: 64 * 1024 };
  const app = (callers === undefined ? fastify({ ...common, http }) : fastify({ ...common, https: { ...http, ...callers.tls } })) as unknown as App;
  app.server.maxConnections = limits.connections;
  app.server.maxHeadersCount = 100;
  return app.withTypeProvider<TypeBoxTypeProvider>();
}

type ParserError = Error & { readonly code?: string };

/** What never became a request: Node's parser refused it. */
function clientErrorHandler(error: ParserError, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, code, text] =
    error.code === 'HPE_HEADER_OVERFLOW' ? ['431 Request Header Fields Too Large', 'TOO_LARGE', 'the request head is too long']
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? ['408 Request Timeout', 'TIMEOUT', 'the request took too long to arrive']
    : ['400 Bad Request', 'BAD_REQUEST', 'this is not HTTP/1.1'];
  const body = JSON.stringify({ error: code, message: text });
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`);
}

/** No device keeps others waiting by asking fast. Origins and gateways ask for many. */
function keepPace(app: App, callers: Callers, clock: Clock): void {
  const paces = new Paces(clock);
  app.addHook('onRequest', async (request) => {
    if (!request.raw.socket.destroyed && !callers.host(request)) await paces.turn(callers.client(request));
  });
}

function refuseStrangePaths(app: App): void {
  app.addHook('onRequest', async (request) => {
    // RFC 9112, 3.2. Node would say it itself, before anybody is asked whether this may be a stranger.
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) throw new ShoalError('BAD_REQUEST', 'a request of HTTP/1.1 has a Host');
    const [path = '', query] = request.url.split('?', 2);
    if (STRANGE_PATH.test(path)) throw new ShoalError('BAD_PATH', 'paths here have no escapes and no empty or dot segments');
    if (query !== undefined && path.startsWith(`${API}/content/`)) throw new ShoalError('BAD_PATH', 'content URLs have no query');
    await Promise.resolve();
  });
}

/** Every other method is refused before a body is read. */
function onlyRead(app: App, url: string): void {
  const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    void reply.header('allow', 'GET, HEAD');
    await Promise.resolve();
    throw new ShoalError('METHOD_NOT_ALLOWED', `${request.method} is not possible here`);
  };
  app.route({ method: ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], url, schema: { hide: true }, onRequest: refuse, handler: refuse });
}

/** Counts what the socket sent between one response's end and the next, heads and all. */
function measure(app: App, metrics: SurfaceMetrics): void {
  const counted = new WeakMap<Socket, number>();
  app.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    const { socket } = request.raw;
    reply.raw.once('close', () => {
      const total = socket.bytesWritten;
      const plane = request.url.startsWith(`${API}/content/`) ? 'content' : 'control';
      metrics.answered(plane, request.routeOptions.url ?? 'none', reply.raw.statusCode, Math.max(0, total - (counted.get(socket) ?? 0)));
      counted.set(socket, total);
    });
    await Promise.resolve();
  });
}
