import type { Clock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import { ENROL_REFUSED_MAX, ENROL_REFUSED_MS, GRANT_MAX_BYTES, RENEWALS_PASSED_ON } from '../../core/limits.ts';
import { wire } from '../../core/wire.ts';
import type { HttpUpstream } from '../../exchange/upstream.ts';
import { Allowance, networkOf } from '../../identity/allowance.ts';
import type { RenewRequest } from '../../identity/messages.ts';
import { Gate } from '../../serve/gate.ts';

/**
 * Renewals of devices that cannot reach the origin. What they ask is signed and what they get is of use to them alone, so a
 * gateway only passes it on. The origin takes its word for that, so it is here that strangers are kept from guessing.
 */
export class GatewayRenewals {
  readonly #upstream: HttpUpstream;
  readonly #refusals: Allowance;
  readonly #gate = new Gate(RENEWALS_PASSED_ON, RENEWALS_PASSED_ON / 2);

  constructor(upstream: HttpUpstream, clock: Clock) {
    this.#upstream = upstream;
    this.#refusals = new Allowance(ENROL_REFUSED_MAX, (ENROL_REFUSED_MAX * 1000) / ENROL_REFUSED_MS, () => clock.now());
  }

  /** Returns the origin's answer, JSON. Throws `REFUSED`, `BUSY`, `HTTP_…`. */
  async renew({ identity, key, proof }: RenewRequest, address: string): Promise<unknown> {
    const network = networkOf(address);
    if (!this.#refusals.left(network)) throw new ShoalError('BUSY', 'too many requests', { retry: 'again' });
    const leave = this.#gate.enter(network);
    try {
      const { status, body } = await this.#upstream.post(wire.renew, Buffer.from(JSON.stringify({ identity, key, proof })), GRANT_MAX_BYTES);
      if (status === 200) return JSON.parse(Buffer.from(body).toString('utf8'));
      if (status === 503) throw new ShoalError('BUSY', 'the origin takes no more requests now', { retry: 'again' });
      this.#refusals.take(network);
      throw new ShoalError('REFUSED', 'refused');
    } finally {
      leave();
    }
  }
}
