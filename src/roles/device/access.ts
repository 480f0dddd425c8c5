import type { ObjectId } from '../../core/ids.ts';
import type { Holder } from '../../identity/holder.ts';
import type { Access, Use } from '../../serve/access.ts';
import type { Membership } from '../membership.ts';

/** Who may reach an agent or a gateway, and what of it is whose. */
export function accessOf(member: Membership, uses: (root: ObjectId) => readonly Use[] | Promise<readonly Use[]>, open?: readonly string[]): Access {
  return { ...(open === undefined ? {} : { open }), member: member.credentials, admits: (caller) => admits(member.holder, caller), uses: async (root) => uses(root) };
}

/**
 * An agent has to do with the agents of its site that share a product with it; a gateway with all of its site, or, where it
 * belongs to none, of every site. Hosts that serve many, and operators, are let in everywhere: what they may have is another matter.
 */
export function admits(self: Holder, caller: Holder): boolean {
  if (caller.role !== 'agent') return true;
  const anySite = self.role === 'gateway' && self.site === undefined;
  if (!anySite && (caller.site ?? 'default') !== (self.site ?? 'default')) return false;
  if (self.products === 'all' || caller.products === 'all') return true;
  const own = self.products;
  return caller.products.some((product) => own.includes(product));
}
