import { isName } from '../core/names.ts';
import { isObjectId } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';

/** The delegated role of delta manifests: path-restricted, its key may live on the origin. */
export const DELTAS_ROLE = 'deltas';
/** Reserved for signed assignments ("group X gets release Y", paths `assignments/*`). Nothing is signed by it yet. */
export const ASSIGNMENTS_ROLE = 'assignments';
/** Roles whose keys may live on the server. A server home holds no others. */
export const ONLINE_ROLES = ['snapshot', 'timestamp', DELTAS_ROLE] as const;
export const TOP_ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type TopRole = (typeof TOP_ROLES)[number];

const PRODUCT_PREFIX = 'product-';
/** The newest release of a product lies under this name as well; no version may be called so. */
export const LATEST = 'latest';

export function productRole(product: string): string {
  return PRODUCT_PREFIX + product;
}

/** The product a role signs for, or undefined when it is no product role. */
export function productOf(role: string): string | undefined {
  const product = role.startsWith(PRODUCT_PREFIX) ? role.slice(PRODUCT_PREFIX.length) : '';
  return isName(product) ? product : undefined;
}

/** The path pattern that a delegated role may sign, or undefined for a role this program does not know. */
export function patternOf(role: string): string | undefined {
  if (role === DELTAS_ROLE) return 'deltas/*/*';
  const product = productOf(role);
  return product === undefined ? undefined : `products/${product}/*`;
}

export function releasePath(product: string, version: string): string {
  return `products/${product}/${version}.json`;
}

export function deltaPath(base: ObjectId, target: ObjectId): string {
  return `deltas/${base}/${target}.json`;
}

/** The roots in the path of a delta manifest; undefined for any other path. */
export function deltaEnds(path: string): { readonly base: ObjectId; readonly target: ObjectId } | undefined {
  const [, base = '', target = ''] = /^deltas\/([^/]{64})\/([^/]{64})\.json$/.exec(path) ?? [];
  return isObjectId(base) && isObjectId(target) ? { base, target } : undefined;
}

/** Where a target lies on the wire (TUF 6.2, consistent snapshots): the hash goes before the last part of the path. */
export function hashedPath(path: string, hash: string): string {
  const slash = path.lastIndexOf('/');
  return `${path.slice(0, slash + 1)}${hash}.${path.slice(slash + 1)}`;
}

/** The file of a metadata role: the timestamp has no number, everything else has. */
export function metadataFile(role: string, version: number): string {
  return role === 'timestamp' ? 'timestamp.json' : `${String(version)}.${role}.json`;
}

/** Reads `VERSION.ROLE.json` or `timestamp.json`; undefined for any other name, so that no path comes from outside. */
export function parseMetadataFile(name: string): { readonly role: string; readonly version: number } | undefined {
  if (name === 'timestamp.json') return { role: 'timestamp', version: 0 };
  const match = /^([1-9]\d{0,14})\.([A-Za-z0-9][A-Za-z0-9._+-]*)\.json$/.exec(name);
  const role = match?.[2];
  if (role === undefined || role.length > 160 || role.includes('..')) return undefined;
  return { role, version: Number(match?.[1]) };
}

/** Says whether `path` can be a target on the wire: names joined by slashes, three at most. */
export function isTargetPath(path: string): boolean {
  const parts = path.split('/');
  return path.length <= 512 && parts.length === 3 && parts.every((part) => /^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(part) && !part.includes('..'));
}
