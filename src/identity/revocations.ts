import { X509Certificate, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ShoalError } from '../core/errors.ts';
import { REVOCATIONS_MAX, REVOCATIONS_MAX_BYTES, REVOCATION_KEPT_MS } from '../core/limits.ts';
import { leadsTo } from './certificates.ts';
import { isDeviceId } from './holder.ts';

/** A device that may not take part any more. */
export interface Revoked {
  readonly device: string;
  /** When the last certificate it may have has long expired, milliseconds since the epoch: then it need not be listed. */
  readonly until: number;
}

export interface RevocationList {
  readonly fleet: string;
  /** Never goes back: milliseconds since the epoch when it was signed, or one more than the one before. */
  readonly number: number;
  readonly revoked: readonly Revoked[];
}

const DOMAIN = Buffer.from('shoal revocations 1\n');

/**
 * The list as it travels: a line of JSON, a line with the signature of these bytes (ECDSA with SHA-256, DER in base64), a
 * line with the signer's certificate (DER in base64).
 */
export function encodeRevocations(list: RevocationList, signer: X509Certificate, key: KeyObject): Uint8Array {
  const revoked = list.revoked.map(({ device, until }) => [device, until]);
  const payload = Buffer.from(JSON.stringify({ format: 1, fleet: list.fleet, number: list.number, revoked }));
  const signature = sign('sha256', Buffer.concat([DOMAIN, payload]), key);
  return Buffer.from(`${payload.toString()}\n${signature.toString('base64')}\n${signer.raw.toString('base64')}\n`);
}

/**
 * Those that are listed when more are out than a list can name: whose certificates end last. Most of the others have none any more that is
 * good; `missed` are those that have.
 */
export function fitting(revoked: readonly Revoked[], now: number, most = REVOCATIONS_MAX): { readonly listed: readonly Revoked[]; readonly missed: readonly Revoked[] } {
  if (revoked.length <= most) return { listed: revoked, missed: [] };
  const latest = revoked.toSorted((one, other) => other.until - one.until);
  return { listed: latest.slice(0, most), missed: latest.slice(most).filter(({ until }) => until - REVOCATION_KEPT_MS > now) };
}

/** Reads a list from anybody. Throws `BAD_REVOCATIONS` unless the fleet's CA has signed it. */
export function decodeRevocations(bytes: Uint8Array, fleet: string, anchors: readonly X509Certificate[]): RevocationList {
  if (bytes.byteLength > REVOCATIONS_MAX_BYTES) throw bad('it is too long');
  const [payload = '', signature = '', certificate = '', ...rest] = Buffer.from(bytes).toString('latin1').split('\n');
  if (rest.length !== 1 || rest[0] !== '') throw bad('it has not three lines');
  let value: { readonly format?: unknown; readonly fleet?: unknown; readonly number?: unknown; readonly revoked?: unknown } | null;
  try {
    const signer = new X509Certificate(Buffer.from(certificate, 'base64'));
    const isAnchor = anchors.some(({ raw }) => raw.equals(signer.raw));
    if (!isAnchor && !(signer.ca && leadsTo(anchors, signer, []))) throw new Error('its signer is not of this fleet');
    if (!verify('sha256', Buffer.concat([DOMAIN, Buffer.from(payload, 'latin1')]), signer.publicKey, Buffer.from(signature, 'base64'))) throw new Error('its signature is wrong');
    value = JSON.parse(payload) as typeof value;
  } catch (cause) {
    throw bad(cause instanceof Error ? cause.message : 'it cannot be read', cause);
  }
  const { number, revoked } = value ?? {};
  if (value?.format !== 1) throw bad('this program does not know its format');
  if (value.fleet !== fleet) throw bad('it is of another fleet');
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) throw bad('it has no number');
  if (!Array.isArray(revoked) || revoked.length > REVOCATIONS_MAX) throw bad('it lists too much');
  const listed = revoked.map((each: unknown): Revoked => {
    const [device, until] = Array.isArray(each) ? (each as readonly unknown[]) : [];
    if (typeof device !== 'string' || !isDeviceId(device) || typeof until !== 'number') throw bad('an entry cannot be read');
    return { device, until };
  });
  return { fleet, number, revoked: listed };
}

function bad(why: string, cause?: unknown): ShoalError {
  return new ShoalError('BAD_REVOCATIONS', `the revocation list cannot be used: ${why}`, { retry: 'elsewhere', ...(cause === undefined ? {} : { cause }) });
}

/** The newest revocation list a host has seen. It only ever goes forward. */
export class Revocations {
  readonly #fleet: string;
  #anchors: readonly X509Certificate[];
  #number = -1;
  #bytes: Uint8Array | undefined;
  #devices: ReadonlySet<string> = new Set();
  readonly #listeners = new Set<() => void>();

  constructor(fleet: string, anchors: readonly X509Certificate[]) {
    this.#fleet = fleet;
    this.#anchors = anchors;
  }

  /** -1 when there is none yet. */
  get number(): number {
    return this.#number;
  }

  /** As it was signed, to be passed on. */
  get bytes(): Uint8Array | undefined {
    return this.#bytes;
  }

  has(device: string): boolean {
    return this.#devices.has(device);
  }

  trust(anchors: readonly X509Certificate[]): void {
    this.#anchors = anchors;
  }

  /** Takes a list when it is newer; says whether it was. Throws `BAD_REVOCATIONS`. */
  adopt(bytes: Uint8Array): boolean {
    const { number, revoked } = decodeRevocations(bytes, this.#fleet, this.#anchors);
    if (number <= this.#number) return false;
    this.#number = number;
    this.#bytes = bytes;
    this.#devices = new Set(revoked.map(({ device }) => device));
    for (const listener of this.#listeners) listener();
    return true;
  }

  /** Returns the function that ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
