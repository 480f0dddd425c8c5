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
  /** What making the span of them takes this device, as bytes that it would rather have sent: it may prefer more bytes (`src/plan/work.ts`). */
  work?(span: number): number;
  /** Above 0, and below 1, for a span that it had better be asked for last, those with a lower number first: somebody out of sight may be fetching it as well. */
  last?(span: number): number;
}

export interface Want {
  readonly span: number;
  /** Sources that are being asked for it now. */
  readonly asked: readonly string[];
  /** It has been under way for so long that asking a second source is worth its bytes. */
  readonly late: boolean;
  /** Late because it comes so slowly, not because nothing comes: that is no reason to pay more for it. */
  readonly crawls?: boolean;
  /** It is on its way over the expensive link: a source that is not beyond it is worth asking as well, as soon as there is one. */
  readonly crosses?: boolean;
}

export interface Step {
  readonly span: number;
  readonly source: string;
  readonly road: Road;
}

/** A number in [0, 1). */
export type Random = () => number;

/**
 * The requests to start now. A span goes to one of those that give it at the least price (bytes, and the work that comes with them, times what each costs), and
 * waits for one of those when all are busy; an offer that costs more is taken only for what nobody gives for less. A late
 * span is asked for once more, of a source that was not asked yet, whatever that costs: a stuck neighbour must not hold a
 * device up; one that is merely slow is left for another that gives it at the least price.
 */
export function nextSteps(wants: readonly Want[], offers: readonly Offer[], random: Random): readonly Step[] {
  const free = new Map(offers.map((offer) => [offer.source, offer.mostInFlight - offer.inFlight]));
  const steps: Step[] = [];
  if (![...free.values()].some((places) => places > 0)) return steps;
  const priced = new Priced(wants, offers, random);
  // Few requests can start and there are many spans to choose from: picking the first again and again is cheaper than sorting.
  for (;;) {
    let first = -1;
    let least = Infinity;
    let chosen: Offer | undefined;
    for (let index = 0; index < priced.count; index++) {
      const order = priced.order[index] ?? Infinity;
      if (order >= least) continue;
      const offer = priced.sourceFor(index, free);
      if (offer !== undefined) [first, least, chosen] = [index, order, offer];
    }
    const span = priced.want[first]?.span;
    if (span === undefined || chosen === undefined) return steps;
    free.set(chosen.source, (free.get(chosen.source) ?? 0) - 1);
    steps.push({ span, source: chosen.source, road: chosen.road });
    priced.order[first] = Infinity;
  }
}

/**
 * The spans that may be asked for, and what they cost at each offer. An offer is asked for its price once, and nothing is made for
 * a span alone: there are many of both, and all of it is done anew whenever something arrives.
 */
class Priced {
  readonly want: Want[] = [];
  /** What comes first: late ones and those that had better be last, last; then the rarest first, then by chance. */
  readonly order: Float64Array;
  count = 0;
  readonly #offers: readonly Offer[];
  readonly #random: Random;
  /** By span, then by offer: `Infinity` where it cannot be had. */
  readonly #prices: Float64Array;
  /** The least of the prices of each. */
  readonly #least: Float64Array;

  constructor(wants: readonly Want[], offers: readonly Offer[], random: Random) {
    this.#offers = offers;
    this.#random = random;
    this.order = new Float64Array(wants.length);
    this.#least = new Float64Array(wants.length);
    this.#prices = new Float64Array(wants.length * offers.length);
    for (const want of wants) if (want.asked.length === 0 || want.late || want.crosses === true) this.#add(want);
  }

  #add(want: Want): void {
    let at = this.count * this.#offers.length;
    let [holders, least, last] = [0, Infinity, 0];
    for (const offer of this.#offers) {
      const needed = want.asked.includes(offer.source) ? undefined : offer.bytes(want.span);
      const price = needed === undefined ? Infinity : (needed + (offer.work?.(want.span) ?? 0)) * offer.costPerByte;
      this.#prices[at++] = price;
      if (needed !== undefined) {
        holders++;
        last = Math.max(last, offer.last?.(want.span) ?? 0);
      }
      if (price < least) least = price;
    }
    // Nobody has it: the next one takes its place.
    if (holders === 0) return;
    this.want[this.count] = want;
    this.#least[this.count] = least;
    this.order[this.count++] = (want.late || last > 0 ? this.#offers.length + 1 : 0) + holders + (last > 0 ? last : this.#random());
  }

  /** Who is to be asked for it: one that holds it and has a place free, and unless it is late, one of the cheapest that hold it. */
  sourceFor(index: number, free: ReadonlyMap<string, number>): Offer | undefined {
    const want = this.want[index];
    const most = want?.late === true && want.crawls !== true ? Infinity : (this.#least[index] ?? Infinity);
    let chosen: Offer | undefined;
    let equals = 1;
    let least = Infinity;
    let at = index * this.#offers.length;
    for (const offer of this.#offers) {
      const price = this.#prices[at++] ?? Infinity;
      if (price === Infinity || price > most || (free.get(offer.source) ?? 0) <= 0) continue;
      // Cheaper first; among equals the one with the larger share of its requests to spare, and any of these: not all devices the same.
      const better = chosen === undefined ? 1 : least - price || spare(offer, free) - spare(chosen, free);
      if (better < 0 || (better === 0 && this.#random() * ++equals >= 1)) continue;
      if (better > 0) equals = 1;
      chosen = offer;
      least = price;
    }
    return chosen;
  }
}

function spare({ source, mostInFlight }: Offer, free: ReadonlyMap<string, number>): number {
  return (free.get(source) ?? 0) / mostInFlight;
}
