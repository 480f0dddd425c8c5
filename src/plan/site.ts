import { Agreement } from './agreement.ts';
import { helping } from './helping.ts';
import type { Help } from './helping.ts';
import { score } from './rendezvous.ts';
import { BROKEN_MOST, LAST_WIDTH, LEFT_MS, LOTS, STAND_IN_MS, TAKE_OVER_MS, TRY_MS, WIDTH } from './site-limits.ts';
import type { Member, Seen } from './site-member.ts';
import { SiteMembers } from './site-members.ts';

/**
 * Who of a site brings which span over the backhaul: pure, and without a word between the members. Those that need the fewest
 * bytes for it come first (the best base for a delta); every device ranks these by the same hash (rendezvous hashing: Thaler
 * and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998), and the first of them that
 * shows signs of life fetches the span; the others take it from there.
 */

/** The turns of one device for one artifact. */
export class SiteTurns extends SiteMembers {
  readonly #now: () => number;
  #helpAt = -Infinity;
  #helps: Help = { spans: new Set(), first: undefined };
  /** By lot: whose turn it is, since when, and when that was last of interest. */
  readonly #firsts = new Map<number, { seen: Seen; since: number; asked: number }>();
  readonly #agreement: Agreement;
  /** Whether something is left to begin that is for members to bring that can be waited for, as found last. */
  #left = { at: -Infinity, any: false };
  /** The span that this device tries though it is not its turn. */
  #tried: number | undefined;

  /** `root` names the artifact; `now` counts milliseconds. */
  constructor(self: Member, root: string, now: () => number) {
    super(self, root, now);
    this.#now = now;
    this.#agreement = new Agreement(now);
  }

  override brings(span: number): void {
    super.brings(span);
    this.#helpAt = -Infinity;
  }

  /** Spans that this device is about to bring: to be shown to others like those that it is bringing. */
  get claimed(): readonly number[] {
    return this.#agreement.claimed.filter((span) => !this.shown.has(span));
  }

  /**
   * Whether `span`, which this device is bringing, is better left to a member that says that it is bringing it as well: of two who could not hear of each other in
   * time one goes on, the same in the eyes of both. One that says so of what it never had is not believed, as with any claim.
   */
  yields(span: number): boolean {
    const rank = this.rank(this.self);
    const own = score(this.self, span % LOTS);
    for (const seen of this.others.values()) {
      if (!seen.rivals.includes(span) || seen.broken >= BROKEN_MOST || !this.waitsFor(seen)) continue;
      const other = this.rankBeside(seen, rank);
      if (other < rank || (other === rank && score(seen, span % LOTS) > own)) return true;
    }
    return false;
  }

  /** How many spans this device should bring at a time: so many that all members at work together keep the backhaul busy. */
  get width(): number {
    let [members, claimed, begun] = [1, 0, this.shown.size];
    for (const seen of this.others.values()) {
      if (!this.waitsFor(seen) || seen.standby) continue;
      members++;
      claimed += seen.claims.size;
      for (const span of seen.claims.keys()) if (!this.shown.has(span)) begun++;
    }
    const share = Math.ceil(WIDTH / members);
    // The last spans come one after another: each can be passed on while the next one crosses, and not all of them at the very end.
    const last = Math.max(LAST_WIDTH, this.count - begun) - claimed;
    // Who is the last with something to bring need not bring it bit by bit; at the beginning nobody has heard yet what others bring.
    return Math.max(1, Math.min(last, this.#now() - this.begun > 2 * TAKE_OVER_MS ? Math.max(share, WIDTH - claimed) : share));
  }

  /**
   * Members that were to bring things and cannot be waited for, where none of all that were is left, this device included: others are to
   * take their places. As long as one is left, the turns of the others are his, and nobody has to agree with anybody on who comes next.
   */
  get lost(): readonly string[] {
    const lost: string[] = [];
    if (!this.self.standby) return lost;
    for (const [instance, seen] of this.others) {
      if (seen.standby) continue;
      if (this.waitsFor(seen) || this.isUnheard(seen)) return [];
      lost.push(instance);
    }
    return lost;
  }

  /** Whether it waits for members to answer, or to find out whether they want the artifact: that is no reason to take its turns away. */
  get waits(): boolean {
    for (const seen of this.others.values()) if (this.isUnheard(seen) || (!seen.joined && seen.looking === true && this.inTime(seen))) return true;
    return false;
  }

  /** Whether no member that is at work needs fewer bytes than this device. */
  get leads(): boolean {
    const own = this.rank(this.self);
    for (const seen of this.others.values()) if (this.waitsFor(seen) && this.rankBeside(seen, own) < own) return false;
    return true;
  }

  /** Whether it is this device's turn to bring `span` over the backhaul, and all know. */
  mine(span: number): boolean {
    const lot = span % LOTS;
    if (this.#owns(span)) return this.#agreement.mayBegin(span, lot, this.many, this.slowness, (since) => this.heardSince(since));
    this.#agreement.withdraw(span, lot);
    return false;
  }

  #owns(span: number): boolean {
    if (this.self.standby) return false;
    const rank = this.rank(this.self);
    const lot = span % LOTS;
    const own = score(this.self, lot);
    let first: Seen | undefined;
    let [firstRank, firstScore] = [rank, own];
    for (const seen of this.others.values()) {
      if (this.isUnheard(seen)) return false;
      if (!this.inTime(seen)) continue;
      // Its turn or not: it is on its way. Whoever joins or comes back moves the turns, and should not have it fetched twice.
      if (this.isBringing(seen, span)) return false;
      if (seen.standby || !this.waitsFor(seen)) continue;
      const other = this.rankBeside(seen, rank);
      const theirs = score(seen, lot);
      if (other < firstRank || (other === firstRank && theirs > firstScore)) [first, firstRank, firstScore] = [seen, other, theirs];
    }
    if (first === undefined) return !this.#leaves(span);
    if (this.#help.spans.has(span) && !this.comes(span)) return true;
    if (!this.#idles(first, lot)) return this.#tries && span === (this.#tried ??= span);
    // Whoever is next may begin to be waited for.
    first.passed = this.#now();
    return this.#owns(span);
  }

  /**
   * Above 0, and below 1, when others come before it, those with a lower number first: it is this device's turn only because another one cannot be waited for, who may
   * be bringing `span` where nobody here sees it; or there is another span of its own, and this one may be brought by somebody who has nothing to do.
   */
  comesAfter(span: number): number {
    const { first } = this.#help;
    return (first !== undefined && span > first) || this.standsIn(span) ? (span + 1) / (span + 2) : 0;
  }

  /** Whether it is this device's turn only because another one cannot be waited for. */
  standsIn(span: number): boolean {
    return this.#lost(span % LOTS) !== undefined;
  }

  /** What this device may bring for others, and what it begins with of its own. */
  get #help(): Help {
    const now = this.#now();
    if (now - this.#helpAt < LEFT_MS) return this.#helps;
    this.#helpAt = now;
    const rank = this.rank(this.self);
    const others = [...this.others.values()].filter((seen) => !seen.standby && this.waitsFor(seen));
    // A part of a delta makes several spans: who takes another one's last span would take all that there is.
    if (this.count === Infinity || rank !== Infinity || this.self.standby || others.some((seen) => this.rankBeside(seen, rank) < rank)) return (this.#helps = { spans: new Set(), first: undefined });
    const equals = others.filter((seen) => this.rankBeside(seen, rank) === rank);
    const owners = Array.from({ length: LOTS }, (_, lot) => equals.reduce((best, seen) => (score(seen, lot) > score(best, lot) ? seen : best), this.self));
    let underWay = this.crossing.size;
    for (const seen of this.others.values()) if (this.inTime(seen)) for (const span of seen.claims.keys()) if (!this.shown.has(span)) underWay++;
    return (this.#helps = helping({ self: this.self, others: equals, owners, count: this.count, comes: (span) => this.comes(span), underWay, now, slowness: this.slowness }));
  }

  /** Who would have the turns of `lot`, if he is one that shows no sign of life. */
  #lost(lot: number): Seen | undefined {
    const rank = this.rank(this.self);
    let lost: Seen | undefined;
    let [firstRank, firstScore] = [rank, score(this.self, lot)];
    for (const seen of this.others.values()) {
      const here = this.waitsFor(seen);
      if (seen.standby) continue;
      if (!here && (!seen.joined || seen.liar || this.inTime(seen))) continue;
      const other = this.rankBeside(seen, rank);
      const theirs = score(seen, lot);
      if (other < firstRank || (other === firstRank && theirs > firstScore)) [lost, firstRank, firstScore] = [here ? undefined : seen, other, theirs];
    }
    return lost;
  }

  /**
   * Whether `span` is left to one that cannot be reached, because there is enough to bring that is nobody else's. Where a LAN is cut, the
   * other half brings it, and little crosses twice; where he is dead, it makes no difference what comes last.
   */
  #leaves(span: number): boolean {
    const lost = this.#lost(span % LOTS);
    return lost !== undefined && this.#now() - lost.alive <= STAND_IN_MS && this.#leftToBegin;
  }

  /** Whether something is not begun of what is for members to bring that can be waited for, this one among them. */
  get #leftToBegin(): boolean {
    const now = this.#now();
    if (now - this.#left.at < LEFT_MS || this.count === Infinity) return this.#left.any;
    const here = Array.from({ length: LOTS }, (_, lot) => this.#lost(lot) === undefined);
    let any = false;
    for (let span = 0; !any && span < this.count; span++) any = here[span % LOTS] === true && !this.comes(span);
    this.#left = { at: now, any };
    return any;
  }

  /** Whether the member whose turn `lot` is has had it for too long without bringing anything at all. */
  #idles(first: Seen, lot: number): boolean {
    const now = this.#now();
    const known = this.#firsts.get(lot) ?? { seen: first, since: now, asked: now };
    // What nobody asked about for a while was brought, or is being fetched on the LAN.
    if (known.seen !== first || now - known.asked > TAKE_OVER_MS * this.slowness) known.since = now;
    known.seen = first;
    known.asked = now;
    this.#firsts.set(lot, known);
    return now - Math.max(known.since, first.brought) > this.patience(first);
  }

  /** Whether it is time for this device to try something, because nobody has anything to show. */
  get #tries(): boolean {
    const idle = this.#now() - this.begun;
    const tryMs = TRY_MS * this.slowness;
    if (idle < tryMs || this.self.pace !== undefined) return false;
    const rank = this.rank(this.self);
    let before = 0;
    for (const seen of this.others.values()) {
      if (seen.pace !== undefined) return false;
      if (seen.standby || !this.inTime(seen)) continue;
      const other = this.rankBeside(seen, rank);
      if (other < rank || (other === rank && score(seen, LOTS) > score(this.self, LOTS))) before++;
    }
    return idle >= tryMs * 2 ** before;
  }
}
