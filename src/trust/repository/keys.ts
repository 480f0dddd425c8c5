import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { Signature } from '@tufjs/models';
import { ShoalError } from '../../core/errors.ts';
import { makeDirectories, readWhole, writeDurably } from '../../store/durable.ts';
import type { Files } from '../../store/files.ts';

/** A public key as TUF metadata records it (TUF 4.2.2, ed25519). */
export interface PublicKey {
  readonly keytype: 'ed25519';
  readonly scheme: 'ed25519';
  readonly keyval: { readonly public: string };
}

/** Something that signs: a key file now, a token or TPM behind the same two members later. */
export interface Signer {
  readonly keyId: string;
  readonly publicKey: PublicKey;
  sign(data: Buffer): Signature;
}

/** TUF 4.2.2: SHA-256 of the canonical JSON of the key. The members below are in canonical order. */
export function keyIdOf(key: PublicKey): string {
  const canonical = JSON.stringify({ keytype: key.keytype, keyval: { public: key.keyval.public }, scheme: key.scheme });
  return createHash('sha256').update(canonical).digest('hex');
}

function signerOf(privateKey: KeyObject): Signer {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  const publicKey: PublicKey = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: Buffer.from(String(x), 'base64url').toString('hex') } };
  const keyId = keyIdOf(publicKey);
  return { keyId, publicKey, sign: (data) => new Signature({ keyID: keyId, sig: sign(null, data, privateKey).toString('hex') }) };
}

/** Makes an ed25519 key and keeps it in `directory` as `NAME.KEYID8.pem`: PKCS#8, readable by its owner alone. */
export async function createKey(files: Files, directory: string, name: string): Promise<Signer> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const signer = signerOf(privateKey);
  await makeDirectories(files, directory);
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  await writeDurably(files, join(directory, `${name}.${signer.keyId.slice(0, 8)}.pem`), Buffer.from(pem), { permissions: 0o600 });
  return signer;
}

/** Every key in `directory`, by key id; file names are for people only. A directory that is not there has none. */
export async function loadKeys(files: Files, directory: string): Promise<ReadonlyMap<string, Signer>> {
  const keys = new Map<string, Signer>();
  if ((await files.stat(directory)) === undefined) return keys;
  for (const name of await files.list(directory)) {
    if (!name.endsWith('.pem')) continue;
    const path = join(directory, name);
    // What the file layer throws is passed on: a key that this user may not read is not a bad one.
    const bytes = await readWhole(files, path, 16_384);
    try {
      const key = createPrivateKey(Buffer.from(bytes ?? []));
      if (key.asymmetricKeyType !== 'ed25519') throw new Error('not an ed25519 key');
      const signer = signerOf(key);
      keys.set(signer.keyId, signer);
    } catch (cause) {
      throw new ShoalError('BAD_KEY', `${path} is not a private ed25519 key in PKCS#8 PEM`, { cause, ids: { path } });
    }
  }
  return keys;
}

/** Reads the public half of a key made elsewhere, as `keygen` writes it. Throws `BAD_KEY`. */
export async function readPublicKey(files: Files, path: string): Promise<PublicKey> {
  const bad = (cause?: unknown): ShoalError => new ShoalError('BAD_KEY', `${path} is not a public ed25519 key`, { ids: { path }, cause, hint: 'Make one with "shoal keygen ROLE --out FILE".' });
  const bytes = await readWhole(files, path, 16_384);
  if (bytes === undefined) throw bad();
  let value: Partial<PublicKey> | null;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<PublicKey> | null;
  } catch (cause) {
    throw bad(cause);
  }
  const hex = value?.keyval?.public;
  if (value?.keytype !== 'ed25519' || value.scheme !== 'ed25519' || typeof hex !== 'string' || !/^[0-9a-f]{64}$/.test(hex)) throw bad();
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: hex } };
}
