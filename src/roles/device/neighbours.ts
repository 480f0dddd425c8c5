import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { AGENT_ACQUAINTED_MS, AGENT_NEWS_FIRST_MS, AGENT_NEWS_MS, AGENT_SETTLE_MS, ANNOUNCE_MAX_ROOTS, CONTROL_MAX_BYTES, NEIGHBOURS_MAX, NEIGHBOURS_TIMEOUT_MS } from '../../core/limits.ts';
import { wire } from '../../core/wire.ts';
import type { Discovery, Seen } from '../../discover/types.ts';
import { HttpSource } from '../../exchange/source.ts';
import type { Source } from '../../exchange/source.ts';
import type { DeltaOffer } from '../../exchange/delta-choice.ts';
import type { BackhaulTurns } from '../../exchange/download.ts';
import type { HttpUpstream, Link, Upstream } from '../../exchange/upstream.ts';
import { inOrder } from '../../plan/rendezvous.ts';
import { lookAt } from '../../plan/look.ts';
import type { Choice } from '../../plan/look.ts';
import { LOST_MS } from '../../plan/site-limits.ts';
import { SiteTurns } from '../../plan/site.ts';
import { upstreamOf } from '../membership.ts';
import { parsePeers } from './peer-list.ts';
import type { Listed } from './peer-list.ts';
import { Periodic } from '../periodic.ts';
import type { Traffic } from '../traffic.ts';

export interface NeighboursOptions {
  /** Who keeps the site's list, in the order in which they are asked: the gateway, then the origin. */
  readonly hosts: () => readonly Upstream[];
  /** Another way to learn who is there, and that a gateway is. */
  readonly discovery?: Discovery | undefined;
  readonly site: string;
  /** This device, as it announces itself; undefined when it only looks who else is there. */
  readonly self: { readonly instance: string; readonly url: string } | undefined;
  readonly clock: Clock;
  /** With it neighbours are talked to over TLS alone. */
  readonly link?: Link | undefined;
  /** What is fetched from them is counted against its limits. */
  readonly traffic: Traffic;
}

/** Neighbours asked for trust files: each that answers nothing costs time, and not each has every one. */
const HOSTS_MAX = 6;

/** Between one member of a site and the next that ask the origin for index pages which no neighbour has, and in all, milliseconds. */
const PAGES_APART_MS = 250;
const PAGES_APART_MOST_MS = 3_000;

/** Gateways used of those that say they are one. */
const GATEWAYS_MAX = 2;

type Interest = 'joined' | 'looking' | 'none';

interface Neighbour {
  readonly instance: string;
  readonly source: Source;
  readonly upstream: HttpUpstream;
  /** What it has something of; undefined when it was only seen, and has to be asked. */
  roots: readonly ObjectId[] | undefined;
  /** What it said when it was asked for it: that it knows of it, that it looks whether it is news for it, or neither. */
  readonly has: Map<ObjectId, Interest>;
  /** It has answered a question: it is there, and over TLS one of the fleet. */
  met: boolean;
  /** When it was to bring things and could not be waited for; `-Infinity` when it has had or brought something since. */
  lost: number;
}

/**
 * The other devices of a site, from the list that the gateway or the origin keeps. Whoever is on it is a stranger until its
 * bytes have been verified, and there are never more than `NEIGHBOURS_MAX` connections to strangers at a time.
 */
export class Neighbours {
  readonly #options: NeighboursOptions;
  readonly #known = new Map<string, Neighbour>();
  /** By root: bases from which deltas make it, and how many bytes that takes. */
  readonly #costs = new Map<ObjectId, ReadonlyMap<ObjectId, number>>();
  readonly #gateways = new Map<string, { readonly instance: string; readonly upstream: HttpUpstream; readonly source: Source }>();
  /** What the choice among many neighbours depends on. */
  readonly #order = randomUUID();
  /** Where there are many, who of them is looked at, by root: not found out anew for every request. */
  readonly #looked = new Map<ObjectId, Choice<Neighbour>>();
  /** By root: what bringing it costs this device, bytes, once that is known. */
  readonly #own = new Map<ObjectId, number>();
  /** Of the update that runs. */
  #turns: SiteTurns | undefined;
  #closed = false;

  readonly #began: number;

  constructor(options: NeighboursOptions) {
    this.#options = options;
    this.#began = options.clock.now();
  }

  /** Says that this device is here and has something of `roots`. Throws when no host took it. */
  async announce(roots: readonly ObjectId[], signal?: AbortSignal): Promise<void> {
    const { site, self } = this.#options;
    if (self === undefined || (this.#options.discovery !== undefined && this.#options.hosts().length === 0)) return;
    const body = Buffer.from(JSON.stringify({ url: self.url, roots: roots.slice(0, ANNOUNCE_MAX_ROOTS) }));
    await this.#first((host, inTime) => host.put(`${wire.peers(site)}/${self.instance}`, body, inTime), 204, signal);
  }

  /** Asks who is here. Keeps what it knew when no host answers. Throws when none does and there is no other way to learn it. */
  async refresh(signal?: AbortSignal): Promise<void> {
    this.#options.discovery?.ask();
    await this.lookAround();
    let listed: readonly Listed[] | undefined;
    try {
      listed = await this.#list(signal);
    } catch (error) {
      if (this.#options.discovery === undefined) throw error;
    }
    await this.lookAround(listed);
  }

  /** Takes note of who was seen on the LAN, and of who is on the site's list when there is a new one. */
  async lookAround(listed?: readonly Listed[]): Promise<void> {
    const { clock, discovery, link, self } = this.#options;
    const seen = discovery?.seen ?? [];
    await this.#noteGateways(seen.filter(({ role }) => role === 'gateway').slice(0, GATEWAYS_MAX));
    const agents = seen.filter(({ role }) => role === 'agent').map(({ instance, url }) => ({ instance, url, roots: undefined }));
    const before = [...this.#known].flatMap(([url, { instance, roots }]) => (roots === undefined ? [] : [{ url, instance, roots }]));
    // What a list says of a neighbour is more than that it was seen.
    const now = new Map([...agents, ...(listed ?? before)].filter(({ instance, url }) => instance !== self?.instance && url !== self?.url).map((peer) => [peer.url, peer]));
    for (const [url, { source }] of this.#known) {
      if (now.has(url)) continue;
      this.#known.delete(url);
      await source.close();
    }
    this.#looked.clear();
    if (this.#closed) return;
    for (const [url, { instance, roots }] of now) {
      if (link !== undefined && !url.startsWith('https:')) continue;
      const known = this.#known.get(url);
      // Another instance at the same place is the same device after a restart.
      if (known?.instance === instance) known.roots = roots;
      else {
        const upstream = known?.upstream ?? upstreamOf(url, clock, this.#options.link, 'neighbour', this.#options.traffic.near);
        this.#known.set(url, { instance, upstream, source: known?.source ?? new HttpSource('peer', url, clock, upstream), roots, has: new Map(), met: false, lost: -Infinity });
      }
    }
  }

  /** Gateways that were seen on the LAN. What they serve is verified like anybody's. */
  get gateways(): readonly { readonly upstream: Upstream; readonly source: Source }[] {
    return [...this.#gateways.values()];
  }

  async #noteGateways(seen: readonly Seen[]): Promise<void> {
    const urls = new Set(seen.map(({ url }) => url));
    for (const [url, { source }] of this.#gateways) {
      if (urls.has(url)) continue;
      this.#gateways.delete(url);
      await source.close();
    }
    for (const { instance, url } of seen) {
      if (this.#gateways.has(url) || this.#closed) continue;
      const upstream = upstreamOf(url, this.#options.clock, this.#options.link, 'host', this.#options.traffic.near);
      this.#gateways.set(url, { instance, upstream, source: new HttpSource('gateway', url, this.#options.clock, upstream) });
    }
  }

  async #list(signal?: AbortSignal): Promise<readonly Listed[]> {
    const answer = await this.#first((host, inTime) => host.get('control', wire.peers(this.#options.site), CONTROL_MAX_BYTES, {}, inTime), 200, signal);
    return parsePeers(answer.body);
  }

  /** Asks again and again who is here, until stopped. */
  watch(signal?: AbortSignal): Periodic {
    let next = AGENT_NEWS_FIRST_MS;
    const pause = (): number => {
      const now = next;
      next = Math.min(2 * next, AGENT_NEWS_MS);
      return now;
    };
    return new Periodic(this.#options.clock, pause, () => this.refresh(signal), () => undefined);
  }

  /** Those that have something of `root`. Which ones, where there are many, differs from device to device. */
  sources(root: ObjectId): readonly Source[] {
    return this.#chosen(root).looked.map(({ source }) => source);
  }

  /** All that are known, as many as are looked at. */
  get members(): readonly { readonly instance: string; readonly upstream: Upstream }[] {
    return [...this.#known.values()].map(({ instance, upstream }) => ({ instance, upstream }));
  }

  /** The same, and the gateways, as they are told to who looks at the site. */
  get listed(): readonly { readonly instance: string; readonly url: string; readonly roots: readonly ObjectId[] }[] {
    const known = [...this.#known].map(([url, { instance, roots = [] }]) => ({ instance, url, roots }));
    return [...known, ...[...this.#gateways].map(([url, { instance }]) => ({ instance, url, roots: [] }))];
  }

  /** Some that may pass on trust files when nobody better can be reached. */
  get hosts(): readonly Upstream[] {
    return [...this.#known.values()].slice(0, HOSTS_MAX).map(({ upstream }) => upstream);
  }

  /** Members that bring something over the backhaul at the moment, as they say; this one is counted. */
  get bringers(): number {
    return this.#turns?.bringers ?? 1;
  }

  /** Whose turn it is to bring what of `root` over the backhaul. Only those this device looks at can be waited for. */
  turns(root: ObjectId): BackhaulTurns {
    const turns = new SiteTurns({ instance: this.#options.self?.instance ?? this.#order, weight: 1 }, root, () => this.#options.clock.now());
    this.#turns = turns;
    const { clock } = this.#options;
    // Who has listened for a while knows who is there, but for those that come just now.
    const settles = Math.min(clock.now() + AGENT_SETTLE_MS, this.#options.discovery === undefined ? Infinity : this.#began + AGENT_ACQUAINTED_MS);
    const settled = (): boolean => clock.now() >= settles;
    const known: ReadonlyMap<string, Neighbour> = this.#known;
    const pagesAfter = (beside: Iterable<Neighbour>): number => this.#pagesAfter(root, beside);
    const members = (): number => known.size;
    let offers: readonly DeltaOffer[] = [];
    const costOf = (base: ObjectId | 'none' | undefined): number | undefined => (base === undefined ? undefined : (offers.find((offer) => offer.base === base)?.bytes ?? Infinity));
    const look = (): SiteTurns => {
      const { bringers, looked, standby } = this.#chosen(root);
      turns.members(looked.map((neighbour) => {
        const said = neighbour.has.get(root);
        const joined = neighbour.roots?.includes(root) === true || said === 'joined';
        // What it needs once it sets out, it will say itself.
        return { instance: neighbour.instance, weight: 1, asked: false, met: neighbour.met, joined, standby: !bringers.has(neighbour), looking: said === undefined ? undefined : said === 'looking', bytes: joined ? undefined : this.#costOf(root, neighbour) };
      }), standby);
      this.#replace(root, turns.lost);
      return turns;
    };
    look();
    return {
      asked: ({ name }) => {
        const neighbour = this.#known.get(name);
        if (neighbour !== undefined) turns.asked(neighbour.instance);
      },
      late: ({ name }) => {
        const neighbour = this.#known.get(name);
        if (neighbour !== undefined) turns.late(neighbour.instance);
      },
      caught: ({ name }) => {
        const neighbour = this.#known.get(name);
        if (neighbour !== undefined) turns.caught(neighbour.instance);
      },
      saw: ({ name }, { base, bringing, spans, working, known }, took) => {
        const neighbour = this.#known.get(name);
        if (neighbour === undefined) return;
        neighbour.met = true;
        this.#heard(root, neighbour, known ? 'joined' : working ? 'looking' : 'none');
        // Words alone give nobody his place back.
        if (spans.size > 0 || (bringing?.length ?? 0) > 0) neighbour.lost = -Infinity;
        look();
        turns.answered(neighbour.instance, took);
        turns.asked(neighbour.instance);
        if (known) turns.saw(neighbour.instance, { held: spans.size, has: (span) => spans.has(span), count: spans.count, working, bytes: costOf(base), bringing });
      },
      spans: (count) => {
        turns.spans(count);
      },
      brings: (span) => {
        turns.brings(span);
      },
      ceases: (span) => {
        turns.ceases(span);
      },
      has: (span, took) => {
        turns.has(span, took);
      },
      decided: (choice, listed) => {
        offers = listed;
        this.#costs.set(root, new Map(listed.map(({ base, bytes }) => [base, bytes])));
        this.#own.set(root, choice?.offer.bytes ?? Infinity);
        this.#looked.delete(root);
        turns.decided(choice?.offer.bytes ?? Infinity, Math.min(...listed.map(({ bytes }) => bytes)));
        look();
      },
      settled: () => (settled() ? Promise.resolve() : new Promise((resolve) => void clock.after(settles - clock.now(), resolve))),
      get isSettled() {
        return settled();
      },
      mine: (span) => settled() && turns.mine(span),
      yields: (span) => turns.yields(span),
      comesAfter: (span) => turns.comesAfter(span),
      get mayAskForPages() {
        return clock.now() >= settles + pagesAfter(known.values());
      },
      mayAskForPagesBeside: (names) => clock.now() >= settles + pagesAfter(names.flatMap((name) => known.get(name) ?? [])),
      get waits() {
        return turns.waits;
      },
      get width() {
        return turns.width;
      },
      get leads() {
        return settled() && turns.leads;
      },
      get members() {
        return members();
      },
      get claimed() {
        return turns.claimed;
      },
      get slowness() {
        return turns.slowness;
      },
      get othersAtWork() {
        return look().othersAtWork;
      },
    };
  }

  /** For how long this device leaves it to those `beside` that come before it, in an order that is the same at all, to ask for index pages afar. Milliseconds. */
  #pagesAfter(root: ObjectId, beside: Iterable<Neighbour>): number {
    const self = this.#options.self?.instance ?? this.#order;
    const order = inOrder(`pages ${root}`, [self, ...[...beside].map(({ instance }) => instance)]);
    return Math.min(order.indexOf(self) * PAGES_APART_MS, PAGES_APART_MOST_MS);
  }

  /** What a neighbour said of `root`. Where there are many, those that neither have nor want it make room for others to be looked at. */
  #heard(root: ObjectId, { has }: Neighbour, interest: Interest): void {
    if ((has.get(root) === 'none') !== (interest === 'none')) this.#looked.delete(root);
    has.set(root, interest);
  }

  /** What `root` will cost a neighbour by the best base that it has announced; undefined when that is not known. */
  #costOf(root: ObjectId, { roots = [] }: Neighbour): number | undefined {
    const bytes = roots.flatMap((base) => this.#costs.get(root)?.get(base) ?? []);
    return bytes.length === 0 ? undefined : Math.min(...bytes);
  }

  /** Those it looks at: all, or where there are many, those that may have to bring it, and some of the others. */
  #chosen(root: ObjectId): Choice<Neighbour> {
    // Those that have nothing of it yet are asked as well: that is how they hear that there is something.
    const known = [...this.#known.values()];
    if (known.length <= NEIGHBOURS_MAX) return { looked: known, bringers: new Set(known), standby: false };
    const before = this.#looked.get(root);
    if (before !== undefined) return before;
    const forgotten = this.#options.clock.now() - LOST_MS;
    const candidates = known.map((neighbour) => ({ neighbour, instance: neighbour.instance, bytes: this.#costOf(root, neighbour) ?? Infinity, without: neighbour.has.get(root) === 'none', lost: neighbour.lost > forgotten }));
    const { bringers, looked, standby } = lookAt(root, { instance: this.#options.self?.instance ?? this.#order, bytes: this.#own.get(root) ?? Infinity }, this.#order, candidates, NEIGHBOURS_MAX);
    const choice = { looked: looked.map(({ neighbour }) => neighbour), bringers: new Set([...bringers].map(({ neighbour }) => neighbour)), standby };
    this.#looked.set(root, choice);
    return choice;
  }

  /** Others are to take the places of these, which were to bring `root`. */
  #replace(root: ObjectId, instances: readonly string[]): void {
    if (instances.length === 0 || this.#known.size <= NEIGHBOURS_MAX) return;
    const now = this.#options.clock.now();
    for (const neighbour of this.#known.values()) if (instances.includes(neighbour.instance)) neighbour.lost = now;
    this.#looked.delete(root);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#known.values(), ...this.#gateways.values()].map(({ source }) => source.close()));
    this.#known.clear();
    this.#gateways.clear();
  }

  async #first<T extends { readonly status: number }>(ask: (host: Upstream, inTime: AbortSignal) => Promise<T>, wanted: number, signal?: AbortSignal): Promise<T> {
    let last: unknown = new ShoalError('HTTP_CONNECT', 'there is no host that keeps a list of neighbours', { retry: 'again' });
    for (const host of this.#options.hosts()) {
      signal?.throwIfAborted();
      const late = new AbortController();
      const cancel = this.#options.clock.after(NEIGHBOURS_TIMEOUT_MS, () => {
        late.abort();
      });
      try {
        const answer = await ask(host, signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]));
        if (answer.status === wanted) return answer;
        last = new ShoalError('HTTP_STATUS', `${host.url} answered ${String(answer.status)} for the neighbours of site ${this.#options.site}`, { ids: { upstream: host.url, status: answer.status }, retry: 'again' });
      } catch (error) {
        last = error;
      } finally {
        cancel();
      }
    }
    throw last as Error;
  }
}
