import { hashOf } from './rendezvous.ts';
import { ALL_BUSY_LEAST, ALL_BUSY_TIMES, BROKEN_MOST, BUSY_TIMES, JOIN_MS, LOOKING_MS, PATIENCE_LEAST_MS, PATIENCE_TIMES, TAKE_OVER_MS, UNDECIDED_MS, UNHEARD_MS, WORK_UNSEEN_MS } from './site-limits.ts';
import type { Member, Said, Seen } from './site-member.ts';
import { Slowness } from './slowness.ts';

/** What one device knows of the members of its site for one artifact: what they have, bring and need, and whether they can be waited for. Pure. */
export class SiteMembers {
  readonly #root: string;
  readonly #now: () => number;
  protected readonly self: Seen;
  readonly #selfName: string;
  protected readonly others = new Map<string, Seen>();
  /** Spans that somebody has shown, this device among them, and who was the first. */
  protected readonly shown = new Map<number, Seen>();
  /** Spans that this device is bringing. */
  protected readonly crossing = new Set<number>();
  /** For how long each may bring nothing, as far as that was asked for since somebody's pace was last learned. */
  readonly #patiences = new Map<Seen, number>();
  protected readonly begun: number;
  /** How many of the others are late. */
  #late = 0;
  /** Whoever does not say what bringing all of it costs him may need no more than this. */
  #best = -1;
  /** Spans of the artifact, where that is known. */
  protected count = Infinity;
  readonly #slow = new Slowness();

  /** `root` names the artifact; `now` counts milliseconds. */
  constructor(self: Member, root: string, now: () => number) {
    this.#root = root;
    this.#now = now;
    this.#selfName = self.instance;
    this.self = this.#first(self);
    this.begun = now();
  }

  /** Who else is there. Those that are not named any more lose their turns. `standby`: this device brings nothing as long as others can. */
  members(list: readonly Member[], standby = false): void {
    this.self.standby = standby;
    const named = new Set(list.map(({ instance }) => instance));
    for (const [instance, seen] of this.others) {
      if (named.has(instance)) continue;
      this.#setBusy(seen, false);
      this.others.delete(instance);
      this.#patiences.clear();
    }
    for (const member of list) {
      if (member.instance === this.#selfName) continue;
      const seen = this.others.get(member.instance);
      if (seen === undefined) this.others.set(member.instance, this.#first(member));
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
    this.self.bytes = bytes;
    this.#best = best;
  }

  /** This device begins to bring `span` over the backhaul. */
  brings(span: number): void {
    this.shown.set(span, this.self);
    this.crossing.add(span);
  }

  /** It ceases to bring it. */
  ceases(span: number): void {
    if (!this.crossing.delete(span)) return;
    if (this.shown.get(span) === this.self) this.shown.delete(span);
    for (const seen of this.others.values()) if (seen.rivals.includes(span)) seen.claims = new Map([...seen.claims, [span, this.#now()]]);
  }

  /** This device has `span`; `took` milliseconds if it brought it over the backhaul. */
  has(span: number, took?: number): void {
    this.shown.set(span, this.self);
    this.crossing.delete(span);
    if (took === undefined) return;
    this.self.pace = took;
    this.#patiences.clear();
    this.self.brought = this.#now();
  }

  /** How many spans the artifact has. */
  spans(count: number): void {
    this.count = count;
  }

  /** What was learned of a member. */
  saw(instance: string, { held, working, bytes, bringing = [], has = () => false, count }: Said): void {
    const seen = this.others.get(instance);
    if (seen === undefined || seen.liar) return;
    this.count = count ?? this.count;
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
    seen.claims = new Map(bringing.filter((span) => !has(span) && (before.has(span) || (this.shown.get(span) !== this.self && !this.#claimed(span)))).map((span) => [span, before.get(span) ?? now]));
    seen.rivals = bringing.filter((span) => !has(span) && this.shown.get(span) === this.self);
    for (const span of before.keys()) if (!seen.claims.has(span) && !has(span)) seen.broken++;
  }

  /** A member answered what was asked so many milliseconds ago. */
  answered(instance: string, took: number): void {
    this.#slow.answered(took);
    const seen = this.others.get(instance);
    if (seen === undefined) return;
    seen.askedLast = this.#now() - took;
    seen.met = true;
  }

  /** From 1: how many times as long as usual members are waited for. */
  get slowness(): number {
    return this.#slow.times;
  }

  /** A member was asked: it answered, or cannot be reached. Until then it may be bringing anything. */
  asked(instance: string): void {
    const seen = this.others.get(instance);
    if (seen === undefined) return;
    seen.heard = true;
    this.#setBusy(seen, false);
  }

  /** A member can be reached, and did not answer in time. */
  late(instance: string): void {
    const seen = this.others.get(instance);
    if (seen !== undefined) this.#setBusy(seen, true);
  }

  /** A member was caught with wrong bytes, or boasts of what it has not: it is passed over from now on, and what it showed is forgotten. */
  caught(instance: string): void {
    const seen = this.others.get(instance);
    if (seen !== undefined) seen.liar = true;
    for (const [span, first] of this.shown) if (first === seen) this.shown.delete(span);
    this.#patiences.clear();
  }

  /** Members that say they are bringing something over the backhaul; this one is counted. */
  get bringers(): number {
    let members = 1;
    for (const seen of this.others.values()) if (seen.claims.size > 0 && this.inTime(seen)) members++;
    return members;
  }

  /** Whether others are at work, so that waiting makes sense. */
  get othersAtWork(): boolean {
    return [...this.others.values()].some((seen) => this.inTime(seen));
  }

  /** Whether somebody has shown `span`, or says that he is bringing it. */
  protected comes(span: number): boolean {
    return this.shown.has(span) || this.#claimed(span);
  }

  /** Whether somebody says that he is bringing it. */
  #claimed(span: number): boolean {
    for (const seen of this.others.values()) if (this.isBringing(seen, span)) return true;
    return false;
  }

  /** Whether a member says that it is bringing `span`, and can be believed. */
  protected isBringing(seen: Seen, span: number): boolean {
    const since = seen.claims.get(span);
    return since !== undefined && seen.broken < BROKEN_MOST && this.#now() - since < this.patience(seen);
  }

  protected isUnheard({ busy, heard, liar, met, since }: Seen): boolean {
    return !heard && !liar && this.#now() - (met ? since : this.begun) <= (busy && this.#allBusy ? Math.max(UNHEARD_MS * this.slowness, ALL_BUSY_TIMES * TAKE_OVER_MS) : UNHEARD_MS * this.slowness);
  }

  /** Whether its turns are left to it. */
  protected waitsFor(seen: Seen): boolean {
    return this.inTime(seen) && (seen.passed === undefined || seen.brought > seen.passed);
  }

  /** Of those that never answered, the newest is waited for no longer than the first: or one that is called something else every second would be waited for for ever. */
  protected inTime({ alive, busy, joined, liar, looking, met, since }: Seen): boolean {
    if (liar) return false;
    if (joined) return this.#now() - alive <= Math.max(this.slowness, !busy ? 1 : this.#allBusy ? ALL_BUSY_TIMES : BUSY_TIMES) * TAKE_OVER_MS;
    return looking !== false && this.#now() - (met ? since : this.begun) <= (looking === true || busy ? LOOKING_MS : JOIN_MS) * this.slowness;
  }

  /** Fewer bytes come first. A member that is still looking at its base is waited for, not for ever. */
  protected rank({ bytes, since }: Seen): number {
    return bytes ?? (this.#now() - since <= UNDECIDED_MS * this.slowness ? this.#best : Infinity);
  }

  /** Of who has not joined it may be known what it will need; otherwise it counts as one of ours. */
  protected rankBeside(seen: Seen, own: number): number {
    return seen.joined ? this.rank(seen) : (seen.bytes ?? own);
  }

  /** For how long a member may bring nothing: by how long others take, for it might say anything of itself. */
  protected patience(seen: Seen): number {
    const known = this.#patiences.get(seen);
    if (known !== undefined) return known;
    const paces: number[] = [];
    for (const each of [this.self, ...this.others.values()]) if (each !== seen && each.pace !== undefined && !each.liar) paces.push(each.pace);
    const middle = paces.sort((a, b) => a - b)[paces.length >> 1];
    const patience = middle === undefined ? WORK_UNSEEN_MS : Math.min(WORK_UNSEEN_MS, Math.max(PATIENCE_LEAST_MS, PATIENCE_TIMES * middle));
    this.#patiences.set(seen, patience);
    return patience;
  }

  /** Whether there are more members than bring things. */
  protected get many(): boolean {
    for (const { standby } of this.others.values()) if (standby) return true;
    return this.self.standby;
  }

  protected heardSince(since: number): boolean {
    for (const seen of this.others.values()) if (seen.joined && seen.askedLast < since && this.inTime(seen)) return false;
    return true;
  }

  /** Whether it brought something, and how long that took it. */
  #weigh(seen: Seen, held: number, has: (span: number) => boolean, count: number | undefined, now: number): void {
    const fresh: number[] = [];
    for (let span = 0; count !== undefined && held > seen.held && span < count; span++) if (has(span) && (this.isBringing(seen, span) || !this.comes(span))) fresh.push(span);
    if (count === undefined ? held <= seen.held : fresh.length === 0) return;
    const begun = fresh.flatMap((span) => seen.claims.get(span) ?? []);
    for (const span of fresh) this.shown.set(span, seen);
    // What it had before it was first asked says nothing of its pace.
    if (begun.length > 0) seen.pace = now - Math.min(...begun);
    else if (seen.heard) seen.pace ??= now - seen.brought;
    this.#patiences.clear();
    if (begun.length > 0) seen.broken = 0;
    seen.brought = now;
  }

  /** Whether most members are late. */
  get #allBusy(): boolean {
    return this.#late >= ALL_BUSY_LEAST && 2 * this.#late > this.others.size;
  }

  #setBusy(seen: Seen, busy: boolean): void {
    if (seen.busy !== busy) this.#late += busy ? 1 : -1;
    seen.busy = busy;
  }

  #first({ instance, weight, bytes, joined = true, looking, asked = true, met = true, standby = false }: Member): Seen {
    const now = this.#now();
    return { hash: hashOf(this.#root, instance), weight, bytes, joined, looking, busy: false, held: 0, since: now, grew: now, alive: now, brought: now, pace: undefined, claims: new Map(), rivals: [], passed: undefined, broken: 0, heard: asked, askedLast: -Infinity, met, liar: false, standby };
  }
}
