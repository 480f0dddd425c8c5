import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { ShoalError, messageOf } from '../core/errors.ts';
import { CERTIFICATES_MAX_BYTES, CERTIFICATE_RENEW_AFTER, CERTIFICATE_RENEW_SPREAD, REVOCATIONS_MAX_BYTES } from '../core/limits.ts';
import { makeDirectories, readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';
import { certificatesIn } from './certificates.ts';
import { deviceIdOf, fileIdentityKey, newKeyPair, spkiOf, statement } from './key.ts';
import type { IdentityKey } from './key.ts';
import { holderOf } from './holder.ts';
import type { Holder } from './holder.ts';
import type { EnrolRequest, Grant, RenewRequest } from './messages.ts';
import { Revocations } from './revocations.ts';
import { lifeOf } from './tls.ts';
import type { Member, TlsMaterial } from './tls.ts';
import type { EnrolmentToken } from './token.ts';

interface Kept {
  readonly format: 1;
  /** Of the certificates below, PKCS#8 PEM. Another one with every renewal. */
  readonly key: string;
  readonly client: string;
  readonly server: string;
  readonly ca: string;
  /** Where it was enrolled: who renews it. */
  readonly origin: string;
}

export interface Pending<T> {
  readonly request: T;
  readonly key: KeyObject;
}

/**
 * The identity of a device in a directory: `identity.key.pem`, which never leaves it, `certificates.json`, replaced whole
 * with every renewal, and `revocations`, the newest list it has seen. Operators have their certificate in PEM files as well.
 */
export class Credentials implements Member {
  readonly #files: Files;
  readonly #directory: string;
  readonly #identity: IdentityKey;
  readonly #listeners = new Set<() => void>();
  #kept: Kept;
  #holder: Holder;
  readonly revocations: Revocations;
  readonly today: () => number;
  #keeping: Promise<void> = Promise.resolve();

  /** Throws `NOT_ENROLLED` when there are none, `BAD_IDENTITY` when they are damaged. `today` is the time of day. */
  static async open(files: Files, directory: string, today: () => number): Promise<Credentials> {
    const bytes = await readWhole(files, join(directory, 'certificates.json'), 4 * CERTIFICATES_MAX_BYTES);
    if (bytes === undefined) throw new ShoalError('NOT_ENROLLED', `${directory} holds no identity`, { ids: { path: directory }, hint: 'Get one with "shoal enroll".' });
    try {
      const kept = JSON.parse(Buffer.from(bytes).toString('utf8')) as Kept;
      const keyPath = join(directory, 'identity.key.pem');
      // Not another one: certificates are renewed for the key that they were asked for with, and for no other.
      if ((await files.stat(keyPath)) === undefined) throw new Error('identity.key.pem is not there');
      const identity = await fileIdentityKey(files, keyPath);
      if (deviceIdOf(identity.publicKey) !== holderIn(kept).device) throw new Error('identity.key.pem is not the key of its device');
      const list = await readWhole(files, join(directory, 'revocations'), REVOCATIONS_MAX_BYTES);
      return new Credentials(files, directory, identity, kept, list, today);
    } catch (cause) {
      throw new ShoalError('BAD_IDENTITY', `the identity in ${directory} cannot be read: ${messageOf(cause)}`, { cause, ids: { path: directory }, hint: 'Enrol this device again, into another directory.' });
    }
  }

  private constructor(files: Files, directory: string, identity: IdentityKey, kept: Kept, list: Uint8Array | undefined, today: () => number) {
    this.#files = files;
    this.#directory = directory;
    this.#identity = identity;
    this.#kept = kept;
    this.#holder = holderIn(kept);
    this.today = today;
    this.revocations = new Revocations(this.#holder.fleet, certificatesIn(kept.ca));
    if (list !== undefined) this.#adoptKept(list);
    this.revocations.onChange(() => {
      this.#keepRevocations();
    });
  }

  /** What `shoal enroll` sends, and the key of the certificates it asks for. Makes the identity key when there is none. */
  static async enrolment(files: Files, directory: string, { id, secret }: EnrolmentToken): Promise<Pending<EnrolRequest>> {
    await makeDirectories(files, directory);
    const identity = await fileIdentityKey(files, join(directory, 'identity.key.pem'));
    const { privateKey, publicKey } = newKeyPair();
    const bytes = spkiOf(publicKey);
    const request = { token: `${id}.${secret}`, identity: base64(identity.publicKey), key: base64(bytes), proof: base64(await identity.sign(statement('enroll', id, bytes))) };
    return { request, key: privateKey };
  }

  /** Keeps what an enrolment brought. `origin` is where renewals go. Throws `BAD_GRANT`. */
  static async enrolled(files: Files, directory: string, grant: Grant, key: KeyObject, origin: string, today: () => number): Promise<Credentials> {
    const kept = keptOf(grant, key, origin);
    await write(files, directory, kept, grant);
    return Credentials.open(files, directory, today);
  }

  get holder(): Holder {
    return this.#holder;
  }

  get fleet(): string {
    return this.#holder.fleet;
  }

  get origin(): string {
    return this.#kept.origin;
  }

  get ca(): string {
    return this.#kept.ca;
  }

  get client(): TlsMaterial {
    const { key, client, ca } = this.#kept;
    return { key, cert: client, ca };
  }

  get server(): TlsMaterial {
    const { key, server, ca } = this.#kept;
    return { key, cert: server, ca };
  }

  /** When its certificates end, milliseconds since the epoch. */
  get ends(): number {
    return lifeOf(this.#kept.client).to;
  }

  /** Whether it is time for others: most of their life is over, or by this clock they are not good at all. */
  get due(): boolean {
    const { from, to } = lifeOf(this.#kept.client);
    const now = this.today();
    // A fleet that was enrolled on one day does not come back on one day.
    const share = CERTIFICATE_RENEW_AFTER + (Number.parseInt(this.#holder.device.slice(0, 2), 16) / 255 - 0.5) * CERTIFICATE_RENEW_SPREAD;
    return now < from || now >= from + (to - from) * share;
  }

  async renewal(): Promise<Pending<RenewRequest>> {
    const { privateKey, publicKey } = newKeyPair();
    const bytes = spkiOf(publicKey);
    const request = { identity: base64(this.#identity.publicKey), key: base64(bytes), proof: base64(await this.#identity.sign(statement('renew', this.fleet, bytes))) };
    return { request, key: privateKey };
  }

  /** Takes new certificates, durably. Throws `BAD_GRANT` when they are not this device's. */
  async renewed(grant: Grant, key: KeyObject): Promise<void> {
    if (grant.device !== this.#holder.device || grant.fleet !== this.fleet) throw new ShoalError('BAD_GRANT', 'the origin renewed another device', { retry: 'elsewhere' });
    const kept = keptOf(grant, key, this.#kept.origin);
    await write(this.#files, this.#directory, kept, undefined);
    this.#kept = kept;
    this.#holder = holderIn(kept);
    this.revocations.trust(certificatesIn(kept.ca));
    if (grant.revocations !== '') this.revocations.adopt(Buffer.from(grant.revocations, 'base64'));
    for (const listener of this.#listeners) listener();
  }

  onRenewed(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Returns when what was heard has been written. */
  async settled(): Promise<void> {
    await this.#keeping;
  }

  #adoptKept(list: Uint8Array): void {
    try {
      this.revocations.adopt(list);
    } catch {
      // Damaged on the medium: the next host it talks to has it.
    }
  }

  #keepRevocations(): void {
    const { bytes } = this.revocations;
    if (bytes === undefined) return;
    // What cannot be written is heard again.
    this.#keeping = this.#keeping.then(() => writeDurably(this.#files, join(this.#directory, 'revocations'), bytes)).catch(() => undefined);
  }
}

function keptOf(grant: Grant, key: KeyObject, origin: string): Kept {
  const kept: Kept = { format: 1, key: key.export({ type: 'pkcs8', format: 'pem' }) as string, client: grant.client, server: grant.server, ca: grant.ca, origin };
  const [certificate] = certificatesIn(kept.client);
  certificatesIn(kept.server);
  certificatesIn(kept.ca);
  const holder = holderIn(kept);
  if (certificate?.checkPrivateKey(key) !== true || holder.device !== grant.device || holder.fleet !== grant.fleet) throw new ShoalError('BAD_GRANT', 'the certificates are not those that were asked for', { retry: 'elsewhere' });
  return kept;
}

function holderIn({ client }: Kept): Holder {
  const holder = holderOf(certificatesIn(client)[0]?.subjectAltName);
  if (holder === undefined) throw new ShoalError('BAD_GRANT', 'the certificate names nobody', { retry: 'elsewhere' });
  return holder;
}

async function write(files: Files, directory: string, kept: Kept, grant: Grant | undefined): Promise<void> {
  if (grant !== undefined && grant.revocations !== '') await writeDurably(files, join(directory, 'revocations'), Buffer.from(grant.revocations, 'base64'));
  // curl and Prometheus take files of these kinds.
  if (holderIn(kept).role === 'operator') {
    await writeDurably(files, join(directory, 'operator.key.pem'), Buffer.from(kept.key), { permissions: 0o600 });
    await writeDurably(files, join(directory, 'operator.pem'), Buffer.from(kept.client));
    await writeDurably(files, join(directory, 'ca.pem'), Buffer.from(kept.ca));
  }
  // Last: with it the device is enrolled.
  await writeDurably(files, join(directory, 'certificates.json'), Buffer.from(`${JSON.stringify(kept)}\n`), { permissions: 0o600 });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
