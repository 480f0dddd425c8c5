import type { KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { ShoalError } from '../core/errors.ts';
import { ENROL_BURST, ENROL_MAX_PER_SECOND, ENROL_REFUSED_MAX, ENROL_REFUSED_MS } from '../core/limits.ts';
import { Allowance, networkOf } from './allowance.ts';
import type { Fleet } from './fleet.ts';
import { deviceIdOf, isSigned, publicKeyFrom, statement } from './key.ts';
import type { EnrolRequest, Grant, RenewRequest } from './messages.ts';
import type { Scope } from './registry.ts';
import type { Revocations } from './revocations.ts';

/** Certificates for one device: at once, and seconds for another. */
const ENROL_DEVICE_BURST = 10;
const ENROL_DEVICE_S = 60;

function busy(): ShoalError {
  return new ShoalError('BUSY', 'too many requests', { retry: 'again' });
}

/**
 * Gives devices their certificates. Whoever asks is a stranger: every refusal is the same one, and the reason stands in
 * the audit log alone.
 */
export class EnrolmentDesk {
  readonly #fleet: Fleet;
  readonly #revocations: Revocations;
  readonly #now: () => number;
  readonly #refusals: Allowance;
  readonly #issues: Allowance;
  readonly #own: Allowance;

  /** `now` is the time of day, `clock` measures rates. */
  constructor(fleet: Fleet, revocations: Revocations, clock: Clock, now: () => number) {
    this.#fleet = fleet;
    this.#revocations = revocations;
    this.#now = now;
    this.#refusals = new Allowance(ENROL_REFUSED_MAX, (ENROL_REFUSED_MAX * 1000) / ENROL_REFUSED_MS, () => clock.now());
    this.#issues = new Allowance(ENROL_BURST, ENROL_MAX_PER_SECOND, () => clock.now());
    this.#own = new Allowance(ENROL_DEVICE_BURST, 1 / ENROL_DEVICE_S, () => clock.now());
  }

  /** The fleet's CA, for a device that knows the name of a token. Throws `REFUSED`, `BUSY`. */
  anchors(token: string, address: string): string {
    this.#mayAsk(address);
    if (!this.#fleet.registry.knowsToken(token)) throw this.#refuse(address);
    return this.#fleet.authority.ca;
  }

  /** Throws `REFUSED`, `BUSY`. */
  async enrol({ token, identity, key, proof }: EnrolRequest, address: string): Promise<Grant> {
    this.#mayAsk(address);
    const [id = '', secret = ''] = token.split('.', 2);
    const { device, certified } = this.#proven(identity, key, proof, address, (keyBytes) => statement('enroll', id, keyBytes));
    this.#mayHave(device);
    const scope = this.#fleet.registry.enrol(id, secret, device, address, this.#now());
    return this.#grant(scope, device, certified, address);
  }

  /** `address` is undefined for what a gateway passes on: it counts refusals itself. Throws `REFUSED`, `BUSY`. */
  async renew({ identity, key, proof }: RenewRequest, address: string | undefined): Promise<Grant> {
    this.#mayAsk(address);
    const { device, certified } = this.#proven(identity, key, proof, address, (keyBytes) => statement('renew', this.#fleet.authority.fleet, keyBytes));
    this.#mayHave(device);
    const scope = this.#fleet.registry.renew(device, address ?? 'a gateway', this.#now());
    return this.#grant(scope, device, certified, address);
  }

  async #grant(scope: Scope | { readonly refused: string }, device: string, certified: KeyObject, address: string | undefined): Promise<Grant> {
    if ('refused' in scope) throw this.#refuse(address);
    if (!this.#own.take(device) || !this.#issues.take('')) throw busy();
    const { authority } = this.#fleet;
    const holder = { ...scope, fleet: authority.fleet, device };
    const issued = await authority.issue(holder, certified, this.#now());
    return { ...holder, ...issued, ca: authority.ca, revocations: Buffer.from(this.#revocations.bytes ?? []).toString('base64'), time: this.#now() };
  }

  /** What it costs to say no is bounded by address; what it costs to say yes, which no stranger can cause, by device and altogether. */
  #mayAsk(address: string | undefined): void {
    if (address !== undefined && !this.#refusals.left(networkOf(address))) throw busy();
  }

  /** Before the registry writes a thing: whoever asks again and again, with a token that still works for it, is not to cost a transaction and a line each time. */
  #mayHave(device: string): void {
    if (!this.#own.left(device) || !this.#issues.left('')) throw busy();
  }

  #proven(identity: string, key: string, proof: string, address: string | undefined, signed: (key: Uint8Array) => Uint8Array): { readonly device: string; readonly certified: KeyObject } {
    try {
      const identityBytes = Buffer.from(identity, 'base64');
      const keyBytes = Buffer.from(key, 'base64');
      const certified = publicKeyFrom(keyBytes);
      if (isSigned(publicKeyFrom(identityBytes), signed(keyBytes), Buffer.from(proof, 'base64'))) return { device: deviceIdOf(identityBytes), certified };
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error;
    }
    throw this.#refuse(address);
  }

  #refuse(address: string | undefined): ShoalError {
    if (address !== undefined) this.#refusals.take(networkOf(address));
    return new ShoalError('REFUSED', 'refused');
  }
}
