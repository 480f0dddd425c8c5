import { inOrder } from './rendezvous.ts';

/** A member that has for so long neither asked the origin nor heard of a newer timestamp asks for itself, whatever neighbours say: they might be lying. Milliseconds. */
export const ASK_AFAR_MS = 12 * 3_600_000;
/** So many are asked before a member asks for itself: with a slow processor one or two may be late. */
const ASKED_MOST = 4;

/**
 * Which neighbours a member of a site asks for news, in their order, before it asks the origin itself: those that come before
 * it in an order that is the same at every member and another one with every `epoch` (the version of the signed timestamp,
 * which all of them have). The first of all finds nobody before it, and asks for the site.
 */
export function askedForNews(self: string, others: readonly string[], epoch: number): readonly string[] {
  const order = inOrder(`news ${String(epoch)}`, [self, ...others]);
  return order.slice(0, Math.min(order.indexOf(self), ASKED_MOST));
}
