import { ShoalError } from '../core/errors.ts';
import { CERTIFICATES_MAX_BYTES, IDENTITY_PRODUCTS_MAX, REVOCATIONS_MAX_BYTES } from '../core/limits.ts';
import { isName } from '../core/names.ts';
import { FLEET_ROLES, isDeviceId } from './holder.ts';
import type { FleetRole, Holder } from './holder.ts';

/** What a device sends with its token. Keys and signatures are base64 of DER. */
export interface EnrolRequest {
  /** ID.SECRET of the token. */
  readonly token: string;
  /** The public identity key. */
  readonly identity: string;
  /** The public key to be certified. */
  readonly key: string;
  /** `statement('enroll', token id, key)`, signed with the identity key. */
  readonly proof: string;
}

/** What a device sends to get new certificates. */
export interface RenewRequest {
  readonly identity: string;
  readonly key: string;
  /** `statement('renew', fleet, key)`, signed with the identity key. */
  readonly proof: string;
}

/** Certificates for talking, and what has to be known with them. */
export interface Grant extends Holder {
  /** The fleet's CA certificates, PEM. */
  readonly ca: string;
  /** What the device shows when it asks, PEM, its chain after it. */
  readonly client: string;
  /** What it shows when it is asked: says nothing of products or sites. */
  readonly server: string;
  /** The signed revocation list, base64. */
  readonly revocations: string;
  /** The origin's time of day, milliseconds since the epoch. */
  readonly time: number;
}

/** Reads the answer to either request. It came over a connection to the fleet's origin, and is checked all the same. Throws `BAD_GRANT`. */
export function parseGrant(body: Uint8Array): Grant {
  let value: Partial<Record<keyof Grant, unknown>> | null;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as typeof value;
  } catch (cause) {
    throw bad('it is not JSON', cause);
  }
  const { fleet, role, device, site, products, ca, client, server, revocations, time } = value ?? {};
  const pem = (text: unknown): string => {
    if (typeof text !== 'string' || text.length > CERTIFICATES_MAX_BYTES) throw bad('a certificate is missing');
    return text;
  };
  if (typeof fleet !== 'string' || !/^[0-9a-f]{16}$/.test(fleet)) throw bad('the fleet is missing');
  if (typeof device !== 'string' || !isDeviceId(device)) throw bad('the device is missing');
  if (!FLEET_ROLES.includes(role as FleetRole)) throw bad('the role is none');
  if (site !== undefined && (typeof site !== 'string' || !isName(site))) throw bad('the site is none');
  const named = products === 'all' || (Array.isArray(products) && products.length <= IDENTITY_PRODUCTS_MAX && products.every((each) => typeof each === 'string' && isName(each)));
  if (!named) throw bad('the products are none');
  if (typeof revocations !== 'string' || revocations.length > 2 * REVOCATIONS_MAX_BYTES) throw bad('the revocation list is missing');
  if (typeof time !== 'number' || !Number.isSafeInteger(time)) throw bad('the time is missing');
  return { fleet, device, role: role as FleetRole, site, products: products as Grant['products'], ca: pem(ca), client: pem(client), server: pem(server), revocations, time };
}

function bad(why: string, cause?: unknown): ShoalError {
  return new ShoalError('BAD_GRANT', `the origin's answer cannot be used: ${why}`, { retry: 'elsewhere', ...(cause === undefined ? {} : { cause }) });
}
