import { createHash, randomBytes } from 'node:crypto';
import { ShoalError } from '../core/errors.ts';

/**
 * What opens the door to enrolment, as text: `shoal1.PIN.ID.SECRET`, each part base64url. PIN is the SHA-256 of the fleet's
 * CA certificate, so that a device that knows nothing else sends its secret to the right origin only; ID names the token
 * at the origin, which keeps no more of SECRET than its SHA-256.
 */
export interface EnrolmentToken {
  readonly pin: string;
  readonly id: string;
  readonly secret: string;
}

const TOKEN = /^shoal1\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{11})\.([A-Za-z0-9_-]{32})$/;

export function newToken(pin: string): EnrolmentToken {
  let id: string;
  // It stands on command lines: no option begins like it.
  do id = randomBytes(8).toString('base64url'); while (id.startsWith('-'));
  return { pin, id, secret: randomBytes(24).toString('base64url') };
}

export function formatToken({ pin, id, secret }: EnrolmentToken): string {
  return `shoal1.${pin}.${id}.${secret}`;
}

/** Throws `BAD_TOKEN`, which does not repeat the text. */
export function parseToken(text: string): EnrolmentToken {
  const [, pin, id, secret] = TOKEN.exec(text.trim()) ?? [];
  if (pin === undefined || id === undefined || secret === undefined) {
    throw new ShoalError('BAD_TOKEN', 'this is not an enrolment token', { hint: 'It begins with "shoal1." and has three more parts; "shoal token" makes one.' });
  }
  return { pin, id, secret };
}

/** How a CA certificate (DER) is pinned. */
export function pinOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('base64url');
}

/** What is kept of a secret. It has 192 random bits: there is nothing to guess, and so nothing to stretch. */
export function hashOfSecret(secret: string): string {
  return createHash('sha256').update(`shoal token\n${secret}`).digest('hex');
}
