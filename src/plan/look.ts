import { hashOf, score } from './rendezvous.ts';
import { LOTS, STAND_INS } from './site-limits.ts';
import type { Member } from './site-member.ts';

/** Who of a site's members may be looked at. */
export interface Candidate {
  readonly instance: string;
  /** What bringing all of it would cost him, bytes; `Infinity` where that is not known. */
  readonly bytes: number;
  /** He neither has nor wants it, as he says. */
  readonly without: boolean;
  /** He was to bring things, and could not be waited for. */
  readonly lost: boolean;
}

/** What one device makes of a site with more members than it can look at. */
export interface Choice<C> {
  /** Those it looks at. */
  readonly looked: readonly C[];
  /** Those of them that bring things. All members look at these, so that all agree on whose turn it is; others would be somebody's first, and not everybody's. */
  readonly bringers: ReadonlySet<C>;
  /** This device is not among those that do. */
  readonly standby: boolean;
}

/**
 * Of many members, those that bring things and those that would take their places, at whom everyone looks, and others, of whom everyone looks at some: what is held is
 * found soon, and nobody is asked by all. `order` is this device's own; `bytes`: what it would cost itself.
 */
export function lookAt<C extends Candidate>(root: string, self: { readonly instance: string; readonly bytes: number }, order: string, candidates: readonly C[], most: number): Choice<C> {
  const wanting = candidates.filter(({ without }) => !without);
  // Where nobody knows what it costs the others, they do not know what it costs this device.
  const own = { weight: 1, instance: self.instance, bytes: wanting.some(({ bytes }) => bytes !== Infinity) ? self.bytes : Infinity, candidate: undefined };
  const inOrder = bringersFirst(root, [own, ...wanting.map((candidate) => ({ weight: 1, instance: candidate.instance, bytes: candidate.bytes, candidate }))])
    .toSorted((a, b) => (a.bytes === b.bytes ? 0 : a.bytes - b.bytes));
  const left = inOrder.filter(({ candidate }) => candidate?.lost !== true);
  const first = left.slice(0, left.length < inOrder.length ? STAND_INS : LOTS);
  // Who was lost may be back.
  const common = new Set([...first, ...inOrder.slice(0, LOTS + STAND_INS)].flatMap(({ candidate }) => candidate ?? []));
  const others = wanting.filter((each) => !common.has(each)).map((candidate) => ({ candidate, place: hashOf(order, candidate.instance) })).sort((a, b) => a.place - b.place).map(({ candidate }) => candidate);
  return {
    looked: [...common, ...others, ...candidates.filter(({ without }) => without)].slice(0, most),
    bringers: new Set(first.flatMap(({ candidate }) => candidate ?? [])),
    standby: !first.includes(own),
  };
}

/** The same members, those first that bring something of `root` when all are at work, then those that would take over. */
export function bringersFirst<M extends Pick<Member, 'instance' | 'weight'>>(root: string, members: readonly M[]): readonly M[] {
  const places = new Map<M, number>(members.map((member) => [member, Infinity]));
  for (let lot = 0; lot < LOTS; lot++) {
    const scored = members.map((member) => ({ member, score: score({ hash: hashOf(root, member.instance), weight: member.weight }, lot) }));
    for (const [place, { member }] of scored.sort((a, b) => b.score - a.score).entries()) places.set(member, Math.min(place, places.get(member) ?? place));
  }
  // Of those with the same place the same come first at every device, whatever the order in which it got to know them.
  return members.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0) || hashOf(root, a.instance) - hashOf(root, b.instance));
}
