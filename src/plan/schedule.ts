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
export function nextSteps(wants: readonly Want[], offers: readonly Offer[], random: Random): readonly Step[] {
  const free = new Map(offers.map((offer) => [offer.source, offer.mostInFlight - offer.inFlight]));
  const steps: Step[] = [];
  const queue = wants
    .filter(({ asked, late }) => asked.length === 0 || late)
    .map((want) => ({ want, holders: offers.filter(({ source, holds }) => !want.asked.includes(source) && holds(want.span)), order: random() }))
    .sort((a, b) => Number(a.want.late) - Number(b.want.late) || a.holders.length - b.holders.length || a.order - b.order);
  for (const { want, holders } of queue) {
    const best = want.late ? Infinity : Math.min(...holders.map(({ costPerByte }) => costPerByte));
    let chosen: Offer | undefined;
    for (const offer of holders) {
      if (offer.costPerByte > best || (free.get(offer.source) ?? 0) <= 0) continue;
      if (chosen === undefined || preferred(offer, chosen, free)) chosen = offer;
    }
    if (chosen === undefined) continue;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    steps.push({ span: want.span, source: chosen.source });
  }
  return steps;
}

/** Cheaper first; among equals the one with the larger share of its requests to spare. */
function preferred(one: Offer, other: Offer, free: ReadonlyMap<string, number>): boolean {
  if (one.costPerByte !== other.costPerByte) return one.costPerByte < other.costPerByte;
  return (free.get(one.source) ?? 0) / one.mostInFlight > (free.get(other.source) ?? 0) / other.mostInFlight;
}
