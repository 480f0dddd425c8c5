import type { Clock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { PageSource } from '../merkle/reader.ts';
import { verifyPage } from '../merkle/verify.ts';
import type { VerifiedPage } from '../merkle/verify.ts';
import type { Source } from './source.ts';
import { PATIENCE_MS } from './standing.ts';
import type { Standing } from './standing.ts';

/** How long to wait when every source rests, milliseconds. */
const PAUSE_MS = 250;

/** Where pages are kept so that they are asked for once. What it returns is hashed again. */
export interface PageShelf {
  get(id: ObjectId): Promise<Uint8Array | undefined>;
  put(page: VerifiedPage): Promise<void>;
}

/**
 * Index pages from whoever has them: nearest source first, the next one when a source fails, a liar never again. What
 * comes out has the hash it was asked for by.
 */
export class FailoverPages implements PageSource {
  readonly #key: ContentKey;
  readonly #sources: () => readonly Source[];
  readonly #standing: Standing;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #shelf: PageShelf | undefined;

  /** `sources` in the order in which they are to be asked; asked for anew at every page. */
  constructor(key: ContentKey, sources: () => readonly Source[], standing: Standing, clock: Clock, signal?: AbortSignal, shelf?: PageShelf) {
    this.#key = key;
    this.#sources = sources;
    this.#standing = standing;
    this.#clock = clock;
    this.#signal = signal;
    this.#shelf = shelf;
  }

  async page(id: ObjectId): Promise<Uint8Array> {
    const kept = await this.#shelf?.get(id);
    if (kept !== undefined) return kept;
    const page = await this.#fetch(id);
    await this.#shelf?.put(page);
    return page.encoded;
  }

  async #fetch(id: ObjectId): Promise<VerifiedPage> {
    const giveUp = this.#clock.now() + PATIENCE_MS;
    for (;;) {
      let absent = 0;
      const sources = this.#sources();
      for (const source of sources) {
        if (!this.#standing.mayAsk(source)) continue;
        this.#signal?.throwIfAborted();
        try {
          const page = verifyPage(id, await source.page(this.#key, id, this.#signal));
          this.#standing.succeeded(source);
          return page;
        } catch (error) {
          this.#signal?.throwIfAborted();
          if (isShoalError(error, 'NOT_HELD')) absent++;
          else this.#standing.failed(source, error);
        }
      }
      const usable = sources.filter((source) => !this.#standing.banned(source)).length;
      if (absent === usable || this.#clock.now() >= giveUp) throw this.#standing.nobody(`index page ${id.slice(0, 12)}…`, sources);
      await new Promise<void>((resolve) => void this.#clock.after(PAUSE_MS, resolve));
    }
  }
}
