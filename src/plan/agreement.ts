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

/** At a site where all look at all, it costs more time than it saves bytes when everything is somewhat slow for a moment. */
const SLOW_TIMES = 4;
/** How long a claim is shown to others after it was last of interest, milliseconds: the planner looks again four times a second. */
const SHOWN_MS = 2_000;

/**
 * Where members answer slowly, two may find at the same time that a lot is theirs, each by what the others were seconds ago. So each says that it brings something before it
 * does, and begins when everybody who can be waited for has answered a question that was put after that: of two who claim the same at least one hears of the
 * other, and leaves it to him. The same where there are more than anybody looks at: a small site that answers at once does not wait for that.
 */
export class Agreement {
  readonly #now: () => number;
  readonly #claims = new Map<number, Claim>();

  /** `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Whether `span` of `lot`, which would be this device's turn, may be begun. `many`: more members than each looks at; `slowness`: how many times as long as usual everybody is waited for;
   * `heard`: whether all that count have answered what was asked since then.
   */
  mayBegin(span: number, lot: number, many: boolean, slowness: number, heard: (since: number) => boolean): boolean {
    if (!many && slowness <= SLOW_TIMES) return true;
    const now = this.#now();
    let claim = this.#claims.get(lot);
    if (claim === undefined || now - claim.asked > TAKE_OVER_MS * slowness) this.#claims.set(lot, (claim = { span, since: now, asked: now, agreed: false }));
    claim.asked = now;
    claim.agreed ||= heard(claim.since) || now - claim.since > UNHEARD_MS * slowness;
    return claim.agreed;
  }

  /** `span` of `lot` is another one's turn after all. What all agreed to is not undone by one of them that brings a part of it. */
  withdraw(span: number, lot: number): void {
    const claim = this.#claims.get(lot);
    if (claim?.span === span && !claim.agreed) this.#claims.delete(lot);
  }

  /** Spans that this device is about to bring, or has begun with, for others to know. */
  get claimed(): readonly number[] {
    const now = this.#now();
    return [...this.#claims.values()].flatMap(({ asked, span }) => (now - asked > SHOWN_MS ? [] : [span]));
  }
}
