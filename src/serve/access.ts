import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import { TLSSocket } from 'node:tls';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { FastifyRequest } from 'fastify';
import type { Clock } from '../core/clock.ts';
import type { ObjectId } from '../core/ids.ts';
import { HANDSHAKE_TIMEOUT_MS, TLS_SESSION_S } from '../core/limits.ts';
import { mayHave } from '../identity/holder.ts';
import type { Holder } from '../identity/holder.ts';
import { TLS_PARAMETERS, endOf, holderAt } from '../identity/tls.ts';
import type { Member } from '../identity/tls.ts';
import { deltaEnds, parseMetadataFile, productOf } from '../trust/roles.ts';
import type { Connections } from './connections.ts';
import { Handshakes } from './handshakes.ts';

/** A release of `product` in `namespace` consists of an artifact. */
export interface Use {
  readonly namespace: string;
  readonly product: string;
}

/** Who may reach a host that speaks TLS with the fleet, and what they may have of it. */
export interface Access {
  readonly member: Member;
  /**
   * The paths that are open to whoever has no certificate: enrolment, uploads; with "/" at its end, all that begin so. With none,
   * TLS itself turns strangers away; with some, whatever else a stranger asks for closes the connection without a byte.
   */
  readonly open?: readonly string[];
  /** Whether this host has anything to do with `caller`. Whoever it does not admit is a stranger. */
  admits(caller: Holder): boolean;
  /** What an artifact is used for; nothing when it is not known here. */
  uses(root: ObjectId): Promise<readonly Use[]>;
}

/** What a request may be answered. Where there is no `Access`, everything: the host listens on loopback, or was told to. */
export interface Permissions {
  /** Whether the caller may have the artifact. Who may not is told that it is not here. */
  artifact(request: FastifyRequest, root: ObjectId, namespace?: string): Promise<boolean>;
  /** Whether the caller may have a file of the TUF repository, by its name on the wire. */
  metadata(request: FastifyRequest, file: string): boolean;
  target(request: FastifyRequest, path: string): Promise<boolean>;
  /** Whether the caller may see and be seen at a site. */
  site(request: FastifyRequest, site: string): boolean;
  /** Whether the caller keeps hosts running: metrics, health, the description. */
  operations(request: FastifyRequest): boolean;
  /** Whether the caller passes on what strangers ask it: a gateway, known by its certificate. */
  passesOn(request: FastifyRequest): boolean;
  /** Whether the caller is a host that serves many. */
  host(request: FastifyRequest): boolean;
  /** Who the caller is, to know them again; undefined where nobody is known. */
  device(request: FastifyRequest): string | undefined;
  /** Whose share of this host a request takes: a device's, or that of an address where devices are not known. */
  client(request: FastifyRequest): string;
}

export const EVERYBODY: Permissions = {
  artifact: () => Promise.resolve(true),
  metadata: () => true,
  target: () => Promise.resolve(true),
  site: () => true,
  operations: () => true,
  passesOn: () => false,
  host: () => true,
  device: () => undefined,
  client: ({ ip }) => ip,
};

/** Callers of a TLS listener, by connection. Looked at with every request: a certificate may end or be revoked while one is open. */
export class Callers implements Permissions {
  readonly #access: Access;
  readonly #handshakes: Handshakes;
  readonly #connections: Connections;
  readonly #holders = new WeakMap<Socket, { readonly holder: Holder; readonly end: number }>();
  readonly #sockets = new Set<TLSSocket>();

  constructor(access: Access, connections: Connections, clock: Clock) {
    this.#access = access;
    this.#connections = connections;
    this.#handshakes = new Handshakes(clock);
  }

  /** Options of the TLS server. */
  get tls(): TlsOptions {
    return {
      ...this.#material,
      ALPNProtocols: ['http/1.1'],
      requestCert: true,
      rejectUnauthorized: this.#access.open === undefined,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      sessionTimeout: TLS_SESSION_S,
    };
  }

  get #material(): TlsOptions {
    return { ...TLS_PARAMETERS, ...this.#access.member.server };
  }

  /** Takes charge of the server's connections. Returns the function that ends it. */
  attach(server: Server): () => void {
    const { member } = this.#access;
    this.#handshakes.watch(server);
    server.prependListener('secureConnection', (socket: TLSSocket) => {
      this.#met(socket);
    });
    const stops = [
      member.onRenewed(() => {
        server.setSecureContext(this.#material);
      }),
      member.revocations.onChange(() => {
        for (const socket of this.#sockets) if (this.of(socket) === undefined && this.#holders.has(socket)) socket.destroy();
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Who is at the other end; undefined for a stranger. */
  of(socket: Socket): Holder | undefined {
    const { revocations, today } = this.#access.member;
    const known = this.#holders.get(socket);
    return known === undefined || known.end <= today() || revocations.has(known.holder.device) ? undefined : known.holder;
  }

  /** Whether a request may be looked at, of whoever it is. */
  mayAsk({ socket, url = '' }: IncomingMessage): boolean {
    return this.of(socket) !== undefined || (!this.#holders.has(socket) && this.#access.open?.some((path) => url === path || (path.endsWith('/') && url.startsWith(path))) === true);
  }

  async artifact({ raw }: FastifyRequest, root: ObjectId, namespace?: string): Promise<boolean> {
    const holder = this.of(raw.socket);
    if (holder === undefined) return false;
    if (holder.products === 'all') return true;
    const uses = await this.#access.uses(root);
    return mayHave(holder, uses.filter((use) => namespace === undefined || use.namespace === namespace).map(({ product }) => product));
  }

  metadata({ raw }: FastifyRequest, file: string): boolean {
    const product = productOf(parseMetadataFile(file)?.role ?? '');
    const holder = this.of(raw.socket);
    return holder !== undefined && (product === undefined || mayHave(holder, [product]));
  }

  async target(request: FastifyRequest, path: string): Promise<boolean> {
    const [kind, product = '', file = ''] = path.split('/');
    const holder = this.of(request.raw.socket);
    if (holder === undefined) return false;
    if (kind === 'products') return mayHave(holder, [product]);
    const ends = deltaEnds(`${kind ?? ''}/${product}/${file.replace(/^[0-9a-f]{64}\./, '')}`);
    return ends === undefined ? holder.products === 'all' : this.artifact(request, ends.target);
  }

  site({ raw }: FastifyRequest, site: string): boolean {
    const holder = this.of(raw.socket);
    return holder?.role === 'agent' ? (holder.site ?? 'default') === site : holder !== undefined;
  }

  operations({ raw }: FastifyRequest): boolean {
    return this.of(raw.socket)?.role === 'operator';
  }

  passesOn({ raw }: FastifyRequest): boolean {
    return this.of(raw.socket)?.role === 'gateway';
  }

  host({ raw }: FastifyRequest): boolean {
    const role = this.of(raw.socket)?.role;
    return role === 'gateway' || role === 'origin';
  }

  device({ raw }: FastifyRequest): string | undefined {
    return this.of(raw.socket)?.device;
  }

  client(request: FastifyRequest): string {
    return this.device(request) ?? request.ip;
  }

  #met(socket: TLSSocket): void {
    const { member, open } = this.#access;
    const holder = holderAt(socket, member);
    if (holder !== undefined && this.#access.admits(holder)) {
      this.#handshakes.known(socket.remoteAddress ?? '');
      this.#holders.set(socket, { holder, end: endOf(socket) });
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      this.#connections.member(socket, holder);
    } else if (open === undefined) socket.destroy();
    else this.#connections.stranger(socket);
  }
}

/** Whether a socket's owner may be told what is wrong with its HTTP. */
export function mayBeTold(socket: Socket, callers: Callers | undefined): boolean {
  return callers === undefined || (socket instanceof TLSSocket && callers.of(socket) !== undefined);
}
