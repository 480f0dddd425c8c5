import type { Bitmap } from '../core/bitmap.ts';
import type { Clock } from '../core/clock.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { PeerHolding, Source, SpanPlaces } from './source.ts';

/**
 * Who said so often that it has what it turned out not to have, and says so still, boasts: it is believed about nothing any more.
 * More than what can be asked of a device at a time that has just started again, and has not looked yet what it has.
 */
const BOASTS_MOST = 8;
/** How often what peers hold is asked again while something is missing, milliseconds. */
const HOLDING_MS = 1_000;
/**
 * Questions are so much further apart for each that there is, milliseconds: all of a site ask those that bring something, and
 * answering is work for each of these.
 */
const HOLDING_EACH_MS = 100;
/** The same for what those that bring something hold: it is news to everybody. */
const BRINGER_EACH_MS = 40;
/** When no more than so many spans are missing, those that bring them are asked soon, and when one of them has more, all are: whoever has it now can give it. */
const LAST_SPANS = 4;
/** However many there are: a member that shows no sign of life for three times as long loses its turn. */
const HOLDING_MOST_MS = 4_000;
/** The same while who has the best base is still being found out, and while small payloads go round. */
const HOLDING_SOON_MS = 250;
/** The first answers are not waited for any longer before the sources that have answered are used, milliseconds. */
const WAIT_MS = 250;
/** The same for what they have of a delta: it takes two questions, and saves bytes. */
const WAIT_DELTA_MS = 1_000;

export interface HoldingsParts {
  readonly key: ContentKey;
  readonly spans: number;
  readonly places: SpanPlaces;
  readonly clock: Clock;
  /** How many are at the site. */
  readonly members: () => number;
  readonly signal: AbortSignal;
  /** `took`: milliseconds that it was waited for. */
  readonly onHolding: (source: Source, holding: PeerHolding, took: number) => void;
  /** It was reached, and takes long to answer. */
  readonly onLate: (source: Source) => void;
  /** It says that it has what it has not, again and again. */
  readonly onBoast: (source: Source) => void;
  /** It did not answer, or not properly; what it said before is forgotten. */
  readonly onFailure: (source: Source, error: unknown) => void;
  /** Called after every answer. */
  readonly onAnswer: () => void;
}

/** What the sources hold, as they said when they were asked last. */
export class Holdings {
  readonly #parts: HoldingsParts;
  readonly #spans = new Map<string, Bitmap | 'all'>();
  readonly #segments = new Map<string, Bitmap>();
  readonly #arriving = new Map<string, ReadonlySet<number>>();
  /** What a source passed on while it came, and did not come to the end of. */
  readonly #ceased = new Map<string, Set<number>>();
  /** Those that have not answered yet. */
  readonly #asking = new Map<Source, Promise<void>>();
  /** What a source did not have although it said so: it is not believed about that again. */
  readonly #denied = { spans: new Map<string, Set<number>>(), segments: new Map<string, Set<number>>() };
  readonly #boasters = new Set<string>();
  readonly #met = new Set<string>();
  /** Those that said they are bringing something. */
  readonly #bringers = new Set<string>();
  #last = false;
  #askedBringers = -Infinity;
  #asked = -Infinity;
  #askedOfDelta = false;

  constructor(parts: HoldingsParts) {
    this.#parts = parts;
  }

  /** The spans that a source says it has; `all` when it can get whatever it has not. */
  spans(source: Source): Bitmap | 'all' | undefined {
    return this.#spans.get(source.name);
  }

  /** The segments that a source says it has, with their map pages. */
  segments(source: Source): Bitmap | undefined {
    return this.#segments.get(source.name);
  }

  /** Whether a source says that it has a part of `span`, and passes on the rest as it comes. */
  passes(source: Source, span: number): boolean {
    return this.#arriving.get(source.name)?.has(span) === true && this.#ceased.get(source.name)?.has(span) !== true;
  }

  /** It did not come to the end of that: it is waited for until it has all of it. */
  ceased(source: Source, span: number): void {
    this.#ceased.set(source.name, (this.#ceased.get(source.name) ?? new Set<number>()).add(span));
  }

  /** A source turned out not to have what it says. Says whether it had said so. */
  deny(of: 'spans' | 'segments', source: Source, index: number): boolean {
    const held = of === 'spans' ? this.#spans.get(source.name) : this.#segments.get(source.name);
    if (held === undefined || held === 'all') return false;
    this.#denied[of].set(source.name, (this.#denied[of].get(source.name) ?? new Set<number>()).add(index));
    held.delete(index);
    return true;
  }

  /**
   * Asks `sources`, unless that was done just now. The first time, and the first time for a delta, it waits for answers, but
   * not for all of them: nothing is to be fetched from afar that is near. `missing`: how many spans are, where all are known.
   */
  async refresh(sources: readonly Source[], soon: boolean, delta: { readonly base: ObjectId; readonly segments: number } | undefined, missing = Infinity): Promise<void> {
    const { clock } = this.#parts;
    this.#last = missing <= LAST_SPANS;
    const first = this.#asked === -Infinity || (delta !== undefined && !this.#askedOfDelta);
    const members = this.#parts.members();
    const apart = Math.min(HOLDING_MOST_MS, Math.max(this.#last ? 0 : BRINGER_EACH_MS * members, HOLDING_SOON_MS));
    if (!first && clock.now() - this.#asked < (soon ? apart : Math.min(HOLDING_MOST_MS, Math.max(HOLDING_EACH_MS * members, HOLDING_MS)))) {
      // Who came just now is asked at once.
      for (const source of sources) if (!this.#met.has(source.name) && !this.#asking.has(source)) void this.#ask(source, delta);
      // Of those that are bringing something there will soon be news.
      if (clock.now() - this.#askedBringers < apart) return;
      this.#askedBringers = clock.now();
      for (const source of sources) if (this.#bringers.has(source.name) && !this.#asking.has(source)) void this.#ask(source, delta);
      return;
    }
    this.#asked = clock.now();
    this.#askedBringers = this.#asked;
    this.#askedOfDelta ||= delta !== undefined;
    const asking = Promise.all(sources.map((source) => {
      const running = this.#asking.get(source);
      // It was not asked for the delta yet.
      return running === undefined ? this.#ask(source, delta) : first ? running.then(() => this.#ask(source, delta)) : running;
    }));
    if (!first) return;
    let cancel: () => void = () => undefined;
    await Promise.race([asking, new Promise<void>((resolve) => (cancel = clock.after(delta === undefined ? WAIT_MS : WAIT_DELTA_MS, resolve)))]);
    cancel();
  }

  #ask(source: Source, delta: { readonly base: ObjectId; readonly segments: number } | undefined): Promise<void> {
    this.#met.add(source.name);
    const asking = this.#askNow(source, delta).finally(() => this.#asking.delete(source));
    this.#asking.set(source, asking);
    return asking;
  }

  async #askNow(source: Source, delta: { readonly base: ObjectId; readonly segments: number } | undefined): Promise<void> {
    const { clock, key, onAnswer, onFailure, onHolding, onLate, places, signal, spans } = this.#parts;
    const late = (): void => {
      onLate(source);
    };
    const began = clock.now();
    try {
      const holding = await source.holding(key, spans, signal, places, late);
      const took = clock.now() - began;
      let boasts = 0;
      for (const span of this.#denied.spans.get(source.name) ?? []) {
        if (holding?.spans.has(span) !== true) continue;
        boasts++;
        holding.spans.delete(span);
      }
      if (boasts >= BOASTS_MOST) {
        this.#boasters.add(source.name);
        this.#spans.delete(source.name);
        this.#arriving.delete(source.name);
        this.#segments.delete(source.name);
        this.#parts.onBoast(source);
      }
      if (this.#boasters.has(source.name)) return;
      const before = this.#spans.get(source.name);
      this.#spans.set(source.name, holding?.spans ?? 'all');
      this.#arriving.set(source.name, new Set(holding?.arriving));
      if (holding !== undefined) onHolding(source, holding, took);
      if (this.#last && this.#bringers.has(source.name) && before !== 'all' && (holding?.spans.size ?? 0) > (before?.size ?? 0)) this.#asked = clock.now() - HOLDING_MOST_MS;
      if ((holding?.bringing?.length ?? 0) > 0) this.#bringers.add(source.name);
      else this.#bringers.delete(source.name);
      const segments = delta === undefined || holding?.base !== delta.base ? undefined : await source.deltaHolding?.(key, delta.base, delta.segments, signal, late);
      for (const segment of this.#denied.segments.get(source.name) ?? []) segments?.delete(segment);
      if (segments !== undefined) this.#segments.set(source.name, segments);
    } catch (error) {
      this.#spans.delete(source.name);
      this.#arriving.delete(source.name);
      this.#segments.delete(source.name);
      onFailure(source, error);
    }
    onAnswer();
  }
}
