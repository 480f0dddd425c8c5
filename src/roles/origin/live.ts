import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { ReleaseManifest } from '../../core/manifest.ts';
import { liveReleases } from '../../publish/upkeep.ts';
import type { TrustHome } from '../../trust/repository/home.ts';

/** Manifests are read again when the repository has changed, and no oftener than this. */
const LEAST_MS = 1_000;

/** The releases that a home lists now, and what `derive` makes of them, worked out again only when they change. */
export class LiveReleases<T> {
  readonly #home: TrustHome;
  readonly #clock: Clock;
  readonly #derive: (releases: readonly ReleaseManifest[]) => T;
  #derived: T;
  #stamp: number | undefined;
  #looked = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(home: TrustHome, clock: Clock, derive: (releases: readonly ReleaseManifest[]) => T) {
    this.#home = home;
    this.#clock = clock;
    this.#derive = derive;
    this.#derived = derive([]);
  }

  /** Throws what reading the home throws. */
  async now(): Promise<T> {
    if (this.#clock.now() - this.#looked >= LEAST_MS) await (this.#reading ??= this.#look().finally(() => (this.#reading = undefined)));
    return this.#derived;
  }

  async #look(): Promise<void> {
    // The timestamp is written last of all whenever anything is published.
    const stamp = (await this.#home.files.stat(join(this.#home.paths.metadata, 'timestamp.json')))?.modified;
    if (stamp !== this.#stamp) {
      this.#derived = this.#derive(await liveReleases(this.#home));
      this.#stamp = stamp;
    }
    this.#looked = this.#clock.now();
  }
}
