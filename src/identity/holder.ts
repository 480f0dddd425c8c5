import { randomBytes } from 'node:crypto';
import { isName } from '../core/names.ts';
import { IDENTITY_PRODUCTS_MAX } from '../core/limits.ts';

/** What a certificate of the fleet lets its holder be. */
export type FleetRole = 'origin' | 'gateway' | 'agent' | 'operator';

export const FLEET_ROLES: readonly FleetRole[] = ['origin', 'gateway', 'agent', 'operator'];

/** Whom a certificate speaks of. */
export interface Holder {
  /** 16 lower-case hexadecimal digits, random, made with the fleet. */
  readonly fleet: string;
  readonly role: FleetRole;
  /** 32 lower-case hexadecimal digits: the beginning of the SHA-256 of the public identity key. */
  readonly device: string;
  /** Undefined in certificates that listeners show, and for hosts that belong to no site. */
  readonly site: string | undefined;
  /** Products it may fetch and serve; `all` for every one. None in certificates that listeners show. */
  readonly products: readonly string[] | 'all';
}

const WHO = /^shoal:\/\/([0-9a-f]{16})\/(origin|gateway|agent|operator)\/([0-9a-f]{32})$/;
const SITE = 'shoal:site:';
const PRODUCT = 'shoal:product:';
const EVERY = '*';

export function newFleetId(): string {
  return randomBytes(8).toString('hex');
}

/** The DNS name in the certificate that a device shows as a listener. No DNS knows it: it is for clients that are told which name to expect. */
export function hostNameOf(device: string): string {
  return `${device}.shoal`;
}

export function isDeviceId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

/**
 * The names of a certificate (docs/identity.md, "Certificates"). What a listener shows travels in the clear as far as a
 * stranger is concerned, so `public` leaves out everything that says what the device is for.
 */
export function urisOf({ fleet, role, device, site, products }: Holder, visibility: 'private' | 'public'): readonly string[] {
  const who = `shoal://${fleet}/${role}/${device}`;
  if (visibility === 'public') return [who];
  const named = products === 'all' ? [EVERY] : products;
  return [who, ...(site === undefined ? [] : [`${SITE}${site}`]), ...named.map((product) => `${PRODUCT}${product}`)];
}

/**
 * Reads `X509Certificate.subjectAltName` of a certificate that has been verified. Names of hosts and addresses are passed
 * over; a URI that is not exactly one of ours, or one too many, makes the whole unreadable: undefined.
 */
export function holderOf(subjectAltName: string | undefined): Holder | undefined {
  let who: Pick<Holder, 'fleet' | 'role' | 'device'> | undefined;
  let site: string | undefined;
  const products: string[] = [];
  for (const name of (subjectAltName ?? '').split(', ')) {
    if (name.startsWith('DNS:') || name.startsWith('IP Address:')) continue;
    if (!name.startsWith('URI:')) return undefined;
    const uri = name.slice('URI:'.length);
    const [, fleet, role, device] = WHO.exec(uri) ?? [];
    if (fleet !== undefined && role !== undefined && device !== undefined && who === undefined) who = { fleet, role: role as FleetRole, device };
    else if (uri.startsWith(SITE) && site === undefined && isName(uri.slice(SITE.length))) site = uri.slice(SITE.length);
    else if (uri.startsWith(PRODUCT) && (isName(uri.slice(PRODUCT.length)) || uri === PRODUCT + EVERY)) products.push(uri.slice(PRODUCT.length));
    else return undefined;
  }
  if (who === undefined || products.length > IDENTITY_PRODUCTS_MAX) return undefined;
  return { ...who, site, products: products.includes(EVERY) ? 'all' : products };
}

/** Whether `holder` may have what belongs to any of `products`. */
export function mayHave({ products: own }: Holder, products: readonly string[]): boolean {
  return own === 'all' || products.some((product) => own.includes(product));
}
