import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import type { RateLimiter } from '../core/rate-limiter.ts';
import { CERTIFICATE_RENEW_LEAST_MS, REVOCATIONS_MAX_BYTES } from '../core/limits.ts';
import { wire } from '../core/wire.ts';
import { renewDevice } from '../exchange/enroll.ts';
import type { TlsFor } from '../exchange/http-pool.ts';
import { HttpUpstream } from '../exchange/upstream.ts';
import type { Link, Upstream } from '../exchange/upstream.ts';
import { Credentials } from '../identity/credentials.ts';
import type { Holder } from '../identity/holder.ts';
import { mayHave } from '../identity/holder.ts';
import { FleetClient } from '../identity/tls.ts';
import type { Files } from '../store/files.ts';
import { Periodic } from './periodic.ts';

export interface MembershipOptions {
  readonly files: Files;
  /** What `shoal enroll` made. */
  readonly directory: string;
  /** Who renews it: the origin as it is named now; where that cannot be reached, the gateway, which passes it on. */
  readonly origin: string;
  readonly gateway?: string;
  readonly clock: Clock;
  readonly today: () => number;
  readonly random: () => number;
  readonly onError?: (error: unknown, where: string) => void;
}

/** After a renewal that failed: how long until the next try, milliseconds. */
const AGAIN_MS = 300_000;
/** A host whose revocation list was not what it said is not asked for it again for so long. */
const DEAF_MS = 600_000;

/** A device, gateway or operator as a member of its fleet: it talks with its certificates, renews them, and hears who is out. */
export class Membership implements Link {
  readonly credentials: Credentials;
  readonly host: TlsFor;
  readonly neighbour: TlsFor;
  readonly #options: MembershipOptions;
  readonly #deaf = new Map<string, number>();
  #hearing: Promise<void> | undefined;
  #turns: Periodic | undefined;
  #failed = false;

  /** Throws `NOT_ENROLLED`, `BAD_IDENTITY`. */
  static async open(options: MembershipOptions): Promise<Membership> {
    return new Membership(options, await Credentials.open(options.files, options.directory, options.today));
  }

  private constructor(options: MembershipOptions, credentials: Credentials) {
    this.#options = options;
    this.credentials = credentials;
    const client = new FleetClient(credentials);
    this.host = client.optionsFor('host');
    this.neighbour = client.optionsFor('neighbour');
  }

  get holder(): Holder {
    return this.credentials.holder;
  }

  /** Renews in time, until closed. */
  keep(): void {
    const { clock, random } = this.#options;
    this.#turns = new Periodic(clock, () => (this.#failed ? AGAIN_MS : CERTIFICATE_RENEW_LEAST_MS) * (0.75 + 0.5 * random()), () => this.renewIfDue(), () => undefined);
  }

  heard(number: number, upstream: Upstream): void {
    const { clock } = this.#options;
    const { revocations } = this.credentials;
    if (number <= revocations.number || this.#hearing !== undefined || (this.#deaf.get(upstream.url) ?? -Infinity) > clock.now()) return;
    this.#hearing = this.#fetch(upstream)
      .catch((error: unknown) => this.#options.onError?.(error, 'identity'))
      .then(() => {
        this.#hearing = undefined;
        if (revocations.number >= number) return;
        if (this.#deaf.size >= 64) this.#deaf.clear();
        this.#deaf.set(upstream.url, clock.now() + DEAF_MS);
      });
  }

  /** Returns when what was heard is on the medium. */
  async close(): Promise<void> {
    await this.#turns?.stop();
    await this.#hearing;
    await this.credentials.settled();
  }

  async #fetch(upstream: Upstream): Promise<void> {
    const { status, body } = await upstream.get('control', wire.revocations, REVOCATIONS_MAX_BYTES);
    if (status === 200) this.credentials.revocations.adopt(body);
  }

  /** What has ended is renewed before anything else: without it there is nobody to talk to. What fails is told of. */
  async renewIfDue(): Promise<void> {
    if (!this.credentials.due) return;
    const { origin, gateway, clock, onError } = this.#options;
    this.#failed = true;
    for (const host of [origin, ...(gateway === undefined ? [] : [gateway])]) {
      try {
        await renewDevice(this.credentials, host, clock);
        this.#failed = false;
        return;
      } catch (error) {
        onError?.(error, 'identity');
      }
    }
  }
}

/** The membership that a role was given, renewed where that is due; undefined when it was given none. Throws what `check` throws. */
export async function membershipOf(check: (holder: Holder) => void, options: { readonly identity?: string; readonly origin: string; readonly gateway?: string; readonly files: Files; readonly clock: Clock; readonly today?: () => number; readonly random?: () => number; readonly onError?: (error: unknown, where: string) => void }): Promise<Membership | undefined> {
  const { identity, origin, gateway, files, clock, today = Date.now, random = Math.random, onError } = options;
  if (identity === undefined) return undefined;
  const member = await Membership.open({ files, directory: identity, origin, ...(gateway === undefined ? {} : { gateway }), clock, today, random, ...(onError === undefined ? {} : { onError }) });
  check(member.holder);
  await member.renewIfDue();
  return member;
}

/** A host to be fetched from, with certificates where this one has some. */
export function upstreamOf(url: string, clock: Clock, link: Link | undefined, expected: 'host' | 'neighbour', limiters?: readonly RateLimiter[]): HttpUpstream {
  return new HttpUpstream(url, clock, link === undefined ? undefined : { link, expected }, limiters);
}

/** Throws `NOT_ENTITLED` when a device is to follow what its certificate is not for, `WRONG_SITE` when it is to be where it is not. */
export function checkEntitled({ products, site }: Holder, wanted: readonly string[], at: string | undefined): void {
  const missing = wanted.filter((product) => !mayHave({ products } as Holder, [product]));
  if (missing.length > 0) {
    throw new ShoalError('NOT_ENTITLED', `the identity of this device is for ${products === 'all' ? 'all products' : products.join(', ')}, not for ${missing.join(', ')}`, {
      ids: { products: missing.join(' ') }, hint: 'Enrol it again with a token for these products.',
    });
  }
  if (at !== undefined && at !== (site ?? 'default')) throw new ShoalError('WRONG_SITE', `the identity of this device is for site ${site ?? 'default'}, not for ${at}`, { ids: { site: at }, hint: 'Leave --site out, or enrol it again with a token for that site.' });
}
