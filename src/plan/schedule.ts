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
 * device up.
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
      if (sourceFor(wants[index], offers, free, random) !== undefined) first = index;
    }
    const want = wants[first];
    const chosen = sourceFor(want, offers, free, random);
    if (want === undefined || chosen === undefined) return steps;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    order[first] = Infinity;
    steps.push({ span: want.span, source: chosen.source, road: chosen.road });
  }
}

/** What the span costs there; undefined when it cannot be had there, or is being asked for there already. */
function priceOf({ source, costPerByte, bytes }: Offer, { asked, span }: Want): number | undefined {
  if (asked.includes(source)) return undefined;
  const needed = bytes(span);
  return needed === undefined ? undefined : needed * costPerByte;
}

function holdersOf(want: Want, offers: readonly Offer[]): number {
  let holders = 0;
  for (const offer of offers) if (priceOf(offer, want) !== undefined) holders++;
  return holders;
}

/** Who is to be asked for it: one that holds it and has a place free, and unless it is late, one of the cheapest that hold it. */
function sourceFor(want: Want | undefined, offers: readonly Offer[], free: ReadonlyMap<string, number>, random: Random): Offer | undefined {
  let chosen: Offer | undefined;
  let equals = 1;
  if (want === undefined) return chosen;
  let least = Infinity;
  if (!want.late) for (const offer of offers) least = Math.min(least, priceOf(offer, want) ?? Infinity);
  let price = Infinity;
  for (const offer of offers) {
    const own = priceOf(offer, want);
    if (own === undefined || own > least || (free.get(offer.source) ?? 0) <= 0) continue;
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
