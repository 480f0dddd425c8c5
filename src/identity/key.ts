import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ShoalError } from '../core/errors.ts';
import { readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';

/**
 * A device's long-lived key. It signs requests for certificates and nothing else, so a TPM or a PKCS#11 token fits behind
 * these two members: ECDSA on P-256 is what both have.
 */
export interface IdentityKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** ECDSA with SHA-256, DER. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

const PEM_MAX_BYTES = 16_384;
/** A P-256 key is 91 bytes in this form. */
const SPKI_MAX_BYTES = 256;

/** The name of whoever has this key. */
export function deviceIdOf(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 32);
}

export function newKeyPair(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ type: 'spki', format: 'der' });
}

/** Parses a public key from outside. Throws `BAD_KEY` for anything but P-256. */
export function publicKeyFrom(spki: Uint8Array): KeyObject {
  try {
    if (spki.byteLength > SPKI_MAX_BYTES) throw new Error('too long');
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('not P-256');
    // One key has one name: another encoding of the same one is refused.
    if (!spkiEquals(spkiOf(key), spki)) throw new Error('not in its canonical form');
    return key;
  } catch (cause) {
    throw new ShoalError('BAD_KEY', 'this is not a public key on P-256', { cause });
  }
}

function spkiEquals(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** The identity key in `path`, made there (PKCS#8 PEM, readable by its owner alone) when there is none. Throws `BAD_KEY`. */
export async function fileIdentityKey(files: Files, path: string): Promise<IdentityKey> {
  let pem = await readWhole(files, path, PEM_MAX_BYTES);
  if (pem === undefined) {
    pem = Buffer.from(newKeyPair().privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeDurably(files, path, pem, { permissions: 0o600 });
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(Buffer.from(pem));
    publicKeyFrom(spkiOf(createPublicKey(privateKey)));
  } catch (cause) {
    throw new ShoalError('BAD_KEY', `${path} is not a private key on P-256 in PKCS#8 PEM`, { cause, ids: { path } });
  }
  return {
    publicKey: spkiOf(createPublicKey(privateKey)),
    sign: (data) => Promise.resolve(sign('sha256', data, privateKey)),
  };
}

/**
 * What an identity key signs to ask for certificates. Every part has its length before it, so that no two requests have
 * the same bytes; the purpose and the fleet are in it, so that a request is good for nothing else.
 */
export function statement(purpose: 'enroll' | 'renew', ...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const fields = [`shoal ${purpose} 1`, ...parts].map((part) => Buffer.from(part));
  return Buffer.concat(fields.flatMap((field) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(field.byteLength);
    return [length, field];
  }));
}

export function isSigned(publicKey: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify('sha256', data, publicKey, signature);
  } catch {
    return false; // Not even the form of a signature.
  }
}
