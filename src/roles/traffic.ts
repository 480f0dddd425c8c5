import type { Clock } from '../core/clock.ts';
import { RateLimiter } from '../core/rate-limiter.ts';
import { minuteOfDay, rateAt } from '../core/rates.ts';
import type { Rates } from '../core/rates.ts';
import { LineProbe } from '../exchange/line-probe.ts';
import type { HttpUpstream } from '../exchange/upstream.ts';

/** How much a host may receive and send. What is not named is not limited. */
export interface TrafficLimits {
  /** All that it fetches. */
  readonly download?: Rates;
  /** Of that, what comes from the origin. The members of a site that bring something at the same time share it: it is the site's. */
  readonly backhaul?: Rates;
  /** All that it sends to whoever fetches here. */
  readonly upload?: Rates;
  /** What comes from the origin leaves the line to others who need it (`src/plan/gentle.ts`). */
  readonly gentle?: boolean;
}

/** The limits of one host, each shared by all its connections. */
export class Traffic {
  /** For what comes from neighbours and gateways on the LAN, and from the origin. */
  readonly near: readonly RateLimiter[];
  readonly far: readonly RateLimiter[];
  readonly upload: RateLimiter | undefined;
  /** With `gentle`. */
  readonly #probe: LineProbe | undefined;
  #bringers: () => number = () => 1;

  /** `today`: the time of day, milliseconds since the epoch. */
  constructor({ backhaul, download, gentle, upload }: TrafficLimits, clock: Clock, today: () => number) {
    const limiter = (rates: Rates, share: () => number = () => 1): RateLimiter => new RateLimiter(clock, () => rateAt(rates, minuteOfDay(today())) / share());
    this.near = download === undefined ? [] : [limiter(download)];
    const probe = gentle === true ? new LineProbe(clock) : undefined;
    this.#probe = probe;
    this.far = [
      ...this.near,
      ...(backhaul === undefined ? [] : [limiter(backhaul, () => Math.max(1, this.#bringers()))]),
      ...(probe === undefined ? [] : [new RateLimiter(clock, () => probe.rate, (bytes) => { probe.took(bytes); })]),
    ];
    this.upload = upload === undefined ? undefined : limiter(upload);
  }

  /** The most that may arrive from everybody together at the moment, bytes a second. */
  readonly rate = (): number => Math.min(Infinity, ...this.near.map(({ rate }) => rate));

  /** The origin, which is asked small questions while much comes from it, where the line is to be left to others. The caller's to close. */
  watch(origin: () => HttpUpstream): readonly HttpUpstream[] {
    if (this.#probe === undefined) return [];
    const asked = origin();
    this.#probe.asks(asked);
    return [asked];
  }

  /** Much is about to come from the origin. */
  begins(): void {
    this.#probe?.begins();
  }

  /** Tells how many members of the site bring something over the backhaul at the moment, this one among them. */
  sharedBy(bringers: () => number): void {
    this.#bringers = bringers;
  }
}
