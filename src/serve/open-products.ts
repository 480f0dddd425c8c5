import type { ObjectId } from '../core/ids.ts';
import type { Permissions, Use } from './access.ts';

/** Which products anybody may have: some, or all. */
export type OpenProducts = ReadonlySet<string> | 'all';

export function isOpen(open: OpenProducts, product: string): boolean {
  return open === 'all' || open.has(product);
}

/**
 * What strangers may have where an operator opens products to plain clients: their artifacts, and nothing else. Metadata,
 * sites, metrics and other products are told to be not here.
 */
export function openTo(open: OpenProducts, uses: (root: ObjectId) => Promise<readonly Use[]>): Permissions {
  const never = (): false => false;
  return {
    artifact: async (_request, root, namespace) => (await uses(root)).some((use) => (namespace === undefined || use.namespace === namespace) && isOpen(open, use.product)),
    metadata: never,
    target: () => Promise.resolve(false),
    site: never,
    operations: never,
    passesOn: never,
    host: never,
    device: () => undefined,
    client: ({ ip }) => ip,
  };
}
