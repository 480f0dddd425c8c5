import type { DeltaChoice, DeltaOffer } from './delta-choice.ts';
import type { PeerHolding, Source } from './source.ts';

/** Who of a site asks the origin for what. The gateway asks once whoever asks it: there only who has the best base counts. */
export interface BackhaulTurns {
  /** Told what a neighbour says that it has, and after how many milliseconds it answered. */
  saw(source: Source, holding: PeerHolding, took: number): void;
  /** Told that a neighbour has answered what it holds, or cannot be reached. */
  asked(source: Source): void;
  /** Told of one that can be reached, and did not answer in time. */
  late(source: Source): void;
  /** Told of a neighbour that sent wrong bytes, or boasts of what it has not: it is passed over from now on. */
  caught(source: Source): void;
  /** Told that this device begins to bring `span` over the backhaul. */
  brings(span: number): void;
  /** Told that it ceases to. */
  ceases(span: number): void;
  /** Told that this device has `span`, and how many milliseconds it took to bring it over the backhaul, if it did. */
  has(span: number, took?: number): void;
  /** Told how many spans the artifact has. */
  spans(count: number): void;
  /** Told what this device rebuilds from, if anything, and which deltas there are: who needs the fewest bytes brings things. */
  decided(choice: DeltaChoice | undefined, offers: readonly DeltaOffer[]): void;
  /** Resolves when it is known, as well as it will be, who else is at work. */
  settled(): Promise<void>;
  /** Whether that is so. */
  readonly isSettled: boolean;
  mine(span: number): boolean;
  /** Whether `span`, which this device is bringing, is better left to a neighbour that is bringing it as well. */
  yields(span: number): boolean;
  /** Above 0, and below 1, when others come before it, those with a lower number first: another one may be bringing it where nobody here sees it, or would if this one were slow. */
  comesAfter(span: number): number;
  /** Whether index pages may be asked for over the backhaul yet: one after another begins, and most find them at a neighbour. */
  readonly mayAskForPages: boolean;
  /** The same where of all neighbours only the sources called so want them: the others have no turn. */
  mayAskForPagesBeside(names: readonly string[]): boolean;
  /** It waits for what others will say, and is at work as far as they are concerned. */
  readonly waits: boolean;
  /** How many spans this device should bring over the backhaul at a time, as content: few where others do so as well. */
  readonly width: number;
  /** Nobody who is at work needs fewer bytes than this device. */
  readonly leads: boolean;
  /** How many others are at the site. */
  readonly members: number;
  /** Spans that this device is about to bring: others are told of them as of those that it is bringing. */
  readonly claimed: readonly number[];
  /** From 1: so many times as long as usual is waited for neighbours, for that is how slow they answer. */
  readonly slowness: number;
  /** Others bring what is not this device's turn. */
  readonly othersAtWork: boolean;
}
