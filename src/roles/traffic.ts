import type { Clock } from '../core/clock.ts';
import { RateLimiter } from '../core/rate-limiter.ts';
import { minuteOfDay, rateAt } from '../core/rates.ts';
import type { Rates } from '../core/rates.ts';

/** How much a host may receive and send. What is not named is not limited. */
export interface TrafficLimits {
  /** All that it fetches. */
  readonly download?: Rates;
  /** Of that, what comes from the origin. The members of a site that bring something at the same time share it: it is the site's. */
  readonly backhaul?: Rates;
  /** All that it sends to whoever fetches here. */
  readonly upload?: Rates;
}

/** The limits of one host, each shared by all its connections. */
export class Traffic {
  /** For what comes from neighbours and gateways on the LAN, and from the origin. */
  readonly near: readonly RateLimiter[];
  readonly far: readonly RateLimiter[];
  readonly upload: RateLimiter | undefined;
  #bringers: () => number = () => 1;

  /** `today`: the time of day, milliseconds since the epoch. */
  constructor({ backhaul, download, upload }: TrafficLimits, clock: Clock, today: () => number) {
    const limiter = (rates: Rates, share: () => number = () => 1): RateLimiter => new RateLimiter(clock, () => rateAt(rates, minuteOfDay(today())) / share());
    this.near = download === undefined ? [] : [limiter(download)];
    this.far = [...this.near, ...(backhaul === undefined ? [] : [limiter(backhaul, () => Math.max(1, this.#bringers()))])];
    this.upload = upload === undefined ? undefined : limiter(upload);
  }

  /** The most that may arrive from everybody together at the moment, bytes a second. */
  readonly rate = (): number => Math.min(Infinity, ...this.near.map(({ rate }) => rate));

  /** Tells how many members of the site bring something over the backhaul at the moment, this one among them. */
  sharedBy(bringers: () => number): void {
    this.#bringers = bringers;
  }
}
