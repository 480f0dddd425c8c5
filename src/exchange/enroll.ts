import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError } from '../core/errors.ts';
import { GRANT_MAX_BYTES } from '../core/limits.ts';
import { wire } from '../core/wire.ts';
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { certificatesIn, leadsTo } from '../identity/certificates.ts';
import { Credentials } from '../identity/credentials.ts';
import { holderOf } from '../identity/holder.ts';
import { parseGrant } from '../identity/messages.ts';
import type { Grant } from '../identity/messages.ts';
import { TLS_PARAMETERS } from '../identity/tls.ts';
import { parseToken, pinOf } from '../identity/token.ts';
import type { Files } from '../store/files.ts';
import { hostUrl } from './host-url.ts';
import { HttpClient } from './http.ts';
import type { TlsFor } from './http-pool.ts';

export interface EnrolOptions {
  readonly files: Files;
  /** Where the identity is to lie. */
  readonly directory: string;
  readonly origin: string;
  readonly token: string;
  readonly clock: Clock;
  readonly today: () => number;
}

/**
 * Turns a token into an identity. Nothing of the device's clock is believed: the origin is known by the pin in the token,
 * which gets its secret only then. Throws `BAD_TOKEN`, `WRONG_FLEET`, `REFUSED`, `BAD_GRANT` and what the HTTP client throws.
 */
export async function enrolDevice({ files, directory, origin, token, clock, today }: EnrolOptions): Promise<Credentials> {
  const parsed = parseToken(token);
  const base = hostUrl(origin);
  const stranger = new HttpClient({ clock, tls: () => ({ ...TLS_PARAMETERS, rejectUnauthorized: false }) });
  let first: X509Certificate | undefined;
  try {
    first = pinned(await post(stranger, base + wire.anchors, { token: parsed.id }), parsed.pin);
  } finally {
    stranger.close();
  }
  if (first === undefined) throw new ShoalError('WRONG_FLEET', `${base} is not the origin that this token is for`, { ids: { origin: base }, hint: 'Look at the URL, and whether the token is whole.' });
  const client = new HttpClient({ clock, tls: timeless([first], undefined) });
  try {
    const { request, key } = await Credentials.enrolment(files, directory, parsed);
    return await Credentials.enrolled(files, directory, parseGrant(await post(client, base + wire.enrol, request)), key, base, today);
  } finally {
    client.close();
  }
}

function pinned(answer: Uint8Array, pin: string): X509Certificate | undefined {
  try {
    const { ca } = JSON.parse(Buffer.from(answer).toString('utf8')) as { readonly ca?: unknown };
    return certificatesIn(String(ca)).find(({ raw }) => pinOf(raw) === pin);
  } catch {
    return undefined; // No certificates at all.
  }
}

/** Brings new certificates from `origin`, or from a gateway that passes it on. Works after months, and whatever the time is. Throws as `enrolDevice` does. */
export async function renewDevice(credentials: Credentials, origin: string, clock: Clock): Promise<Grant> {
  const client = new HttpClient({ clock, tls: timeless(certificatesIn(credentials.ca), credentials.fleet) });
  try {
    const { request, key } = await credentials.renewal();
    const grant = parseGrant(await post(client, hostUrl(origin) + wire.renew, request));
    await credentials.renewed(grant, key);
    return grant;
  } finally {
    client.close();
  }
}

/**
 * TLS with an origin of the fleet whose certificate is not asked for its dates: neither side may be able to say what time it
 * is. An old certificate of an origin is of little use here: what is signed names its purpose, and what comes back has to
 * be certificates of the fleet's CA over a key that only this device has.
 */
function timeless(anchors: readonly X509Certificate[], fleet: string | undefined): TlsFor {
  return () => ({
    ...TLS_PARAMETERS,
    rejectUnauthorized: false,
    verify: (socket) => {
      const [leaf, ...between] = shown(socket);
      const holder = holderOf(leaf?.subjectAltName);
      const serves = leaf?.keyUsage.includes('1.3.6.1.5.5.7.3.1') === true && (holder?.role === 'origin' || holder?.role === 'gateway');
      if (leaf !== undefined && serves && (fleet === undefined || holder?.fleet === fleet) && leadsTo(anchors, leaf, between)) return undefined;
      return new ShoalError('WRONG_FLEET', 'this host is no origin of the fleet', { retry: 'elsewhere' });
    },
  });
}

/** The certificates the other side showed, its own first. */
function shown(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let each = socket.getPeerX509Certificate(); each !== undefined && chain.length < 4 && !chain.includes(each); each = each.issuerCertificate) chain.push(each);
  return chain;
}

async function post(client: HttpClient, url: string, value: unknown): Promise<Uint8Array> {
  const refused = (cause?: unknown): ShoalError => new ShoalError('REFUSED', 'the origin refused', { ids: { url }, ...(cause === undefined ? {} : { cause }), hint: 'The token may be used up, expired or ended, the device revoked; "shoal devices --audit" at the origin says which.' });
  try {
    const { status, body } = await client.request(url, GRANT_MAX_BYTES, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) });
    if (status === 200) return body;
    if (status === 403) throw refused();
    if (status === 503) throw new ShoalError('BUSY', 'the origin takes no more requests now', { ids: { url }, retry: 'again', hint: 'Try again in some minutes.' });
    throw new ShoalError('HTTP_STATUS', `${url} answered ${String(status)}`, { ids: { url, status }, retry: 'elsewhere', hint: 'Is this an origin, and does its home have a fleet?' });
  } catch (error) {
    // The client names the URL, and what was found out during the handshake is said as it is.
    if (isShoalError(error) && error.cause instanceof ShoalError && error.cause.code === 'WRONG_FLEET') throw error.cause;
    throw error;
  }
}
