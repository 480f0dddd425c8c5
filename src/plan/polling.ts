import { inOrder } from './rendezvous.ts';

/** A member that has not been heard of from afar for so long asks for itself, whatever neighbours say: they might be lying. Milliseconds. */
export const ASK_AFAR_MS = 12 * 3_600_000;
/** So many are asked before a member asks for itself. */
const ASKED_MOST = 2;

/**
 * Which neighbours a member of a site asks for news, in their order, before it asks the origin itself: those that come before
 * it in an order that is the same at every member and another one with every `epoch` (the version of the signed timestamp,
 * which all of them have). The first of all finds nobody before it, and asks for the site.
 */
export function askedForNews(self: string, others: readonly string[], epoch: number): readonly string[] {
  const order = inOrder(`news ${String(epoch)}`, [self, ...others]);
  return order.slice(0, Math.min(order.indexOf(self), ASKED_MOST));
}
