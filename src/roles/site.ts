import { systemClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import { CONTROL_MAX_BYTES, NEIGHBOURS_TIMEOUT_MS, PEERS_MAX } from '../core/limits.ts';
import { isName, parseName } from '../core/names.ts';
import { API, wire } from '../core/wire.ts';
import type { MdnsOptions } from '../discover/mdns.ts';
import type { Discovery } from '../discover/types.ts';
import { hostUrl } from '../exchange/host-url.ts';
import type { HttpUpstream } from '../exchange/upstream.ts';
import { nodeFiles } from '../store/files.ts';
import type { Membership } from './membership.ts';
import { membershipOf, upstreamOf } from './membership.ts';
import { checkHost } from './plain-http.ts';

export interface SiteOptions {
  /** Hosts that are asked who is there, and shown themselves: agents, gateways, the origin. */
  readonly hosts: readonly string[];
  /** Whose list of hosts is asked for. Default: that of the identity, else `default`. */
  readonly site?: string;
  readonly identity?: string;
  readonly insecureHttp?: boolean;
  /** Listens on the LAN as well. */
  readonly mdns?: { readonly interface?: string; readonly udpPort?: number };
  readonly clock?: Clock;
}

export interface SeenArtifact {
  readonly namespace: string;
  readonly root: string;
  readonly size: number;
  readonly spans: number;
  readonly held: number;
  readonly product?: string;
  readonly version?: string;
  readonly working?: boolean;
  /** Spans that it is bringing over the backhaul. */
  readonly bringing?: readonly number[];
  /** The base that it is rebuilt from, or `none`. */
  readonly base?: string;
}

/** A host of a site, as it describes itself: nobody has checked that. */
export interface SeenHost {
  readonly url: string;
  readonly role?: string;
  readonly instance?: string;
  readonly artifacts: readonly SeenArtifact[];
  /** Bytes received since its start, by source. */
  readonly received?: Readonly<Record<string, number>>;
  readonly sent?: { readonly content: number; readonly control: number };
  /** Why nothing more is known of it. */
  readonly problem?: string;
}

export interface SiteView {
  readonly site: string;
  readonly hosts: readonly SeenHost[];
  /** What the hosts have received, together. */
  readonly received: Readonly<Record<string, number>>;
}

/** How long hosts on the LAN have to make themselves known before the first look, milliseconds. */
const LISTEN_MS = 1_500;
/** Hosts asked at a time. */
const ABREAST = 16;

/** Looks at a site again and again: who is there, what each holds and fetches. Asks only what neighbours ask each other. */
export class SiteWatch {
  readonly site: string;
  readonly #clock: Clock;
  readonly #member: Membership | undefined;
  readonly #named: readonly string[];
  readonly #insecure: boolean | undefined;
  readonly #discovery: Discovery | undefined;
  readonly #upstreams = new Map<string, HttpUpstream>();
  readonly #unnamed: boolean;
  #listened = false;

  /** Throws `BAD_USAGE`, `PLAIN_HTTP`, `DISCOVERY`, `NOT_ENROLLED`. */
  static async open(options: SiteOptions): Promise<SiteWatch> {
    const { clock = systemClock, hosts, identity, insecureHttp, mdns } = options;
    if (hosts.length === 0 && mdns === undefined) {
      throw new ShoalError('BAD_USAGE', 'nobody is named to look at', { hint: 'Name a gateway, an agent or the origin, or listen on the LAN with --mdns.' });
    }
    for (const url of hosts) checkHost(url, insecureHttp);
    const member = await membershipOf(() => undefined, { origin: hosts[0] ?? '', files: nodeFiles, clock, ...(identity === undefined ? {} : { identity }) });
    const site = parseName('site', options.site ?? member?.holder.site ?? 'default');
    const { startMdns } = await import('../discover/mdns.ts');
    const listening: MdnsOptions | undefined = mdns === undefined ? undefined : { ...mdns, instance: 'looking', port: 0, role: 'agent', secure: member !== undefined, silent: true, clock };
    return new SiteWatch(clock, member, site, hosts.map(hostUrl), insecureHttp, listening === undefined ? undefined : await startMdns(listening), member !== undefined && (options.site ?? member.holder.site) === undefined);
  }

  private constructor(clock: Clock, member: Membership | undefined, site: string, named: readonly string[], insecure: boolean | undefined, discovery: Discovery | undefined, unnamed: boolean) {
    this.#clock = clock;
    this.#member = member;
    this.site = site;
    this.#named = named;
    this.#insecure = insecure;
    this.#discovery = discovery;
    this.#unnamed = unnamed;
  }

  /** Throws what the first host that was named throws, when none of all answers. */
  async look(): Promise<SiteView> {
    if (this.#discovery !== undefined && !this.#listened) {
      this.#listened = true;
      this.#discovery.ask();
      await new Promise<void>((resolve) => void this.#clock.after(LISTEN_MS, resolve));
    }
    const urls = new Set([...this.#named, ...(this.#discovery?.seen ?? []).map(({ url }) => url)]);
    for (const listed of await Promise.all(this.#named.map((url) => this.#listedAt(url)))) for (const url of listed) if (urls.size < PEERS_MAX) urls.add(url);
    const all = [...urls];
    const hosts: SeenHost[] = [];
    const known = new Set<string>();
    for (let at = 0; at < all.length; at += ABREAST) {
      for (const host of await Promise.all(all.slice(at, at + ABREAST).map((url) => this.#host(url)))) {
        // Named by one address and listed by another, it is one host, and what it received is counted once.
        if (host.instance !== undefined && known.has(host.instance)) continue;
        if (host.instance !== undefined) known.add(host.instance);
        hosts.push(host);
      }
    }
    const received: Record<string, number> = {};
    for (const host of hosts) for (const [source, bytes] of Object.entries(host.received ?? {})) received[source] = (received[source] ?? 0) + bytes;
    return { site: this.site, hosts: hosts.toSorted((a, b) => (a.role ?? '~').localeCompare(b.role ?? '~') || a.url.localeCompare(b.url, undefined, { numeric: true })), received };
  }

  /** Whether nobody said which site: its hosts are those that have none. */
  get unnamed(): boolean {
    return this.#unnamed;
  }

  async close(): Promise<void> {
    await this.#discovery?.close();
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.close()));
    await this.#member?.close();
  }

  /** The hosts that one of them knows. Not everybody keeps a list. */
  async #listedAt(url: string): Promise<readonly string[]> {
    try {
      const { peers } = (await this.#ask(url, wire.peers(this.site))) as { readonly peers?: unknown };
      if (!Array.isArray(peers)) return [];
      return peers.flatMap((peer: unknown) => {
        const { url: listed } = (peer ?? {}) as { readonly url?: unknown };
        if (typeof listed !== 'string' || !URL.canParse(listed)) return [];
        const { origin, protocol } = new URL(listed);
        // Strangers wrote the list where there are no certificates: with certificates nobody is asked without.
        return protocol === (this.#member === undefined ? 'http:' : 'https:') || (this.#insecure === true && protocol === 'http:') ? [origin] : [];
      });
    } catch {
      // It says why itself, when it is asked for what it holds.
      return [];
    }
  }

  async #host(url: string): Promise<SeenHost> {
    try {
      return hostOf(url, await this.#ask(url, `${API}/holdings`));
    } catch (error) {
      const problem = isShoalError(error) ? error.message.replace(/^\S+: /, '').replace(`${url} `, '') : messageOf(error);
      const stranger = this.#member === undefined && url.startsWith('https:') && isShoalError(error, 'HTTP_CONNECT');
      return { url, artifacts: [], problem: stranger ? `${problem}; hosts of a fleet answer its members: name an --identity` : problem };
    }
  }

  async #ask(url: string, path: string): Promise<unknown> {
    const upstream = this.#upstreams.get(url) ?? upstreamOf(url, this.#clock, this.#member, 'neighbour');
    this.#upstreams.set(url, upstream);
    const late = new AbortController();
    const cancel = this.#clock.after(2 * NEIGHBOURS_TIMEOUT_MS, () => {
      late.abort();
    });
    try {
      const { status, body } = await upstream.get('control', path, CONTROL_MAX_BYTES, {}, late.signal);
      if (status !== 200) throw new ShoalError('HTTP_STATUS', `${url}: it answers ${String(status)}${status === 404 ? ', as to whoever may not ask' : ''}`, { ids: { url, status } });
      return JSON.parse(Buffer.from(body).toString('utf8'));
    } catch (error) {
      if (late.signal.aborted) throw new ShoalError('HTTP_TIMEOUT', `${url}: it does not answer`, { cause: error, retry: 'again' });
      throw error;
    } finally {
      cancel();
    }
  }
}

/** What can be used of what a host says of itself. */
function hostOf(url: string, said: unknown): SeenHost {
  const { artifacts, instance, received, role, sent } = (said ?? {}) as Readonly<Record<string, unknown>>;
  return {
    url,
    ...(typeof role === 'string' && isName(role) ? { role } : {}),
    ...(typeof instance === 'string' && isName(instance) ? { instance } : {}),
    artifacts: (Array.isArray(artifacts) ? artifacts : []).filter(isArtifact),
    ...(received === undefined ? {} : { received: numbersOf(received) }),
    ...(sent === undefined ? {} : { sent: { content: 0, control: 0, ...numbersOf(sent) } }),
  };
}

function numbersOf(value: unknown): Record<string, number> {
  return Object.fromEntries(Object.entries((value ?? {}) as Readonly<Record<string, unknown>>).filter((entry): entry is [string, number] => /^[a-zA-Z]{1,24}$/.test(entry[0]) && typeof entry[1] === 'number' && entry[1] >= 0).slice(0, 16));
}

function isArtifact(value: unknown): value is SeenArtifact {
  const { namespace, root, size, spans, held, product, version, working, base, bringing } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const text = (each: unknown): boolean => each === undefined || (typeof each === 'string' && isName(each));
  return [namespace, root].every((each) => typeof each === 'string' && isName(each)) && [size, spans, held].every((each) => typeof each === 'number') && text(product) && text(version)
    && (working === undefined || typeof working === 'boolean') && text(base)
    && (bringing === undefined || (Array.isArray(bringing) && bringing.every((span) => typeof span === 'number')));
}
