import tls from 'node:tls';
import type { SecureContext, SecureContextOptions, TLSSocket } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { ShoalError } from '../core/errors.ts';
import { TLS_SESSIONS_MAX } from '../core/limits.ts';
import { validAt } from './certificates.ts';
import { holderOf } from './holder.ts';
import type { Holder } from './holder.ts';
import type { Revocations } from './revocations.ts';

/** What TLS is made of, PEM. */
export interface TlsMaterial {
  readonly key: string;
  /** The certificate and what leads from it to the CA. */
  readonly cert: string;
  /** The fleet's CA. */
  readonly ca: string;
}

/** A member of the fleet, as far as talking goes. What it shows is renewed while it talks. */
export interface Member {
  readonly fleet: string;
  readonly revocations: Revocations;
  /** To be asked with. */
  readonly server: TlsMaterial;
  /** To ask with; undefined for an origin, which asks nobody. */
  readonly client: TlsMaterial | undefined;
  /** Milliseconds since the epoch. */
  today(): number;
  /** Tells of new certificates. Returns the function that ends it. */
  onRenewed(listener: () => void): () => void;
}

/** TLS 1.3 alone. The first two groups cost a fraction of OpenSSL's default, a hybrid with ML-KEM (decision 0030). */
export const TLS_PARAMETERS = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
  ecdhCurve: 'X25519:P-256',
} as const satisfies SecureContextOptions;

/** Whose certificate the other side showed, or undefined when it showed none that is good now. */
export function holderAt(socket: TLSSocket, member: Member, certificate = socket.getPeerX509Certificate()): Holder | undefined {
  if (!socket.authorized) return undefined;
  const { fleet, revocations, today } = member;
  // A session that is taken up again was verified when it began: the date and the list are looked at each time.
  if (certificate === undefined || !validAt(certificate, today())) return undefined;
  const holder = holderOf(certificate.subjectAltName);
  return holder?.fleet === fleet && !revocations.has(holder.device) ? holder : undefined;
}

/** When the certificate that the other side showed ends, milliseconds since the epoch. */
export function endOf(socket: TLSSocket): number {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? -Infinity : Date.parse(certificate.validTo);
}

/** What our HTTP client needs to know of a connection it is to make. */
export interface ClientTls extends tls.ConnectionOptions {
  /** Says why the other side is not to be talked to, once the handshake is done. */
  readonly verify?: (socket: TLSSocket) => ShoalError | undefined;
  /** A session to go on with next time; undefined when the one it was given was of no use. */
  readonly remember?: (session: Buffer | undefined) => void;
}

/** Whom a client expects: a host that was named as origin or gateway has to be one; a neighbour may be anybody. */
export type Expected = 'host' | 'neighbour';

/** Connections of a member to others: its certificate, whom it accepts, sessions that are taken up again. */
export class FleetClient {
  readonly #member: Member;
  #context: SecureContext | undefined;
  readonly #sessions = new Map<string, Session>();

  constructor(member: Member) {
    this.#member = member;
    member.onRenewed(() => {
      // A session remembers the certificate it began with.
      this.#context = undefined;
      this.#sessions.clear();
    });
  }

  optionsFor(expected: Expected): (origin: URL) => ClientTls {
    return ({ origin }) => {
      const context = (this.#context ??= this.#newContext());
      const known = this.#sessions.get(origin);
      // Node gives a client the certificate of the other side once, and not at all when a session is taken up again.
      let certificate = known?.certificate;
      return {
        secureContext: context,
        ALPNProtocols: ['http/1.1'],
        // Members are known by their names in the fleet, not by addresses, which change.
        checkServerIdentity: () => undefined,
        verify: (socket) => {
          if (!socket.isSessionReused()) certificate = socket.getPeerX509Certificate();
          return certificate === undefined ? refusal(origin, undefined) : this.#refusal(socket, certificate, expected, origin);
        },
        remember: (session) => {
          if (context === this.#context) this.#remember(origin, session === undefined || certificate === undefined ? undefined : { session, certificate });
        },
        ...(known === undefined ? {} : { session: known.session }),
      };
    };
  }

  #newContext(): SecureContext {
    const material = this.#member.client;
    if (material === undefined) throw new ShoalError('NOT_ENROLLED', 'this host has no certificate to ask others with');
    return tls.createSecureContext({ ...TLS_PARAMETERS, ...material });
  }

  #refusal(socket: TLSSocket, certificate: X509Certificate, expected: Expected, origin: string): ShoalError | undefined {
    const holder = holderAt(socket, this.#member, certificate);
    const good = holder !== undefined && (expected === 'neighbour' || holder.role === 'origin' || holder.role === 'gateway');
    return good ? undefined : refusal(origin, holder);
  }

  #remember(origin: string, session: Session | undefined): void {
    this.#sessions.delete(origin);
    if (session !== undefined) this.#sessions.set(origin, session);
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= TLS_SESSIONS_MAX) break;
      this.#sessions.delete(oldest);
    }
  }
}

/** Connections of somebody who is no member, to the origin of the fleet whose CA (PEM) they were given. */
export function toOriginOf(ca: string): (origin: URL) => ClientTls {
  return ({ origin }) => ({
    ...TLS_PARAMETERS,
    ca,
    ALPNProtocols: ['http/1.1'],
    checkServerIdentity: () => undefined,
    verify: (socket) => {
      const holder = holderOf(socket.getPeerX509Certificate()?.subjectAltName);
      return holder?.role === 'origin' ? undefined : refusal(origin, holder);
    },
  });
}

interface Session {
  readonly session: Buffer;
  /** What the other side showed when it began. */
  readonly certificate: X509Certificate;
}

function refusal(origin: string, holder: Holder | undefined): ShoalError {
  const why = holder === undefined ? 'has no good certificate of this fleet' : `is the ${holder.role} ${holder.device}, neither origin nor gateway`;
  return new ShoalError('HTTP_CONNECT', `${origin} ${why}`, { ids: { origin }, retry: 'elsewhere' });
}

/** Reads when a PEM certificate began and ends, milliseconds since the epoch. */
export function lifeOf(pem: string): { readonly from: number; readonly to: number } {
  const { validFrom, validTo } = new X509Certificate(pem);
  return { from: Date.parse(validFrom), to: Date.parse(validTo) };
}
