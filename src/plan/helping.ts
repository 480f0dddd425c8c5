import { score } from './rendezvous.ts';
import { HEARD_WITHIN_MS, LOTS, WIDTH } from './site-limits.ts';
import type { Seen } from './site-member.ts';

/** What a device knows of who brings what of an artifact. */
export interface Turns {
  readonly self: Seen;
  /** Those of the others that can be waited for, and bring things for as few bytes as this device. */
  readonly others: readonly Seen[];
  /** Whose turn a lot is. */
  readonly owners: readonly Seen[];
  /** How many spans there are, and whether one is here, with somebody else, or on its way. */
  readonly count: number;
  readonly comes: (span: number) => boolean;
  /** Spans that are under way to all of them. */
  readonly underWay: number;
  readonly now: number;
  /** How many times as long as usual everything takes. */
  readonly slowness: number;
}

export interface Help {
  /** Spans of others that this device may bring. */
  readonly spans: ReadonlySet<number>;
  /** The first of its own; all after it may be brought by others. */
  readonly first: number | undefined;
}

/**
 * Work stealing (Blumofe and Leiserson, "Scheduling multithreaded computations by work stealing", JACM 46(5), 1999), without a word between the two: who has nothing left to
 * bring of his own takes from the end of what another one has left, who begins at its front; of several that could, one, the same in the eyes of all. Only where fewer spans are
 * under way than keep the line full, and only what the other one cannot have begun before both have heard of each other. So no device has to bring, and to send to all
 * others, the last of an artifact alone; and who hears of a release first begins for those that have not set out yet.
 */
export function helping({ comes, count, now, others, owners, self, slowness, underWay }: Turns): Help {
  const left = new Map<Seen, number[]>();
  for (let span = 0; span < count; span++) {
    const owner = owners[span % LOTS];
    if (owner === undefined || comes(span)) continue;
    const known = left.get(owner);
    if (known === undefined) left.set(owner, [span]);
    else known.push(span);
  }
  const first = left.get(self)?.[0];
  const spans = new Set<number>();
  if (first !== undefined || underWay >= WIDTH) return { spans, first };
  const idle = [self, ...others.filter((each) => each.joined && !left.has(each))];
  for (const [owner, theirs] of left) {
    const byLot = new Map<number, number>();
    for (const span of theirs.slice(mayHaveBegun(owner, now, slowness))) {
      const known = byLot.get(span % LOTS);
      // Who begins for others that have not set out may not know that a third one does: they are not to choose the same.
      if (known === undefined || owner.joined || score(self, LOTS + span) > score(self, LOTS + known)) byLot.set(span % LOTS, span);
    }
    for (const [lot, span] of byLot) {
      const own = score(self, lot);
      if (idle.every((each) => each === self || score(each, lot) < own)) spans.add(span);
    }
  }
  return { spans, first };
}

/** How many spans `owner` may begin before both have heard what the other one does. */
function mayHaveBegun({ askedLast, claims, joined, pace }: Seen, now: number, slowness: number): number {
  if (!joined) return 1;
  // Who brings nothing may have his reasons, and one of unknown pace may be fast.
  if (claims.size === 0 || pace === undefined) return Infinity;
  // What was seen of his pace is what he took, and up to as much as passes between two questions; with the line to himself he may be twice as fast from now on.
  return pace <= 2 * HEARD_WITHIN_MS ? Infinity : 1 + claims.size * Math.ceil((2 * (now - askedLast + HEARD_WITHIN_MS * slowness)) / (pace - HEARD_WITHIN_MS));
}
