import { createPrivateKey, createPublicKey, randomBytes, webcrypto } from 'node:crypto';
import type { KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import { CERTIFICATE_BACKDATE_MS, CERTIFICATE_LIFE_MS, CERTIFICATES_MAX_BYTES } from '../core/limits.ts';
import { makeDirectories, readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';
import { certificatesIn, leadsTo, validAt } from './certificates.ts';
import { hostNameOf, newFleetId, urisOf } from './holder.ts';
import type { Holder } from './holder.ts';
import { newKeyPair, spkiOf } from './key.ts';
import { encodeRevocations } from './revocations.ts';
import type { Revoked } from './revocations.ts';
import { pinOf } from './token.ts';

/** Where a fleet's certificate authority lies: `HOME/fleet`. */
export function fleetPaths(directory: string): { readonly fleet: string; readonly ca: string; readonly issuer: string; readonly key: string; readonly revocations: string; readonly registry: string } {
  const at = (name: string): string => join(directory, name);
  return { fleet: at('fleet.json'), ca: at('ca.pem'), issuer: at('issuer.pem'), key: at('issuer.key.pem'), revocations: at('revocations'), registry: at('registry.db') };
}

const CA_LIFE_MS = 25 * 365 * 86_400_000;
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** The library is only loaded where certificates are made (decision 0030): 180 ms and 23 MB that no device pays for. */
async function x509(): Promise<typeof import('@peculiar/x509')> {
  // Its dependency injection wants this polyfill in place first.
  await import('reflect-metadata/lite');
  return import('@peculiar/x509');
}

async function cryptoKey(key: KeyObject, usage: 'sign' | 'verify'): Promise<webcrypto.CryptoKey> {
  const { namedCurve } = key.asymmetricKeyDetails ?? {};
  const curve = namedCurve === 'secp384r1' ? 'P-384' : 'P-256';
  const [format, bytes] = usage === 'sign' ? (['pkcs8', key.export({ type: 'pkcs8', format: 'der' })] as const) : (['spki', key.export({ type: 'spki', format: 'der' })] as const);
  return webcrypto.subtle.importKey(format, bytes, { name: 'ECDSA', namedCurve: curve }, true, [usage]);
}

/** A positive number of 16 bytes (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** An operator's own: a CA certificate and its key, and what lies between it and the root that devices are to trust. PEM. */
export interface OwnAuthority {
  /** The issuing CA's certificate, further ones up to the root after it. */
  readonly certificates: string;
  readonly key: string;
}

/** Issues the fleet's certificates and signs its revocation list. */
export class FleetAuthority {
  readonly fleet: string;
  /** What everybody in the fleet trusts, PEM. */
  readonly ca: string;
  readonly anchors: readonly X509Certificate[];
  readonly #issuer: X509Certificate;
  /** The issuer and what leads from it to an anchor, without the anchor. */
  readonly #chain: readonly X509Certificate[];
  readonly #key: KeyObject;

  private constructor(fleet: string, ca: string, anchors: readonly X509Certificate[], issuers: readonly X509Certificate[], key: KeyObject) {
    const [issuer] = issuers;
    if (issuer === undefined) throw new RangeError('an authority has a certificate');
    this.fleet = fleet;
    this.ca = ca;
    this.anchors = anchors;
    this.#issuer = issuer;
    this.#chain = issuers.filter(({ raw }) => !anchors.some((anchor) => anchor.raw.equals(raw)));
    this.#key = key;
  }

  /** Makes an authority in `directory`, or takes over the operator's own. Throws `FLEET_EXISTS`, `BAD_AUTHORITY`. */
  static async create(files: Files, directory: string, now: number, own?: OwnAuthority): Promise<FleetAuthority> {
    const paths = fleetPaths(directory);
    if ((await files.stat(paths.fleet)) !== undefined) throw new ShoalError('FLEET_EXISTS', `there is a fleet in ${directory} already`, { ids: { path: directory } });
    await makeDirectories(files, directory);
    const fleet = newFleetId();
    const { certificates, key } = own ?? (await selfSigned(fleet, now));
    const chain = certificatesIn(certificates);
    const anchor = chain.at(-1)?.toString() ?? '';
    check(chain, key, now);
    await writeDurably(files, paths.key, Buffer.from(key), { permissions: 0o600 });
    await writeDurably(files, paths.issuer, Buffer.from(chain.map(String).join('')));
    await writeDurably(files, paths.ca, Buffer.from(anchor));
    // Last: with it the fleet is there.
    await writeDurably(files, paths.fleet, Buffer.from(`${JSON.stringify({ format: 1, fleet })}\n`));
    return FleetAuthority.open(files, directory);
  }

  /** Throws `NO_FLEET`, `BAD_AUTHORITY`. */
  static async open(files: Files, directory: string): Promise<FleetAuthority> {
    const paths = fleetPaths(directory);
    const read = async (path: string): Promise<string> => Buffer.from((await readWhole(files, path, CERTIFICATES_MAX_BYTES)) ?? []).toString('utf8');
    const text = await read(paths.fleet);
    if (text === '') throw new ShoalError('NO_FLEET', `there is no certificate authority in ${directory}`, { ids: { path: directory }, hint: '"shoal init" makes one with a new home, "shoal token" in one that has none.' });
    const { fleet } = JSON.parse(text) as { readonly fleet: string };
    const [ca, issuer, key] = await Promise.all([read(paths.ca), read(paths.issuer), read(paths.key)]);
    const anchors = certificatesIn(ca);
    try {
      return new FleetAuthority(fleet, ca, anchors, certificatesIn(issuer), createPrivateKey(key));
    } catch (cause) {
      throw new ShoalError('BAD_AUTHORITY', `the key of the certificate authority, ${paths.key}, cannot be read`, { cause, ids: { path: paths.key } });
    }
  }

  /** What tokens pin. */
  get pin(): string {
    return pinOf(this.anchors[0]?.raw ?? new Uint8Array(0));
  }

  /** Two certificates over one key: one to ask with, one to be asked with, which names no site and no product. `hosts`: further names of a listener. */
  async issue(holder: Holder, publicKey: KeyObject, now: number, hosts: readonly string[] = []): Promise<{ readonly client: string; readonly server: string }> {
    const { X509CertificateGenerator, BasicConstraintsExtension, KeyUsagesExtension, KeyUsageFlags, ExtendedKeyUsageExtension, SubjectAlternativeNameExtension } = await x509();
    const signingKey = await cryptoKey(this.#key, 'sign');
    const certified = await cryptoKey(publicKey, 'verify');
    const one = async (use: '1.3.6.1.5.5.7.3.1' | '1.3.6.1.5.5.7.3.2', names: readonly { readonly type: 'url' | 'dns' | 'ip'; readonly value: string }[]): Promise<string> => {
      const made = await X509CertificateGenerator.create({
        serialNumber: serialNumber(),
        subject: `CN=${holder.device}`,
        issuer: new (await x509()).X509Certificate(this.#issuer.raw).subjectName.toJSON(),
        notBefore: new Date(now - CERTIFICATE_BACKDATE_MS),
        notAfter: new Date(Math.min(now + CERTIFICATE_LIFE_MS, Date.parse(this.#issuer.validTo))),
        publicKey: certified,
        signingKey,
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([use]),
          new SubjectAlternativeNameExtension([...names]),
        ],
      });
      return [made.toString('pem'), ...this.#chain.map(String)].map((pem) => `${pem.trim()}\n`).join('');
    };
    const uris = (visibility: 'private' | 'public'): { readonly type: 'url'; readonly value: string }[] => urisOf(holder, visibility).map((value) => ({ type: 'url', value }));
    // A name for programs that know no fleets, which says no more than the URI: Prometheus and curl take no certificate without one.
    const listener = [hostNameOf(holder.device), ...hosts].map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }));
    return { client: await one('1.3.6.1.5.5.7.3.2', uris('private')), server: await one('1.3.6.1.5.5.7.3.1', [...uris('public'), ...listener]) };
  }

  /** The signed list of `revoked`, newer than `before`. */
  revocations(revoked: readonly Revoked[], before: number, now: number): Uint8Array {
    return encodeRevocations({ fleet: this.fleet, number: Math.max(before + 1, now), revoked }, this.#issuer, this.#key);
  }
}

async function selfSigned(fleet: string, now: number): Promise<OwnAuthority> {
  const { X509CertificateGenerator, BasicConstraintsExtension, KeyUsagesExtension, KeyUsageFlags, SubjectKeyIdentifierExtension } = await x509();
  const { privateKey, publicKey } = newKeyPair();
  const [signingKey, verifyingKey] = [await cryptoKey(privateKey, 'sign'), await cryptoKey(publicKey, 'verify')];
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${fleet}`,
    notBefore: new Date(now - CERTIFICATE_BACKDATE_MS),
    notAfter: new Date(now + CA_LIFE_MS),
    signingAlgorithm: P256,
    keys: { privateKey: signingKey, publicKey: verifyingKey },
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature, true),
      await SubjectKeyIdentifierExtension.create(verifyingKey),
    ],
  });
  return { certificates: `${certificate.toString('pem').trim()}\n`, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

/** Throws `BAD_AUTHORITY` unless an operator's own authority can be a fleet's: to be asked before anything is made for it. */
export function checkAuthority({ certificates, key }: OwnAuthority, now: number): void {
  check(certificatesIn(certificates), key, now);
}

/** Throws `BAD_AUTHORITY` unless the chain leads upward and the key is that of its first certificate. */
function check(chain: readonly X509Certificate[], key: string, now: number): void {
  const refuse = (why: string, cause?: unknown): ShoalError => new ShoalError('BAD_AUTHORITY', `this cannot be the fleet's certificate authority: ${why}`, { ...(cause === undefined ? {} : { cause }) });
  const [issuer] = chain;
  const anchor = chain.at(-1);
  if (issuer === undefined || anchor === undefined || !issuer.ca) throw refuse('its certificate may not issue others');
  if (!chain.every((each) => validAt(each, now))) throw refuse('a certificate of its chain is not valid now');
  if (!anchor.checkIssued(anchor)) throw refuse('the last certificate is not a root');
  if (issuer !== anchor && !leadsTo([anchor], issuer, chain.slice(1, -1))) throw refuse('its certificates do not lead to the last one');
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(key);
  } catch (cause) {
    throw refuse('the key cannot be read', cause);
  }
  const curve = privateKey.asymmetricKeyDetails?.namedCurve ?? '';
  if (!['prime256v1', 'secp384r1'].includes(curve)) throw refuse('its key is not an elliptic curve key on P-256 or P-384');
  if (Buffer.compare(spkiOf(createPublicKey(privateKey)), spkiOf(issuer.publicKey)) !== 0) throw refuse('the key is not that of the first certificate');
}
