import { ShoalError } from '../core/errors.ts';
import { REVOCATIONS_MAX_BYTES, REVOCATION_KEPT_MS, TOKEN_MAX_LIFE_MS, TOKEN_MAX_USES } from '../core/limits.ts';
import { readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';
import { FleetAuthority, fleetPaths } from './authority.ts';
import { Registry } from './registry.ts';
import type { Scope } from './registry.ts';
import { decodeRevocations, fitting } from './revocations.ts';
import { formatToken, newToken } from './token.ts';

/** A fleet as its operator and its origin see it: the authority, the registry, the list of those who are out. */
export class Fleet {
  readonly authority: FleetAuthority;
  readonly registry: Registry;
  readonly #files: Files;
  readonly #list: string;
  readonly #now: () => number;

  private constructor(files: Files, directory: string, authority: FleetAuthority, now: () => number) {
    const paths = fleetPaths(directory);
    this.authority = authority;
    this.registry = Registry.open(paths.registry);
    this.#files = files;
    this.#list = paths.revocations;
    this.#now = now;
  }

  /** Throws `NO_FLEET`. The caller closes it. */
  static async open(files: Files, directory: string, now: () => number): Promise<Fleet> {
    return new Fleet(files, directory, await FleetAuthority.open(files, directory), now);
  }

  /** Makes a token and returns its text, which is nowhere else. Throws `BAD_USAGE`. */
  newToken({ uses, lifeMs, note, ...scope }: Scope & { readonly uses: number; readonly lifeMs: number; readonly note: string }): { readonly id: string; readonly text: string; readonly expires: number } {
    if (!(uses >= 1 && uses <= TOKEN_MAX_USES)) throw new ShoalError('BAD_USAGE', `a token can have 1 to ${String(TOKEN_MAX_USES)} uses`);
    if (!(lifeMs >= 1_000 && lifeMs <= TOKEN_MAX_LIFE_MS)) throw new ShoalError('BAD_USAGE', 'a token can last from a second to ten years');
    const token = newToken(this.authority.pin);
    const created = this.#now();
    this.registry.addToken({ ...scope, id: token.id, created, expires: created + lifeMs, uses, note }, token.secret);
    return { id: token.id, text: formatToken(token), expires: created + lifeMs };
  }

  /** Revokes devices and signs the list anew. Throws `NO_SUCH_DEVICE` before anything is done. */
  async revoke(devices: readonly string[], reason: string): Promise<{ readonly number: number; readonly changed: readonly string[] }> {
    for (const device of devices) {
      if (this.registry.device(device) === undefined) throw new ShoalError('NO_SUCH_DEVICE', `${device} is not a device of this fleet`, { ids: { device }, hint: '"shoal devices" lists them.' });
    }
    const changed = devices.filter((device) => this.registry.revoke(device, reason, this.#now()) === true);
    return { number: await this.signRevocations(), changed };
  }

  /** Signs the list of all who are revoked now. Returns its number. Throws `REVOCATIONS_FULL` when it is signed, and not all are on it. */
  async signRevocations(): Promise<number> {
    const before = await this.revocations();
    const number = before === undefined ? 0 : decodeRevocations(before, this.authority.fleet, this.authority.anchors).number;
    const { listed, missed } = fitting(this.registry.revoked(this.#now()), this.#now());
    const bytes = this.authority.revocations(listed, number, this.#now());
    // Never one that nobody would take.
    const signed = decodeRevocations(bytes, this.authority.fleet, this.authority.anchors);
    await writeDurably(this.#files, this.#list, bytes);
    if (missed.length > 0) {
      const end = Math.max(...missed.map(({ until }) => until - REVOCATION_KEPT_MS));
      throw new ShoalError('REVOCATIONS_FULL', `${String(missed.length)} devices are revoked and not on the list, which has room for ${String(listed.length)}: they get no certificates any more, and the last they have end by ${new Date(end).toISOString()}`, {
        ids: { missed: missed.length }, hint: 'Where that is too late, give the fleet another CA ("shoal init") and enrol anew whoever is to stay.',
      });
    }
    return signed.number;
  }

  /** The list as it was last signed; undefined before the first time. */
  revocations(): Promise<Uint8Array | undefined> {
    return readWhole(this.#files, this.#list, REVOCATIONS_MAX_BYTES);
  }

  /** The list when it was written at another time than `seen` (milliseconds since the epoch). */
  async revocationsSince(seen: number | undefined): Promise<{ readonly list: Uint8Array; readonly modified: number } | undefined> {
    const modified = (await this.#files.stat(this.#list))?.modified;
    const list = modified === undefined || modified === seen ? undefined : await this.revocations();
    return list === undefined || modified === undefined ? undefined : { list, modified };
  }

  close(): void {
    this.registry.close();
  }
}
