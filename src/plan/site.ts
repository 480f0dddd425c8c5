import { Agreement } from './agreement.ts';
import { hashOf, score } from './rendezvous.ts';
import { ALL_BUSY_LEAST, ALL_BUSY_TIMES, BROKEN_MOST, BUSY_TIMES, JOIN_MS, LAST_WIDTH, LEFT_MS, LOOKING_MS, LOTS, PATIENCE_LEAST_MS, PATIENCE_TIMES, STAND_IN_MS, TAKE_OVER_MS, TRY_MS, UNDECIDED_MS, UNHEARD_MS, WIDTH, WORK_UNSEEN_MS } from './site-limits.ts';
import { helping } from './helping.ts';
import type { Help } from './helping.ts';
import type { Member, Said, Seen } from './site-member.ts';
import { Slowness } from './slowness.ts';

/**
 * Who of a site brings which span over the backhaul: pure, and without a word between the members. Those that need the fewest
 * bytes for it come first (the best base for a delta); every device ranks these by the same hash (rendezvous hashing: Thaler
 * and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998), and the first of them that
 * shows signs of life fetches the span; the others take it from there.
 */

/** The turns of one device for one artifact. */
export class SiteTurns {
  readonly #root: string;
  readonly #now: () => number;
  readonly #self: Seen;
  readonly #selfName: string;
  readonly #others = new Map<string, Seen>();
  /** Spans that somebody has shown, this device among them, and who was the first. */
  readonly #shown = new Map<number, Seen>();
  /** Spans that this device is bringing. */
  readonly #crossing = new Set<number>();
  #helpAt = -Infinity;
  #helps: Help = { spans: new Set(), first: undefined };
  /** By lot: whose turn it is, since when, and when that was last of interest. */
  readonly #firsts = new Map<number, { seen: Seen; since: number; asked: number }>();
  /** For how long each may bring nothing, as far as that was asked for since somebody's pace was last learned. */
  readonly #patiences = new Map<Seen, number>();
  readonly #begun: number;
  /** How many of the others are late. */
  #late = 0;
  /** Whoever does not say what bringing all of it costs him may need no more than this. */
  #best = -1;
  /** Spans of the artifact, where that is known. */
  #count = Infinity;
  readonly #slow = new Slowness();
  readonly #agreement: Agreement;
  /** Whether something is left to begin that is for members to bring that can be waited for, as found last. */
  #left = { at: -Infinity, any: false };
  /** The span that this device tries though it is not its turn. */
  #tried: number | undefined;

  /** `root` names the artifact; `now` counts milliseconds. */
  constructor(self: Member, root: string, now: () => number) {
    this.#root = root;
    this.#now = now;
    this.#selfName = self.instance;
    this.#self = this.#first(self);
    this.#begun = now();
    this.#agreement = new Agreement(now);
  }

  /** Who else is there. Those that are not named any more lose their turns. `standby`: this device brings nothing as long as others can. */
  members(list: readonly Member[], standby = false): void {
    this.#self.standby = standby;
    const named = new Set(list.map(({ instance }) => instance));
    for (const [instance, seen] of this.#others) {
      if (named.has(instance)) continue;
      this.#setBusy(seen, false);
      this.#others.delete(instance);
      this.#patiences.clear();
    }
    for (const member of list) {
      if (member.instance === this.#selfName) continue;
      const seen = this.#others.get(member.instance);
      if (seen === undefined) this.#others.set(member.instance, this.#first(member));
      else {
        seen.bytes = member.bytes ?? seen.bytes;
        seen.looking = member.looking;
        seen.standby = member.standby === true;
        seen.met ||= member.met === true;
        if (!seen.joined && member.joined !== false) {
          seen.joined = true;
          seen.alive = this.#now();
          seen.brought = seen.alive;
        }
      }
    }
  }

  /** What bringing all of it costs this device: bytes of a delta, or `Infinity`; and what it costs at best, with any base that there is a delta for. */
  decided(bytes: number, best = -1): void {
    this.#self.bytes = bytes;
    this.#best = best;
  }

  /** This device begins to bring `span` over the backhaul. */
  brings(span: number): void {
    this.#shown.set(span, this.#self);
    this.#crossing.add(span);
    this.#helpAt = -Infinity;
  }

  /** It ceases to bring it. */
  ceases(span: number): void {
    if (!this.#crossing.delete(span)) return;
    if (this.#shown.get(span) === this.#self) this.#shown.delete(span);
    for (const seen of this.#others.values()) if (seen.rivals.includes(span)) seen.claims = new Map([...seen.claims, [span, this.#now()]]);
  }

  /** This device has `span`; `took` milliseconds if it brought it over the backhaul. */
  has(span: number, took?: number): void {
    this.#shown.set(span, this.#self);
    this.#crossing.delete(span);
    if (took === undefined) return;
    this.#self.pace = took;
    this.#patiences.clear();
    this.#self.brought = this.#now();
  }

  /** How many spans the artifact has. */
  spans(count: number): void {
    this.#count = count;
  }

  /** What was learned of a member. */
  saw(instance: string, { held, working, bytes, bringing = [], has = () => false, count }: Said): void {
    const seen = this.#others.get(instance);
    if (seen === undefined || seen.liar) return;
    this.#count = count ?? this.#count;
    seen.bytes = bytes ?? seen.bytes;
    const now = this.#now();
    if (held > seen.held) seen.grew = now;
    if (held > seen.held || (working && now - seen.grew < WORK_UNSEEN_MS)) seen.alive = now;
    this.#weigh(seen, held, has, count, now);
    seen.heard = true;
    this.#setBusy(seen, false);
    seen.held = held;
    const before = seen.claims;
    // What is here, or on its way to somebody else, is not for it to bring. That others say they have it is no reason: one may boast.
    seen.claims = new Map(bringing.filter((span) => !has(span) && (before.has(span) || (this.#shown.get(span) !== this.#self && !this.#claimed(span)))).map((span) => [span, before.get(span) ?? now]));
    seen.rivals = bringing.filter((span) => !has(span) && this.#shown.get(span) === this.#self);
    for (const span of before.keys()) if (!seen.claims.has(span) && !has(span)) seen.broken++;
  }

  /** Whether somebody has shown `span`, or says that he is bringing it. */
  #comes(span: number): boolean {
    return this.#shown.has(span) || this.#claimed(span);
  }

  /** Whether somebody says that he is bringing it. */
  #claimed(span: number): boolean {
    for (const seen of this.#others.values()) if (this.#brings(seen, span)) return true;
    return false;
  }

  /** Whether a member says that it is bringing `span`, and can be believed. */
  #brings(seen: Seen, span: number): boolean {
    const since = seen.claims.get(span);
    return since !== undefined && seen.broken < BROKEN_MOST && this.#now() - since < this.#patience(seen);
  }

  /** Whether it brought something, and how long that took it. */
  #weigh(seen: Seen, held: number, has: (span: number) => boolean, count: number | undefined, now: number): void {
    const fresh: number[] = [];
    for (let span = 0; count !== undefined && held > seen.held && span < count; span++) if (has(span) && (this.#brings(seen, span) || !this.#comes(span))) fresh.push(span);
    if (count === undefined ? held <= seen.held : fresh.length === 0) return;
    const begun = fresh.flatMap((span) => seen.claims.get(span) ?? []);
    for (const span of fresh) this.#shown.set(span, seen);
    // What it had before it was first asked says nothing of its pace.
    if (begun.length > 0) seen.pace = now - Math.min(...begun);
    else if (seen.heard) seen.pace ??= now - seen.brought;
    this.#patiences.clear();
    if (begun.length > 0) seen.broken = 0;
    seen.brought = now;
  }

  /** A member answered what was asked so many milliseconds ago. */
  answered(instance: string, took: number): void {
    this.#slow.answered(took);
    const seen = this.#others.get(instance);
    if (seen === undefined) return;
    seen.askedLast = this.#now() - took;
    seen.met = true;
  }

  /** Spans that this device is about to bring: to be shown to others like those that it is bringing. */
  get claimed(): readonly number[] {
    return this.#agreement.claimed.filter((span) => !this.#shown.has(span));
  }

  /** From 1: how many times as long as usual members are waited for. */
  get slowness(): number {
    return this.#slow.times;
  }

  /** A member was asked: it answered, or cannot be reached. Until then it may be bringing anything. */
  asked(instance: string): void {
    const seen = this.#others.get(instance);
    if (seen === undefined) return;
    seen.heard = true;
    this.#setBusy(seen, false);
  }

  /** A member can be reached, and did not answer in time. */
  late(instance: string): void {
    const seen = this.#others.get(instance);
    if (seen !== undefined) this.#setBusy(seen, true);
  }

  /** A member was caught with wrong bytes, or boasts of what it has not: it is passed over from now on, and what it showed is forgotten. */
  caught(instance: string): void {
    const seen = this.#others.get(instance);
    if (seen !== undefined) seen.liar = true;
    for (const [span, first] of this.#shown) if (first === seen) this.#shown.delete(span);
    this.#patiences.clear();
  }

  /**
   * Whether `span`, which this device is bringing, is better left to a member that says that it is bringing it as well: of two who could not hear of each other in
   * time one goes on, the same in the eyes of both. One that says so of what it never had is not believed, as with any claim.
   */
  yields(span: number): boolean {
    const rank = this.#rank(this.#self);
    const own = score(this.#self, span % LOTS);
    for (const seen of this.#others.values()) {
      if (!seen.rivals.includes(span) || seen.broken >= BROKEN_MOST || !this.#waitsFor(seen)) continue;
      const other = this.#rankBeside(seen, rank);
      if (other < rank || (other === rank && score(seen, span % LOTS) > own)) return true;
    }
    return false;
  }

  /** How many spans this device should bring at a time: so many that all members at work together keep the backhaul busy. */
  get width(): number {
    let [members, claimed, begun] = [1, 0, this.#shown.size];
    for (const seen of this.#others.values()) {
      if (!this.#waitsFor(seen) || seen.standby) continue;
      members++;
      claimed += seen.claims.size;
      for (const span of seen.claims.keys()) if (!this.#shown.has(span)) begun++;
    }
    const share = Math.ceil(WIDTH / members);
    // The last spans come one after another: each can be passed on while the next one crosses, and not all of them at the very end.
    const last = Math.max(LAST_WIDTH, this.#count - begun) - claimed;
    // Who is the last with something to bring need not bring it bit by bit; at the beginning nobody has heard yet what others bring.
    return Math.max(1, Math.min(last, this.#now() - this.#begun > 2 * TAKE_OVER_MS ? Math.max(share, WIDTH - claimed) : share));
  }

  /** Members that say they are bringing something over the backhaul; this one is counted. */
  get bringers(): number {
    let members = 1;
    for (const seen of this.#others.values()) if (seen.claims.size > 0 && this.#inTime(seen)) members++;
    return members;
  }

  /**
   * Members that were to bring things and cannot be waited for, where none of all that were is left, this device included: others are to
   * take their places. As long as one is left, the turns of the others are his, and nobody has to agree with anybody on who comes next.
   */
  get lost(): readonly string[] {
    const lost: string[] = [];
    if (!this.#self.standby) return lost;
    for (const [instance, seen] of this.#others) {
      if (seen.standby) continue;
      if (this.#waitsFor(seen) || this.#isUnheard(seen)) return [];
      lost.push(instance);
    }
    return lost;
  }

  /** Whether others are at work, so that waiting makes sense. */
  get othersAtWork(): boolean {
    return [...this.#others.values()].some((seen) => this.#inTime(seen));
  }

  /** Whether it waits for members to answer, or to find out whether they want the artifact: that is no reason to take its turns away. */
  get waits(): boolean {
    for (const seen of this.#others.values()) if (this.#isUnheard(seen) || (!seen.joined && seen.looking === true && this.#inTime(seen))) return true;
    return false;
  }

  #isUnheard({ busy, heard, liar, met, since }: Seen): boolean {
    return !heard && !liar && this.#now() - (met ? since : this.#begun) <= (busy && this.#allBusy ? Math.max(UNHEARD_MS * this.slowness, ALL_BUSY_TIMES * TAKE_OVER_MS) : UNHEARD_MS * this.slowness);
  }

  /** Whether most members are late. */
  get #allBusy(): boolean {
    return this.#late >= ALL_BUSY_LEAST && 2 * this.#late > this.#others.size;
  }

  #setBusy(seen: Seen, busy: boolean): void {
    if (seen.busy !== busy) this.#late += busy ? 1 : -1;
    seen.busy = busy;
  }

  /** Whether no member that is at work needs fewer bytes than this device. */
  get leads(): boolean {
    const own = this.#rank(this.#self);
    for (const seen of this.#others.values()) if (this.#waitsFor(seen) && this.#rankBeside(seen, own) < own) return false;
    return true;
  }

  /** Whether it is this device's turn to bring `span` over the backhaul, and all know. */
  mine(span: number): boolean {
    const lot = span % LOTS;
    if (this.#owns(span)) return this.#agreement.mayBegin(span, lot, this.#many, this.slowness, (since) => this.#heardSince(since));
    this.#agreement.withdraw(span, lot);
    return false;
  }

  /** Whether there are more members than bring things. */
  get #many(): boolean {
    for (const { standby } of this.#others.values()) if (standby) return true;
    return this.#self.standby;
  }

  #heardSince(since: number): boolean {
    for (const seen of this.#others.values()) if (seen.joined && seen.askedLast < since && this.#inTime(seen)) return false;
    return true;
  }

  #owns(span: number): boolean {
    if (this.#self.standby) return false;
    const rank = this.#rank(this.#self);
    const lot = span % LOTS;
    const own = score(this.#self, lot);
    let first: Seen | undefined;
    let [firstRank, firstScore] = [rank, own];
    for (const seen of this.#others.values()) {
      if (this.#isUnheard(seen)) return false;
      if (!this.#inTime(seen)) continue;
      // Its turn or not: it is on its way. Whoever joins or comes back moves the turns, and should not have it fetched twice.
      if (this.#brings(seen, span)) return false;
      if (seen.standby || !this.#waitsFor(seen)) continue;
      const other = this.#rankBeside(seen, rank);
      const theirs = score(seen, lot);
      if (other < firstRank || (other === firstRank && theirs > firstScore)) [first, firstRank, firstScore] = [seen, other, theirs];
    }
    if (first === undefined) return !this.#leaves(span);
    if (this.#help.spans.has(span) && !this.#comes(span)) return true;
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
    const rank = this.#rank(this.#self);
    const others = [...this.#others.values()].filter((seen) => !seen.standby && this.#waitsFor(seen));
    // A part of a delta makes several spans: who takes another one's last span would take all that there is.
    if (this.#count === Infinity || rank !== Infinity || this.#self.standby || others.some((seen) => this.#rankBeside(seen, rank) < rank)) return (this.#helps = { spans: new Set(), first: undefined });
    const equals = others.filter((seen) => this.#rankBeside(seen, rank) === rank);
    const owners = Array.from({ length: LOTS }, (_, lot) => equals.reduce((best, seen) => (score(seen, lot) > score(best, lot) ? seen : best), this.#self));
    let underWay = this.#crossing.size;
    for (const seen of this.#others.values()) if (this.#inTime(seen)) for (const span of seen.claims.keys()) if (!this.#shown.has(span)) underWay++;
    return (this.#helps = helping({ self: this.#self, others: equals, owners, count: this.#count, comes: (span) => this.#comes(span), underWay, now, slowness: this.slowness }));
  }

  /** Who would have the turns of `lot`, if he is one that shows no sign of life. */
  #lost(lot: number): Seen | undefined {
    const rank = this.#rank(this.#self);
    let lost: Seen | undefined;
    let [firstRank, firstScore] = [rank, score(this.#self, lot)];
    for (const seen of this.#others.values()) {
      const here = this.#waitsFor(seen);
      if (seen.standby) continue;
      if (!here && (!seen.joined || seen.liar || this.#inTime(seen))) continue;
      const other = this.#rankBeside(seen, rank);
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
    if (now - this.#left.at < LEFT_MS || this.#count === Infinity) return this.#left.any;
    const here = Array.from({ length: LOTS }, (_, lot) => this.#lost(lot) === undefined);
    let any = false;
    for (let span = 0; !any && span < this.#count; span++) any = here[span % LOTS] === true && !this.#comes(span);
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
    return now - Math.max(known.since, first.brought) > this.#patience(first);
  }

  /** Whether it is time for this device to try something, because nobody has anything to show. */
  get #tries(): boolean {
    const idle = this.#now() - this.#begun;
    const tryMs = TRY_MS * this.slowness;
    if (idle < tryMs || this.#self.pace !== undefined) return false;
    const rank = this.#rank(this.#self);
    let before = 0;
    for (const seen of this.#others.values()) {
      if (seen.pace !== undefined) return false;
      if (seen.standby || !this.#inTime(seen)) continue;
      const other = this.#rankBeside(seen, rank);
      if (other < rank || (other === rank && score(seen, LOTS) > score(this.#self, LOTS))) before++;
    }
    return idle >= tryMs * 2 ** before;
  }

  /** For how long a member may bring nothing: by how long others take, for it might say anything of itself. */
  #patience(seen: Seen): number {
    const known = this.#patiences.get(seen);
    if (known !== undefined) return known;
    const paces: number[] = [];
    for (const each of [this.#self, ...this.#others.values()]) if (each !== seen && each.pace !== undefined && !each.liar) paces.push(each.pace);
    const middle = paces.sort((a, b) => a - b)[paces.length >> 1];
    const patience = middle === undefined ? WORK_UNSEEN_MS : Math.min(WORK_UNSEEN_MS, Math.max(PATIENCE_LEAST_MS, PATIENCE_TIMES * middle));
    this.#patiences.set(seen, patience);
    return patience;
  }

  /** Whether its turns are left to it. */
  #waitsFor(seen: Seen): boolean {
    return this.#inTime(seen) && (seen.passed === undefined || seen.brought > seen.passed);
  }

  /** Fewer bytes come first. A member that is still looking at its base is waited for, not for ever. */
  #rank({ bytes, since }: Seen): number {
    return bytes ?? (this.#now() - since <= UNDECIDED_MS * this.slowness ? this.#best : Infinity);
  }

  /** Of who has not joined it may be known what it will need; otherwise it counts as one of ours. */
  #rankBeside(seen: Seen, own: number): number {
    return seen.joined ? this.#rank(seen) : (seen.bytes ?? own);
  }

  /** Of those that never answered, the newest is waited for no longer than the first: or one that is called something else every second would be waited for for ever. */
  #inTime({ alive, busy, joined, liar, looking, met, since }: Seen): boolean {
    if (liar) return false;
    if (joined) return this.#now() - alive <= Math.max(this.slowness, !busy ? 1 : this.#allBusy ? ALL_BUSY_TIMES : BUSY_TIMES) * TAKE_OVER_MS;
    return looking !== false && this.#now() - (met ? since : this.#begun) <= (looking === true || busy ? LOOKING_MS : JOIN_MS) * this.slowness;
  }

  #first({ instance, weight, bytes, joined = true, looking, asked = true, met = true, standby = false }: Member): Seen {
    const now = this.#now();
    return { hash: hashOf(this.#root, instance), weight, bytes, joined, looking, busy: false, held: 0, since: now, grew: now, alive: now, brought: now, pace: undefined, claims: new Map(), rivals: [], passed: undefined, broken: 0, heard: asked, askedLast: -Infinity, met, liar: false, standby };
  }
}
