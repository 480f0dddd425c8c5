import type { Clock } from '../../core/clock.ts';
import { ShoalError } from '../../core/errors.ts';
import { RUNS_MAX_AT_GATEWAY, RUNS_MAX_DEVICES, RUNS_PASS_MS, RUNS_REPEAT_MS } from '../../core/limits.ts';
import type { Run } from '../../core/runs.ts';
import { wire } from '../../core/wire.ts';
import type { Upstream } from '../../exchange/upstream.ts';
import type { RunsDesk } from '../../serve/runs.ts';
import { Periodic } from '../periodic.ts';

interface Noted {
  readonly runs: ReadonlyMap<string, number>;
  /** When the upstream was last told of it; -Infinity when what it knows is not this. */
  readonly told: number;
}

/** What devices said to a gateway that they run, passed on in few messages: what is new, and the rest twice a day. */
export class GatewayRuns implements RunsDesk {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #noted = new Map<string, Noted>();
  readonly #turns: Periodic;

  constructor(upstream: Upstream, clock: Clock, passMs = RUNS_PASS_MS) {
    this.#upstream = upstream;
    this.#clock = clock;
    // An upstream that is away, or takes no such messages, is told the next time.
    this.#turns = new Periodic(clock, passMs, () => this.pass(), () => undefined);
  }

  note(device: string, runs: readonly Run[]): void {
    const before = this.#noted.get(device);
    const now = new Map([...(before?.runs ?? []), ...runs.map(({ product, sequence }) => [product, sequence] as const)]);
    const same = before !== undefined && now.size === before.runs.size && runs.every(({ product, sequence }) => before.runs.get(product) === sequence);
    this.#noted.delete(device);
    this.#noted.set(device, { runs: now, told: same ? before.told : -Infinity });
    for (const oldest of this.#noted.keys()) {
      if (this.#noted.size <= RUNS_MAX_AT_GATEWAY) break;
      this.#noted.delete(oldest);
    }
  }

  /** Passes on what is due, in as many messages as it takes. Throws what the upstream fails with. */
  async pass(): Promise<void> {
    for (;;) {
      const now = this.#clock.now();
      const due = [...this.#noted].filter(([, { told }]) => now - told >= RUNS_REPEAT_MS).slice(0, RUNS_MAX_DEVICES / 4);
      if (due.length === 0) return;
      const { status } = await this.#upstream.put(wire.runs, Buffer.from(JSON.stringify({ devices: due.map(([device, { runs }]) => [device, [...runs]]) })));
      if (status !== 204) throw new ShoalError('HTTP_STATUS', `${this.#upstream.url} answered ${String(status)} for what devices run`, { ids: { upstream: this.#upstream.url, status }, retry: 'again' });
      for (const [device, noted] of due) if (this.#noted.get(device) === noted) this.#noted.set(device, { ...noted, told: now });
    }
  }

  async close(): Promise<void> {
    await this.#turns.stop();
    await this.pass().catch(() => undefined);
  }
}
