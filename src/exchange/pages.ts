import type { Clock } from '../core/clock.ts';
import { isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { PageSource } from '../merkle/reader.ts';
import { verifyPage } from '../merkle/verify.ts';
import type { VerifiedPage } from '../merkle/verify.ts';
import { OVERDUE_MS } from './in-flight.ts';
import type { Source } from './source.ts';
import { PATIENCE_MS } from './standing.ts';
import type { Standing } from './standing.ts';

/** How long to wait when every source rests, milliseconds. */
const PAUSE_MS = 250;
/**
 * A page is late when it takes this long: the next source is asked for it as well. A page is 36 KiB at most. A gateway that is
 * slow is so for a whole site, which would cross the backhaul all at once: it gets as long as for a span. Milliseconds.
 */
const LATE_MS = 2_000;
/** Neighbours asked for a page at a time: those that set out together ask each other first, and none of them has it. */
const PEERS_AT_ONCE = 4;
/** How long a source that was late comes after the others, doubling each time; a gateway at once for the longest. Milliseconds. */
const LAST_FIRST_MS = 2_000;
const LAST_MOST_MS = 60_000;

/** Where pages are kept so that they are asked for once. */
export interface PageShelf {
  get(id: ObjectId): Promise<VerifiedPage | undefined>;
  put(page: VerifiedPage): Promise<void>;
}

interface Asked {
  readonly page: VerifiedPage | undefined;
  /** How many have it not, and which of them will have it soon. */
  readonly absent: number;
  readonly coming: readonly string[];
}

/**
 * Index pages from whoever has them: nearest source first, the next one when a source fails or keeps us waiting, a liar
 * never again. What comes out has the hash it was asked for by.
 */
export class FailoverPages implements PageSource {
  readonly #key: ContentKey;
  readonly #sources: () => readonly Source[];
  readonly #standing: Standing;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #shelf: PageShelf | undefined;
  readonly #mayCross: () => boolean;
  readonly #mayCrossBeside: (coming: readonly string[]) => boolean;
  /** Sources that were late, and until when they come last for it. Being late with pages says nothing about spans. */
  readonly #late = new Map<string, { readonly ms: number; readonly until: number }>();

  /** `sources` in the order in which they are to be asked; asked for anew at every page. `mayCross`: whether an origin may be asked yet; `mayCrossBeside`: the same when all neighbours have answered that they have it not, and only those named that they are about to. */
  constructor(key: ContentKey, sources: () => readonly Source[], standing: Standing, clock: Clock, signal?: AbortSignal, shelf?: PageShelf, mayCross: () => boolean = () => true, mayCrossBeside: (coming: readonly string[]) => boolean = () => false) {
    this.#key = key;
    this.#sources = sources;
    this.#standing = standing;
    this.#clock = clock;
    this.#signal = signal;
    this.#shelf = shelf;
    this.#mayCross = mayCross;
    this.#mayCrossBeside = mayCrossBeside;
  }

  async page(id: ObjectId): Promise<VerifiedPage> {
    const kept = await this.#shelf?.get(id);
    if (kept !== undefined) return kept;
    const page = await this.#fetch(id);
    await this.#shelf?.put(page);
    return page;
  }

  /** The same, asking `source` first: who gives the span has its page. Throws what a neighbour throws: it has not what it says. */
  async pageFrom(source: Source, id: ObjectId): Promise<VerifiedPage> {
    const kept = await this.#shelf?.get(id);
    if (kept !== undefined) return kept;
    let page: VerifiedPage;
    try {
      page = await this.#fetchFrom(source, id, this.#signal);
    } catch (error) {
      this.#signal?.throwIfAborted();
      if (source.kind === 'peer') throw error;
      if (!isShoalError(error, 'NOT_HELD')) this.#standing.failed(source, error);
      return this.page(id);
    }
    await this.#shelf?.put(page);
    return page;
  }

  async #fetch(id: ObjectId): Promise<VerifiedPage> {
    const giveUp = this.#clock.now() + PATIENCE_MS;
    for (;;) {
      const sources = this.#sources();
      const near = this.#inOrder(sources, this.#mayCross());
      const asked = await this.#ask(id, near);
      if (asked.page !== undefined) return asked.page;
      // Who is among the first of a site to want it need not wait for those that do not.
      const turn = asked.absent === near.length && this.#mayCrossBeside(asked.coming);
      const far = turn ? await this.#ask(id, this.#inOrder(sources, true).filter((source) => !near.includes(source))) : undefined;
      if (far?.page !== undefined) return far.page;
      const absent = asked.absent + (far?.absent ?? 0);
      this.#signal?.throwIfAborted();
      const usable = sources.filter((source) => !this.#standing.banned(source)).length;
      if (absent === usable || this.#clock.now() >= giveUp) throw this.#standing.nobody(`index page ${id.slice(0, 12)}…`, sources);
      await new Promise<void>((resolve) => void this.#clock.after(PAUSE_MS, resolve));
    }
  }

  /** Who may be asked: those that were late lately come last. */
  #inOrder(sources: readonly Source[], crosses: boolean): readonly Source[] {
    const last = ({ name }: Source): number => Number((this.#late.get(name)?.until ?? 0) > this.#clock.now());
    return sources.filter((source) => (crosses || source.kind !== 'origin') && this.#standing.mayAsk(source)).toSorted((a, b) => last(a) - last(b));
  }

  /**
   * Asks one after another, of neighbours some at once, without waiting for one that is late; nobody farther away while a neighbour
   * may still answer. The first good answer ends the other requests.
   */
  #ask(id: ObjectId, sources: readonly Source[]): Promise<Asked> {
    return new Promise((resolve) => {
      const stop = new AbortController();
      const signal = this.#signal === undefined ? stop.signal : AbortSignal.any([this.#signal, stop.signal]);
      const coming: string[] = [];
      let [running, asked, absent, ended] = [0, 0, 0, false];
      /** Of those that are not late yet: what ends the watch for it. */
      const watched = new Map<Source, () => void>();
      const unwatch = (source: Source): void => {
        watched.get(source)?.();
        watched.delete(source);
      };
      const end = (page: VerifiedPage | undefined): void => {
        ended = true;
        // Whoever is late is left: that costs a connection. Others answer in a moment, and what they send is nothing.
        if (running > watched.size) stop.abort();
        for (const source of [...watched.keys()]) unwatch(source);
        resolve({ page, absent, coming });
      };
      const next = (): void => {
        if (ended) return;
        const source = signal.aborted ? undefined : sources[asked];
        if (source === undefined) {
          if (running === 0) end(undefined);
          return;
        }
        if (watched.size > 0 && [source, ...watched.keys()].some(({ kind }) => kind !== 'peer')) return;
        asked++;
        running++;
        watched.set(source, this.#clock.after(source.kind === 'gateway' ? OVERDUE_MS : LATE_MS, () => {
          unwatch(source);
          this.#wasLate(source);
          next();
        }));
        const settle = (): void => {
          running--;
          unwatch(source);
        };
        this.#fetchFrom(source, id, signal).then((page) => {
          settle();
          end(page);
        }, (error: unknown) => {
          settle();
          if (stop.signal.aborted) return;
          if (isShoalError(error, 'NOT_HELD')) {
            absent++;
            if (error.ids.working !== undefined) coming.push(source.name);
          } else if (!signal.aborted) this.#standing.failed(source, error);
          next();
        });
      };
      for (let at = 0; at < PEERS_AT_ONCE; at++) next();
    });
  }

  async #fetchFrom(source: Source, id: ObjectId, signal: AbortSignal | undefined): Promise<VerifiedPage> {
    const page = verifyPage(id, await source.page(this.#key, id, signal));
    this.#standing.succeeded(source);
    this.#late.delete(source.name);
    return page;
  }

  #wasLate({ name, kind }: Source): void {
    const ms = kind === 'gateway' ? LAST_MOST_MS : Math.min((this.#late.get(name)?.ms ?? LAST_FIRST_MS / 2) * 2, LAST_MOST_MS);
    this.#late.set(name, { ms, until: this.#clock.now() + ms });
  }
}
