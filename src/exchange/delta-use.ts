import { isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { IndexReader } from '../merkle/reader.ts';
import { DeltaCache } from './delta-cache.ts';
import { chooseDelta } from './delta-choice.ts';
import type { DeltaChoice, DeltaOffer, DeltaSupply } from './delta-choice.ts';
import { DeltaRoad } from './delta-road.ts';
import type { LocalBase } from './local-chunks.ts';
import type { SourceKind } from './source.ts';

/** A manifest is not worth its bytes unless this many times as many are missing. */
const WORTH = 8;

export interface DeltaUseParts {
  readonly key: ContentKey;
  readonly index: IndexReader;
  /** Undefined: no deltas are used. */
  readonly supply: DeltaSupply | undefined;
  readonly cache: DeltaCache | undefined;
  /** Told what this device rebuilds from, as soon as it is known and whenever that changes. */
  readonly onChoice: (choice: DeltaChoice | undefined, offers: readonly DeltaOffer[]) => void;
  /** Something has changed that the planner should know of. */
  readonly onChange: () => void;
}

/** Which delta a download uses, from the choice to the end: it costs nothing before it is this device's to bring it. */
export class DeltaUse {
  readonly #parts: DeltaUseParts;
  #offers: readonly DeltaOffer[] = [];
  #choice: DeltaChoice | undefined;
  #decided = false;
  #opening: Promise<void> | undefined;
  #road: DeltaRoad | undefined;
  #received: { readonly bytes: number; readonly from: SourceKind } | undefined;
  #least = Infinity;

  constructor(parts: DeltaUseParts) {
    this.#parts = parts;
  }

  /** Looks which of the listed deltas starts from one of `bases`. Never fails: without a delta there is content. */
  async choose(bases: readonly LocalBase[]): Promise<void> {
    const { key, index, supply } = this.#parts;
    if (supply !== undefined) {
      try {
        this.#offers = await supply.offers(key.root);
        const fair = this.#offers.filter(({ base, bytes }) => bytes < index.bytes && !supply.dropped(key.root, base));
        this.#choice = chooseDelta(fair, bases, (path) => supply.recorded(path));
      } catch {
        // Deltas save bytes; whatever is wrong with them must not keep an update from going on.
      }
    }
    this.#least = this.#choice?.offer.bytes ?? Infinity;
    this.#decided = true;
    this.#parts.onChoice(this.#choice, this.#offers);
  }

  get decided(): boolean {
    return this.#decided;
  }

  /** The delta, once its manifest is here and as long as it is of use. */
  get road(): DeltaRoad | undefined {
    return this.#road?.dropped === undefined ? this.#road : undefined;
  }

  /** Bytes of the delta that was chosen first; `Infinity` without one. */
  get least(): number {
    return this.#least;
  }

  /** The manifest, if it was fetched. */
  get received(): { readonly bytes: number; readonly from: SourceKind } | undefined {
    return this.#received;
  }

  /** Whether a span may come out of a delta, so that nothing about its chunks need be fetched yet. */
  hopes(span: number): boolean {
    return this.#choice !== undefined && (this.#road?.makes(span) ?? true);
  }

  /** Whether the delta is worth its manifest for `missing` raw bytes, and about to be used. */
  coming(missing: number): boolean {
    return this.#choice !== undefined && this.#road === undefined && missing > WORTH * this.#choice.offer.manifestLength;
  }

  /** Fetches the manifest, unless that is under way. */
  open(): void {
    this.#opening ??= this.#open().finally(() => {
      this.#parts.onChange();
    });
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#opening;
  }

  async #open(): Promise<void> {
    const { cache = new DeltaCache(), index, key, supply } = this.#parts;
    const choice = this.#choice;
    if (supply === undefined || choice === undefined) return;
    const { base } = choice.offer;
    try {
      const { bytes, from } = await supply.manifest(key.root, base);
      this.#received = { bytes: bytes.byteLength, from };
      this.#road = await DeltaRoad.open(bytes, index, key, choice, cache, (reason) => {
        this.#giveUp(base, reason);
      });
    } catch (error) {
      // That nobody sends it now says nothing about the delta.
      this.#giveUp(base, isShoalError(error) && ['BAD_DELTA', 'TRUNCATED', 'TRAILING_BYTES'].includes(error.code) ? error.code : undefined);
    }
  }

  #giveUp(base: ObjectId, reason: string | undefined): void {
    const { key, onChange, onChoice, supply } = this.#parts;
    this.#choice = undefined;
    // Not remembered: it is found out once more.
    if (reason !== undefined) void supply?.drop(key.root, base, reason).catch(() => undefined);
    onChoice(undefined, this.#offers);
    onChange();
  }
}
