import { X509Certificate } from 'node:crypto';
import { ShoalError } from '../core/errors.ts';
import { CERTIFICATES_MAX_BYTES, CERTIFICATE_CHAIN_MAX } from '../core/limits.ts';

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, at most a few. Throws `BAD_CERTIFICATE` when there is none or one cannot be read. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  try {
    if (pem.length > CERTIFICATES_MAX_BYTES) throw new Error('it is too long');
    const blocks = pem.match(BLOCK) ?? [];
    if (blocks.length === 0 || blocks.length > CERTIFICATE_CHAIN_MAX) throw new Error(`it has ${String(blocks.length)} certificates`);
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new ShoalError('BAD_CERTIFICATE', 'this is not a list of certificates in PEM', { cause });
  }
}

/**
 * Whether `leaf` leads to one of `anchors` by way of `between`, whatever the time: what a device whose clock is not set can
 * still say of a certificate. Everybody else leaves this to TLS.
 */
export function leadsTo(anchors: readonly X509Certificate[], leaf: X509Certificate, between: readonly X509Certificate[]): boolean {
  let last = leaf;
  for (let step = 0; step < CERTIFICATE_CHAIN_MAX; step++) {
    if (anchors.some((anchor) => issued(anchor, last))) return true;
    const next = between.find((each) => each !== last && issued(each, last));
    if (next === undefined) return false;
    last = next;
  }
  return false;
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

export function validAt(certificate: X509Certificate, today: number): boolean {
  return Date.parse(certificate.validFrom) <= today && today < Date.parse(certificate.validTo);
}
