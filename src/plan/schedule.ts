/**
 * Who is asked for what next: pure, so that the same code runs in an agent and, on a virtual clock, in an emulator.
 *
 * What we want: the expensive link carries only what no cheaper source has; every source that has work to do does it; the
 * rarest spans spread first, in an order of each device's own, so that neighbours end up with different spans to swap.
 * What we do not want: a plan for the whole artifact that the first lost connection makes worthless.
 */

export interface Offer {
  readonly source: string;
  /** What a byte over this source's link costs, in any one unit: 0 for the LAN, a price for the backhaul. */
  readonly costPerByte: number;
  /** Requests under way, and how many there may be. */
  readonly inFlight: number;
  readonly mostInFlight: number;
  holds(span: number): boolean;
}

export interface Want {
  readonly span: number;
  /** Sources that are being asked for it now. */
  readonly asked: readonly string[];
  /** It has been under way for so long that asking a second source is worth its bytes. */
  readonly late: boolean;
}

export interface Step {
  readonly span: number;
  readonly source: string;
}

/** A number in [0, 1). */
export type Random = () => number;

/**
 * The requests to start now. A span goes to one of the cheapest sources that hold it, and waits for one of those when all
 * are busy; a source that costs more is asked only for what no cheaper one holds. A late span is asked for once more, of a
 * source that was not asked yet, whatever that costs: a stuck neighbour must not hold a device up.
 */
export function nextSteps(wants: Iterable<Want>, offers: readonly Offer[], random: Random): readonly Step[] {
  const free = new Map(offers.map((offer) => [offer.source, offer.mostInFlight - offer.inFlight]));
  const steps: Step[] = [];
  if (![...free.values()].some((places) => places > 0)) return steps;
  const candidates: Candidate[] = [];
  for (const want of wants) {
    if (want.asked.length > 0 && !want.late) continue;
    let holders = 0;
    let best = Infinity;
    for (const { source, costPerByte, holds } of offers) {
      if (want.asked.includes(source) || !holds(want.span)) continue;
      holders++;
      best = Math.min(best, costPerByte);
    }
    candidates.push({ want, most: want.late ? Infinity : best, order: (want.late ? offers.length + 1 : 0) + holders + random() });
  }
  // Few requests can start and there are many spans to choose from: picking the first again and again is cheaper than sorting.
  for (;;) {
    let first: Candidate | undefined;
    for (const candidate of candidates) {
      if ((first === undefined || candidate.order < first.order) && sourceFor(candidate, offers, free) !== undefined) first = candidate;
    }
    const chosen = first && sourceFor(first, offers, free);
    if (first === undefined || chosen === undefined) return steps;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    first.order = Infinity;
    steps.push({ span: first.want.span, source: chosen.source });
  }
}

interface Candidate {
  readonly want: Want;
  /** What a byte may cost at most. */
  readonly most: number;
  /** Late ones last, then the rarest first, then by chance; `Infinity` once it has been given to somebody. */
  order: number;
}

/** Who is to be asked for it: one of the cheapest that hold it and have a place free. */
function sourceFor({ want, most, order }: Candidate, offers: readonly Offer[], free: ReadonlyMap<string, number>): Offer | undefined {
  let chosen: Offer | undefined;
  if (order === Infinity) return chosen;
  for (const offer of offers) {
    if (offer.costPerByte > most || (free.get(offer.source) ?? 0) <= 0 || want.asked.includes(offer.source) || !offer.holds(want.span)) continue;
    if (chosen === undefined || preferred(offer, chosen, free)) chosen = offer;
  }
  return chosen;
}

/** Cheaper first; among equals the one with the larger share of its requests to spare. */
function preferred(one: Offer, other: Offer, free: ReadonlyMap<string, number>): boolean {
  if (one.costPerByte !== other.costPerByte) return one.costPerByte < other.costPerByte;
  return (free.get(one.source) ?? 0) / one.mostInFlight > (free.get(other.source) ?? 0) / other.mostInFlight;
}
