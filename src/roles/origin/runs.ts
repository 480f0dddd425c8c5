import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Clock } from '../../core/clock.ts';
import type { Run } from '../../core/runs.ts';
import { RunningReleases } from '../../publish/running.ts';
import type { TrustHome } from '../../trust/repository/home.ts';
import type { OriginRuns } from '../origin.ts';
import { LiveReleases } from './live.ts';

/** Releases shown by version, of all products; what few devices run is summed up. */
const SHOWN_MAX = 256;

/** Notes beside a home what devices run, and shows how many run what. */
export class HomeRuns implements OriginRuns {
  readonly #running: RunningReleases;
  readonly #now: () => number;
  readonly #versions: LiveReleases<ReadonlyMap<string, string>>;
  readonly #onError: ((error: unknown, where: string) => void) | undefined;
  #failed = false;

  /** Throws `RUNS`. */
  constructor(home: TrustHome, clock: Clock, onError?: (error: unknown, where: string) => void) {
    this.#running = RunningReleases.open(home.directory);
    this.#now = () => home.now().getTime();
    this.#versions = new LiveReleases(home, clock, (releases) => new Map(releases.map(({ product, sequence, version }) => [`${product} ${String(sequence)}`, version])));
    this.#onError = onError;
  }

  note(device: string, runs: readonly Run[]): void {
    try {
      this.#running.note(device, runs, this.#now());
      this.#failed = false;
    } catch (error) {
      // A full disk: whoever asks for news gets it all the same, and the operator hears of it once.
      if (!this.#failed) this.#onError?.(error, 'runs');
      this.#failed = true;
    }
  }

  measure(registry: Registry): void {
    const [running, versions, now] = [this.#running, this.#versions, this.#now];
    new Gauge({
      name: 'shoal_devices_running',
      help: 'Devices that said in the last thirty days that they run a release, by product and version ("sequence N" for one that is released no longer, "other" for the rest).',
      labelNames: ['product', 'version'] as const,
      registers: [registry],
      async collect() {
        const names = await versions.now();
        const counts = running.counts(now()).toSorted((a, b) => b.devices - a.devices);
        this.reset();
        for (const [at, { product, sequence, devices }] of counts.entries()) {
          this.inc({ product: at < SHOWN_MAX ? product : 'other', version: at < SHOWN_MAX ? (names.get(`${product} ${String(sequence)}`) ?? `sequence ${String(sequence)}`) : 'other' }, devices);
        }
      },
    });
  }

  close(): void {
    this.#running.close();
  }
}
