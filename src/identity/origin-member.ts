import { CERTIFICATE_RENEW_AFTER } from '../core/limits.ts';
import type { Fleet } from './fleet.ts';
import { deviceIdOf, newKeyPair, spkiOf } from './key.ts';
import { Revocations } from './revocations.ts';
import { lifeOf } from './tls.ts';
import type { Member, TlsMaterial } from './tls.ts';

/**
 * An origin as a member: it has the authority at hand, so it makes itself a key and a certificate with every start and
 * long before one ends, and keeps neither.
 */
export class OriginMember implements Member {
  readonly #fleet: Fleet;
  readonly #hosts: readonly string[];
  readonly #listeners = new Set<() => void>();
  readonly revocations: Revocations;
  readonly client = undefined;
  readonly today: () => number;
  #server: TlsMaterial | undefined;
  #seen: number | undefined;

  /** `hosts`: names and addresses for clients that know no fleets, in the certificate; undefined for an origin that does not listen with TLS. */
  static async open(fleet: Fleet, hosts: readonly string[] | undefined, today: () => number): Promise<OriginMember> {
    const member = new OriginMember(fleet, hosts ?? [], today, hosts === undefined ? undefined : await material(fleet, hosts, today()));
    if ((await fleet.revocations()) === undefined) await fleet.signRevocations();
    await member.look();
    return member;
  }

  private constructor(fleet: Fleet, hosts: readonly string[], today: () => number, server: TlsMaterial | undefined) {
    this.#fleet = fleet;
    this.#hosts = hosts;
    this.#server = server;
    this.today = today;
    this.revocations = new Revocations(fleet.authority.fleet, fleet.authority.anchors);
  }

  get fleet(): string {
    return this.#fleet.authority.fleet;
  }

  get server(): TlsMaterial {
    if (this.#server === undefined) throw new TypeError('this origin does not listen with TLS');
    return this.#server;
  }

  /** Takes the list that `shoal revoke` may have written since. */
  async look(): Promise<void> {
    const bytes = await this.#fleet.revocationsSince(this.#seen);
    if (bytes === undefined) return;
    this.#seen = bytes.modified;
    this.revocations.adopt(bytes.list);
  }

  /**
   * Makes another certificate when most of this one's life is over, or when by the time of day it is not good at all. Asked often: an
   * origin that began with a clock that was not set, or that slept for a week, would otherwise be a stranger to its fleet for days.
   */
  async renewIfDue(): Promise<void> {
    if (this.#server === undefined) return;
    const { from, to } = lifeOf(this.#server.cert);
    const now = this.today();
    if (now < from || now >= from + (to - from) * CERTIFICATE_RENEW_AFTER) await this.renew();
  }

  async renew(): Promise<void> {
    this.#server = await material(this.#fleet, this.#hosts, this.today());
    for (const listener of this.#listeners) listener();
  }

  onRenewed(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

async function material({ authority }: Fleet, hosts: readonly string[], now: number): Promise<TlsMaterial> {
  const { privateKey, publicKey } = newKeyPair();
  const holder = { fleet: authority.fleet, role: 'origin', device: deviceIdOf(spkiOf(publicKey)), site: undefined, products: 'all' } as const;
  const { server } = await authority.issue(holder, publicKey, now, hosts);
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, cert: server, ca: authority.ca };
}
