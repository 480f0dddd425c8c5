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
  if (![...free.values()].some((places) => places > 0)) return steps;
  // Late ones last, then the rarest first, then by chance; `Infinity` is out of the question.
  const order = new Float64Array(wants.length);
  for (let index = 0; index < wants.length; index++) {
    const want = wants[index];
    const holders = want === undefined || (want.asked.length > 0 && !want.late) ? 0 : holdersOf(want, offers);
    order[index] = holders === 0 ? Infinity : (want?.late === true ? offers.length + 1 : 0) + holders + random();
  }
  // Few requests can start and there are many spans to choose from: picking the first again and again is cheaper than sorting.
  for (;;) {
    let first = -1;
    for (let index = 0; index < wants.length; index++) {
      if ((order[index] ?? Infinity) >= (order[first] ?? Infinity)) continue;
      if (sourceFor(wants[index], offers, free) !== undefined) first = index;
    }
    const want = wants[first];
    const chosen = sourceFor(want, offers, free);
    if (want === undefined || chosen === undefined) return steps;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    order[first] = Infinity;
    steps.push({ span: want.span, source: chosen.source });
  }
}

function canGive({ source, holds }: Offer, { asked, span }: Want): boolean {
  return !asked.includes(source) && holds(span);
}

function holdersOf(want: Want, offers: readonly Offer[]): number {
  let holders = 0;
  for (const offer of offers) if (canGive(offer, want)) holders++;
  return holders;
}

/** Who is to be asked for it: one that holds it and has a place free, and unless it is late, one of the cheapest that hold it. */
function sourceFor(want: Want | undefined, offers: readonly Offer[], free: ReadonlyMap<string, number>): Offer | undefined {
  let chosen: Offer | undefined;
  if (want === undefined) return chosen;
  let most = Infinity;
  if (!want.late) for (const offer of offers) if (offer.costPerByte < most && canGive(offer, want)) most = offer.costPerByte;
  for (const offer of offers) {
    if (offer.costPerByte > most || (free.get(offer.source) ?? 0) <= 0 || !canGive(offer, want)) continue;
    if (chosen === undefined || preferred(offer, chosen, free)) chosen = offer;
  }
  return chosen;
}

/** Cheaper first; among equals the one with the larger share of its requests to spare. */
function preferred(one: Offer, other: Offer, free: ReadonlyMap<string, number>): boolean {
  if (one.costPerByte !== other.costPerByte) return one.costPerByte < other.costPerByte;
  return (free.get(one.source) ?? 0) / one.mostInFlight > (free.get(other.source) ?? 0) / other.mostInFlight;
}
