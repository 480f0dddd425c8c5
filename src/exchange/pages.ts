import type { Clock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { PageSource } from '../merkle/reader.ts';
import { verifyPage } from '../merkle/verify.ts';
import type { Source } from './source.ts';
import { PATIENCE_MS } from './standing.ts';
import type { Standing } from './standing.ts';

/** How long to wait when every source rests, milliseconds. */
const PAUSE_MS = 250;

/**
 * Index pages from whoever has them: nearest source first, the next one when a source fails, a liar never again. What
 * comes out has the hash it was asked for by.
 */
export class FailoverPages implements PageSource {
  readonly #key: ContentKey;
  readonly #sources: readonly Source[];
  readonly #standing: Standing;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;

  /** `sources` in the order in which they are to be asked. */
  constructor(key: ContentKey, sources: readonly Source[], standing: Standing, clock: Clock, signal?: AbortSignal) {
    this.#key = key;
    this.#sources = sources;
    this.#standing = standing;
    this.#clock = clock;
    this.#signal = signal;
  }

  async page(id: ObjectId): Promise<Uint8Array> {
    const giveUp = this.#clock.now() + PATIENCE_MS;
    for (;;) {
      let absent = 0;
      for (const source of this.#sources) {
        if (!this.#standing.mayAsk(source)) continue;
        this.#signal?.throwIfAborted();
        try {
          const { encoded } = verifyPage(id, await source.page(this.#key, id, this.#signal));
          this.#standing.succeeded(source);
          return encoded;
        } catch (error) {
          this.#signal?.throwIfAborted();
          if (isShoalError(error, 'NOT_HELD')) absent++;
          else this.#standing.failed(source, error);
        }
      }
      const usable = this.#sources.filter((source) => !this.#standing.banned(source)).length;
      if (absent === usable || this.#clock.now() >= giveUp) throw this.#standing.nobody(`index page ${id.slice(0, 12)}…`, this.#sources);
      await new Promise<void>((resolve) => void this.#clock.after(PAUSE_MS, resolve));
    }
  }
}
