import type { Source, SourceKind } from './source.ts';

/** Where the bytes of one artifact came from. Each received byte is counted once. */
export interface Ledger {
  /** Raw bytes that were there already: left by an earlier run, or found in a base. What a delta rebuilt is not among them. */
  readonly local: number;
  /** Bytes received for deltas (manifests, map pages, payloads), whoever sent them. */
  readonly delta: number;
  /** The same by kind of source; they add up to `delta`. */
  readonly deltaFrom: Readonly<Record<Exclude<SourceKind, 'torrent'>, number>>;
  /** Bytes received for content, bodies and heads, by kind of source; index pages are content. */
  readonly peer: number;
  readonly gateway: number;
  readonly origin: number;
  /** From stock BitTorrent clients, near or far. */
  readonly torrent: number;
  /** Bytes received for anything else. */
  readonly control: number;
  /** Bytes written to the medium for the artifacts. */
  readonly written: number;
  readonly seconds: number;
  /** What the above is measured against. */
  readonly bound: {
    /** Raw bytes that nothing on the device had: they had to come over some link, compressed or not, or out of a delta. */
    readonly lacking: number;
    /**
     * The least that was known to do: raw bytes of what was lacking, or the delta from this device's best base where one was
     * listed and is smaller. The B_min of a site is the least of its devices; compression may go below the raw bytes.
     */
    readonly least: number;
    /** Bytes of the artifacts: `written` should not exceed them, nor what was there already be written again. */
    readonly size: number;
  };
}

/** The sum of several artifacts, or several updates. */
export function sumOfLedgers(ledgers: readonly Ledger[]): Ledger {
  const sum = (pick: (ledger: Ledger) => number): number => ledgers.reduce((total, ledger) => total + pick(ledger), 0);
  return {
    local: sum((each) => each.local),
    delta: sum((each) => each.delta),
    deltaFrom: { peer: sum((each) => each.deltaFrom.peer), gateway: sum((each) => each.deltaFrom.gateway), origin: sum((each) => each.deltaFrom.origin) },
    peer: sum((each) => each.peer),
    gateway: sum((each) => each.gateway),
    origin: sum((each) => each.origin),
    torrent: sum((each) => each.torrent),
    control: sum((each) => each.control),
    written: sum((each) => each.written),
    seconds: sum((each) => each.seconds),
    bound: { lacking: sum((each) => each.bound.lacking), least: sum((each) => each.bound.least), size: sum((each) => each.bound.size) },
  };
}

/** What each source has brought since it was first seen. Sources come and go; what they brought stays counted. */
export class Receipts {
  readonly #before = new Map<Source, ReturnType<Source['totals']>>();

  /** Notes those that were not seen before; returns them all. */
  noting(sources: readonly Source[]): readonly Source[] {
    for (const source of sources) if (!this.#before.has(source)) this.#before.set(source, source.totals());
    return sources;
  }

  content(kind: SourceKind): number {
    let sum = 0;
    for (const [source, { content }] of this.#before) if (source.kind === kind) sum += source.totals().content - content;
    return sum;
  }

  delta(kind: SourceKind): number {
    let sum = 0;
    for (const [source, { delta = 0 }] of this.#before) if (source.kind === kind) sum += (source.totals().delta ?? 0) - delta;
    return sum;
  }

  get control(): number {
    let sum = 0;
    for (const [source, { control }] of this.#before) sum += source.totals().control - control;
    return sum;
  }
}
