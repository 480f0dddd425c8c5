import type { Clock } from '../../core/clock.ts';
import { NEIGHBOURS_MAX, NEWS_TIMEOUT_MS, TIMESTAMP_MAX_BYTES } from '../../core/limits.ts';
import { wire } from '../../core/wire.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import { ASK_AFAR_MS, askedForNews } from '../../plan/polling.ts';
import { versionOf } from './metadata.ts';

export interface NewsOptions {
  readonly clock: Clock;
  /** This device. */
  readonly instance: string;
  readonly pollMs: number;
  readonly random: () => number;
  readonly neighbours: () => readonly { readonly instance: string; readonly upstream: Upstream }[];
  /** There is a gateway: it asks once whoever asks it. */
  readonly gateway: () => boolean;
  /** Version of the timestamp that this device has; 0 when it has none. */
  readonly timestamp: () => Promise<number>;
}

/** Questions of neighbours about what is not known here lead to a look around at most so often, milliseconds. */
const HEARD_MS = 2_000;
/** After a look that found nothing: somebody asks for what does not concern this device. It cost nobody but neighbours anything. */
const DEAF_MS = 10_000;
/** What the first of a site says is news for a little longer than a poll takes to come round; what another one has heard of it, for a poll longer. */
const AGE_SHARE = 1.25;
const HEARSAY_SHARE = 2.25;

interface Heard {
  readonly upstream: Upstream;
  readonly version: number;
  /** Milliseconds since the origin was asked. */
  readonly age: number;
}

/**
 * Where a device looks for news. One member of a site asks the origin for all, another one with every new timestamp; the others
 * ask it. What a neighbour passes on is signed; it can at worst be old, so that every device asks for itself now and then.
 */
export class News {
  readonly #options: NewsOptions;
  /** Of the member's own questions to the origin: not all of a site on the same day. */
  readonly #afarMs: number;
  #preferred: readonly Upstream[] = [];
  /** When the origin was last asked: by whomever this device has its news from, and by this device itself. */
  #asked = -Infinity;
  #askedAfar = -Infinity;
  /** When the origin, or a gateway, last answered. */
  #answered = -Infinity;
  #deafUntil = -Infinity;
  #unsure = false;

  constructor(options: NewsOptions) {
    this.#options = options;
    this.#afarMs = ASK_AFAR_MS * (1 + options.random());
  }

  /** Told that the origin, or a gateway, has answered what news there is. */
  answered(): void {
    this.#answered = this.#options.clock.now();
  }

  /** Neighbours that are to be asked before everybody else, in the poll that runs. */
  get preferred(): readonly Upstream[] {
    return this.#preferred;
  }

  /** Seconds since the origin was asked for what this device knows. */
  get age(): number | undefined {
    return this.#asked === -Infinity ? undefined : Math.max(0, Math.round((this.#options.clock.now() - this.#asked) / 1000));
  }

  /** Whoever asked could not be asked in turn: there may be news all the same. */
  get unsure(): boolean {
    return this.#unsure;
  }

  /** It has looked just now: what neighbours ask for is no reason to do so again. */
  get deaf(): boolean {
    return this.#options.clock.now() < this.#deafUntil;
  }

  /** Does `poll` where it is this device's turn to look. */
  async due(poll: () => Promise<void>): Promise<void> {
    await this.#with(await this.#settled(), poll);
  }

  /** A neighbour at `address` wants what is not known here: does `poll` when neighbours have news, and bothers nobody else. */
  async heard(address: string, poll: () => Promise<void>): Promise<void> {
    const { clock, neighbours, timestamp } = this.#options;
    if (this.deaf) return;
    this.#deafUntil = clock.now() + HEARD_MS;
    const own = await timestamp();
    const asking = ({ upstream }: { readonly upstream: Upstream }): boolean => new URL(upstream.url).hostname.replace(/^\[|\]$/g, '') === address.replace(/^::ffff:/, '');
    const known = neighbours();
    const asker = known.find(asking);
    const first = asker === undefined ? undefined : await this.#ask(asker.upstream);
    this.#unsure = asker !== undefined && first === undefined;
    // All of a site hear of a release at the same moment: where each asked all others, handshakes would be all they do for a second.
    const others = first !== undefined && first.version > own ? [] : await Promise.all(known.filter((each) => each !== asker).slice(0, NEIGHBOURS_MAX - 1).map(({ upstream }) => this.#ask(upstream)));
    const [newest] = [first, ...others].filter((answer) => answer !== undefined).filter(({ version }) => version > own).sort((a, b) => b.version - a.version || a.age - b.age);
    if (newest === undefined) this.#deafUntil = clock.now() + (this.#unsure ? HEARD_MS : DEAF_MS);
    else await this.#with(newest, poll);
  }

  async #with(heard: Heard | undefined, poll: () => Promise<void>): Promise<void> {
    const { clock, timestamp } = this.#options;
    this.#preferred = heard === undefined ? [] : [heard.upstream];
    const began = clock.now();
    const before = await timestamp();
    try {
      await poll();
      // Neighbours that pass on what the origin has signed since do not keep news to themselves: it is as good as asking for it.
      if ((await timestamp()) > before) this.#askedAfar = began;
      // Who could not reach it has heard neighbours, and knows nothing newer than they: to say otherwise would keep all of them from asking.
      if (heard !== undefined) this.#asked = began - heard.age;
      else if (this.#answered >= began) this.#asked = this.#askedAfar = began;
    } finally {
      this.#preferred = [];
    }
  }

  async #settled(): Promise<Heard | undefined> {
    const { clock, gateway, instance, neighbours, pollMs, timestamp } = this.#options;
    if (gateway() || clock.now() - this.#askedAfar >= this.#afarMs) return undefined;
    const own = await timestamp();
    const known = new Map(neighbours().map((each) => [each.instance, each.upstream]));
    for (const [place, name] of askedForNews(instance, [...known.keys()], own).entries()) {
      const upstream = known.get(name);
      const answer = upstream === undefined ? undefined : await this.#ask(upstream);
      if (answer !== undefined && answer.version >= own && answer.age <= pollMs * (place === 0 ? AGE_SHARE : HEARSAY_SHARE)) return answer;
    }
    return undefined;
  }

  async #ask(upstream: Upstream): Promise<Heard | undefined> {
    const late = new AbortController();
    const cancel = this.#options.clock.after(NEWS_TIMEOUT_MS, () => {
      late.abort();
    });
    try {
      const { status, headers, body } = await upstream.get('control', `${wire.metadata}/timestamp.json`, TIMESTAMP_MAX_BYTES, {}, late.signal);
      const [version, age] = [versionOf(body), Number(headers.get('age') ?? Infinity)];
      return status === 200 && typeof version === 'number' && age >= 0 ? { upstream, version, age: age * 1000 } : undefined;
    } catch {
      // Somebody else has news.
      return undefined;
    } finally {
      cancel();
    }
  }
}
