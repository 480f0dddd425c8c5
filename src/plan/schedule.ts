/**
 * Who is asked for what next: pure, so that the same code runs in an agent and, on a virtual clock, in an emulator.
 *
 * What we want: the expensive link carries only what no cheaper source has; of two forms of the same span the smaller one
 * travels; every source that has work to do does it; the rarest spans spread first, in an order of each device's own, so that neighbours end up with different spans to swap.
 * What we do not want: a plan for the whole artifact that the first lost connection makes worthless.
 */

/** The form in which a span travels: its chunks, or the payload of the segment of a delta that makes it. */
export type Road = 'content' | 'delta';

export interface Offer {
  readonly source: string;
  readonly road: Road;
  /** What a byte over this source's link costs, in any one unit. */
  readonly costPerByte: number;
  /** Requests under way, and how many there may be. */
  readonly inFlight: number;
  readonly mostInFlight: number;
  /** How many bytes it would send for the span; undefined when it cannot give it. Offers of one source share its requests. */
  bytes(span: number): number | undefined;
}

export interface Want {
  readonly span: number;
  /** Sources that are being asked for it now. */
  readonly asked: readonly string[];
  /** It has been under way for so long that asking a second source is worth its bytes. */
  readonly late: boolean;
  /** Late because it comes so slowly, not because nothing comes: that is no reason to pay more for it. */
  readonly crawls?: boolean;
}

export interface Step {
  readonly span: number;
  readonly source: string;
  readonly road: Road;
}

/** A number in [0, 1). */
export type Random = () => number;

/**
 * The requests to start now. A span goes to one of those that give it at the least price (bytes times what each costs), and
 * waits for one of those when all are busy; an offer that costs more is taken only for what nobody gives for less. A late
 * span is asked for once more, of a source that was not asked yet, whatever that costs: a stuck neighbour must not hold a
 * device up; one that is merely slow is left for another that gives it at the least price.
 */
export function nextSteps(wants: readonly Want[], offers: readonly Offer[], random: Random): readonly Step[] {
  const free = new Map(offers.map((offer) => [offer.source, offer.mostInFlight - offer.inFlight]));
  const steps: Step[] = [];
  if (![...free.values()].some((places) => places > 0)) return steps;
  const priced: Priced[] = [];
  for (const want of wants) {
    if (want.asked.length > 0 && !want.late) continue;
    const each = price(want, offers);
    // Late ones last, then the rarest first, then by chance.
    if (each !== undefined) priced.push({ ...each, order: (want.late ? offers.length + 1 : 0) + each.holders + random() });
  }
  // Few requests can start and there are many spans to choose from: picking the first again and again is cheaper than sorting.
  for (;;) {
    let first = -1;
    let chosen: Offer | undefined;
    for (let index = 0; index < priced.length; index++) {
      const each = priced[index];
      if (each === undefined || each.order >= (priced[first]?.order ?? Infinity)) continue;
      const offer = sourceFor(each, offers, free, random);
      if (offer !== undefined) [first, chosen] = [index, offer];
    }
    const taken = priced[first];
    if (taken === undefined || chosen === undefined) return steps;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    steps.push({ span: taken.want.span, source: chosen.source, road: chosen.road });
    const last = priced.pop();
    if (last !== undefined && last !== taken) priced[first] = last;
  }
}

/** A span that may be asked for, and what it costs at each offer: `Infinity` where it cannot be had. */
interface Priced {
  readonly want: Want;
  readonly prices: Float64Array;
  /** How many have it. */
  readonly holders: number;
  /** The least of the prices. */
  readonly least: number;
  readonly order: number;
}

/** Undefined when nobody has it. An offer is asked for its price once: there are many of both. */
function price(want: Want, offers: readonly Offer[]): Omit<Priced, 'order'> | undefined {
  const prices = new Float64Array(offers.length);
  let [holders, least] = [0, Infinity];
  for (const [at, { source, costPerByte, bytes }] of offers.entries()) {
    const needed = want.asked.includes(source) ? undefined : bytes(want.span);
    const own = needed === undefined ? Infinity : needed * costPerByte;
    prices[at] = own;
    if (needed === undefined) continue;
    holders++;
    least = Math.min(least, own);
  }
  return holders === 0 ? undefined : { want, prices, holders, least };
}

/** Who is to be asked for it: one that holds it and has a place free, and unless it is late, one of the cheapest that hold it. */
function sourceFor({ want, prices, least }: Priced, offers: readonly Offer[], free: ReadonlyMap<string, number>, random: Random): Offer | undefined {
  let chosen: Offer | undefined;
  let equals = 1;
  const most = want.late && want.crawls !== true ? Infinity : least;
  let price = Infinity;
  for (const [at, offer] of offers.entries()) {
    const own = prices[at] ?? Infinity;
    if (own === Infinity || own > most || (free.get(offer.source) ?? 0) <= 0) continue;
    // Cheaper first; among equals the one with the larger share of its requests to spare, and any of these: not all devices the same.
    const better = chosen === undefined ? 1 : price - own || spare(offer, free) - spare(chosen, free);
    if (better < 0 || (better === 0 && random() * ++equals >= 1)) continue;
    if (better > 0) equals = 1;
    chosen = offer;
    price = own;
  }
  return chosen;
}

function spare({ source, mostInFlight }: Offer, free: ReadonlyMap<string, number>): number {
  return (free.get(source) ?? 0) / mostInFlight;
}
