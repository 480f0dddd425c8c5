import type { ObjectId } from '../core/ids.ts';
import type { DeltaOffer } from '../trust/types.ts';
import type { LocalBase } from './local-chunks.ts';
import type { SourceKind } from './source.ts';

export type { DeltaOffer } from '../trust/types.ts';

/** Where deltas come from, as far as trust goes, and what this device knows of them. */
export interface DeltaSupply {
  /** What is listed for the artifact `target`. */
  offers(target: ObjectId): Promise<readonly DeltaOffer[]>;
  /** The signed bytes of a manifest, and what kind of host sent them. Throws when no host has them. */
  manifest(target: ObjectId, base: ObjectId): Promise<{ readonly bytes: Uint8Array; readonly from: SourceKind }>;
  /** What was installed at `path`, whatever has become of it since. */
  recorded(path: string): ObjectId | undefined;
  /** Whether this device gave it up once. */
  dropped(target: ObjectId, base: ObjectId): boolean;
  /** Remembers that this device gave it up, and why. */
  drop(target: ObjectId, base: ObjectId, reason: string): Promise<void>;
}

/** A delta and the file on this device that it starts from. */
export interface DeltaChoice {
  readonly offer: DeltaOffer;
  readonly base: LocalBase;
  /** The file is what the delta was made from, byte for byte; otherwise it has drifted, or is something else. */
  readonly exact: boolean;
}

/**
 * The smallest delta for which this device has the base. A file whose root is known for sure comes first; then one that was
 * installed as the base and has changed since; then one that has at least its size.
 */
export function chooseDelta(offers: readonly DeltaOffer[], bases: readonly LocalBase[], recorded: (path: string) => ObjectId | undefined): DeltaChoice | undefined {
  const smallestFirst = offers.toSorted((a, b) => a.bytes - b.bytes);
  const ways: readonly ((base: LocalBase, offer: DeltaOffer) => boolean)[] = [
    ({ root }, offer) => root === offer.base,
    ({ path }, offer) => recorded(path) === offer.base,
    ({ size }, offer) => size === offer.baseSize && size > 0,
  ];
  for (const [way, fits] of ways.entries()) {
    for (const offer of smallestFirst) {
      const base = bases.find((each) => fits(each, offer));
      if (base !== undefined) return { offer, base, exact: way === 0 };
    }
  }
  return undefined;
}
