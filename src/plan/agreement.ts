import { TAKE_OVER_MS, UNHEARD_MS } from './site-limits.ts';

/** A lot that this device wants to bring something of. */
interface Claim {
  /** The span of it that is claimed for all of them. */
  readonly span: number;
  readonly since: number;
  /** When it was last of interest. */
  asked: number;
  agreed: boolean;
}

/** How long a claim is shown to others after it was last of interest, milliseconds: the planner looks again four times a second. */
const SHOWN_MS = 2_000;

/**
 * Where members answer slowly, two may find at the same time that a lot is theirs, each by what the others were seconds ago. So each says that it brings something before it
 * does, and begins when everybody who can be waited for has answered a question that was put after that: of two who claim the same at least one hears of the
 * other, and leaves it to him. On a site that answers at once nobody waits for that.
 */
export class Agreement {
  readonly #now: () => number;
  readonly #claims = new Map<number, Claim>();

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Whether `span` of `lot`, which would be this device's turn, may be begun. `slowness`: how many times as long as usual everybody is waited for, 1 where that is not needed;
   * `heard`: whether all that count have answered what was asked since then.
   */
  mayBegin(span: number, lot: number, slowness: number, heard: (since: number) => boolean): boolean {
    if (slowness <= 1) return true;
    const now = this.#now();
    let claim = this.#claims.get(lot);
    if (claim === undefined || now - claim.asked > TAKE_OVER_MS * slowness) this.#claims.set(lot, (claim = { span, since: now, asked: now, agreed: false }));
    claim.asked = now;
    claim.agreed ||= heard(claim.since) || now - claim.since > UNHEARD_MS * slowness;
    return claim.agreed;
  }

  /** The span that is claimed for all of a lot. */
  claimedOf(lot: number): number | undefined {
    return this.#claims.get(lot)?.span;
  }

  /** It is another one's turn after all. */
  withdraw(lot: number): void {
    this.#claims.delete(lot);
  }

  /** Spans that this device is about to bring, or has begun with, for others to know. */
  get claimed(): readonly number[] {
    const now = this.#now();
    return [...this.#claims.values()].flatMap(({ asked, span }) => (now - asked > SHOWN_MS ? [] : [span]));
  }
}
