import { CONNECTIONS_PER_ORIGIN } from '../core/limits.ts';
import type { Offer } from '../plan/schedule.ts';
import type { DeltaRoad } from './delta-road.ts';
import type { Holdings } from './holdings.ts';
import type { InFlight } from './in-flight.ts';
import type { MissingSpans } from './missing.ts';
import { isFar } from './source.ts';
import type { Source, SourceKind } from './source.ts';
import type { SpanFill } from './span-fill.ts';
import type { BackhaulTurns } from './turns.ts';

/** The name under which this device itself offers what it can rebuild without asking anybody. */
export const HERE = '';
/** Segments that it rebuilds at a time that way. */
const HERE_MOST = 2;
/**
 * What a byte costs over the link to a source. A byte over the backhaul costs more than any span over the LAN; on the LAN
 * fewer bytes are better.
 */
const COST: Readonly<Record<SourceKind, number>> = { peer: 1, gateway: 1, origin: 10_000_000, torrent: 1 };
/**
 * A byte from a stock client beyond the backhaul: it crosses like the origin's, which are packed where that helps. So such a
 * client is asked for what the origin cannot give at the moment.
 */
const FAR_TORRENT_COST = 20_000_000;
/** Added to the cost of a source with a late request: more than any link costs. */
const SLOW_COST = 100_000_000;
/**
 * One fewer than a client's connections to one host: index pages, and what a neighbour holds and brings, are not to wait behind spans.
 * Where that took long, neighbours seemed dead for half a minute that were only busy sending, and their spans crossed the backhaul again.
 */
const IN_FLIGHT = CONNECTIONS_PER_ORIGIN - 1;

/** Of these so many for what is on its way to the source itself: what it has is not to wait behind the backhaul. */
const PASSED_MOST = IN_FLIGHT - 1;

export interface RoadsParts {
  readonly missing: MissingSpans;
  readonly holdings: Holdings;
  readonly inFlight: InFlight;
  readonly turns: BackhaulTurns | undefined;
  /** The delta in use. */
  readonly road: DeltaRoad | undefined;
  /** Whether a segment of it is on its way, or being rebuilt. */
  readonly underWay: (segment: number) => boolean;
  /** A delta will soon be in use: until then nothing it may make is fetched in another way over the backhaul. */
  readonly deltaComing: boolean;
  /** Whether a source turned out not to have a map page. */
  readonly lacksPage: (source: Source, page: number) => boolean;
}

/** All that `sources`, and this device itself, can give of what is missing now, for the planner. */
export function offersFrom(sources: readonly Source[], parts: RoadsParts): readonly Offer[] {
  const groups = new Groups(parts);
  const near = new NearPages(sources, parts);
  return [
    ...sources.flatMap((source) => [contentFrom(source, parts, near, groups), ...(parts.road === undefined || source.delta === undefined ? [] : [deltaFrom(source, parts.road, parts, groups)])]),
    ...(parts.road === undefined ? [] : [rebuiltHere(parts.road, parts, groups)]),
  ];
}

/** The map pages that `source` can give. */
export function pagesFrom(source: Source, road: DeltaRoad, parts: RoadsParts): Offer {
  const held = parts.holdings.segments(source);
  return {
    ...linkTo(source, parts.inFlight),
    road: 'delta',
    bytes: (page) => {
      if (parts.lacksPage(source, page)) return undefined;
      const { firstSegment, size } = road.page(page);
      if (source.kind !== 'peer') return mayCross(source, road.firstSpan(firstSegment), parts.turns) ? size : undefined;
      const segments = road.manifest.pages[page]?.segments ?? 0;
      for (let segment = firstSegment; segment < firstSegment + segments; segment++) if (held?.has(segment) === true) return size;
      return undefined;
    },
  };
}

/**
 * The fills that a step of the delta road brings: all of a segment, or nothing while one of them is still looked at, or the
 * segment on its way. That some of its spans are on their way as content is no reason: whoever said that it has them may lie.
 */
export function fillsOf(segment: number, road: DeltaRoad, { missing, underWay }: Pick<RoadsParts, 'missing' | 'underWay'>): readonly SpanFill[] {
  const fills: SpanFill[] = [];
  const busy = underWay(segment);
  for (const span of road.spansOf(segment)) {
    const fill = missing.get(span);
    if (fill === undefined ? !missing.isWhole(span) : busy && !fill.late) return [];
    if (fill !== undefined) fills.push(fill);
  }
  return fills;
}

function contentFrom(source: Source, { deltaComing, holdings, inFlight, missing, road, turns, underWay }: RoadsParts, near: NearPages, groups: Groups): Offer {
  const held = holdings.spans(source);
  const passes = inFlight.passed(source.name) < PASSED_MOST;
  return {
    ...linkTo(source, inFlight),
    ...(isFar(source) && turns !== undefined ? { mostInFlight: Math.min(IN_FLIGHT, turns.width) } : {}),
    road: 'content',
    ...(isFar(source) && turns !== undefined ? { last: (span) => turns.comesAfter(span) } : {}),
    bytes: (span) => {
      const fill = missing.get(span);
      if (fill === undefined || held === undefined) return undefined;
      // What a delta may make is waited for, unless that takes too long: a moment on the LAN, and longer before the backhaul is crossed for more.
      const hope = !fill.late && (deltaComing || (road?.makes(span) === true && groups.isWorthIt(road.segmentOf(span), road)));
      // So is what waits here for what it copies from.
      if (hope && (deltaComing || near.has(span) || (road !== undefined && isHeldBack(road, road.segmentOf(span), missing)))) return undefined;
      // What is on its way to a neighbour is passed on as it comes; who brings it himself, or has it half from another one, is not to wait for that.
      if (held !== 'all' && !held.has(span)) return passes && fill.asked.length === 0 && holdings.passes(source, span) ? fill.lacking : undefined;
      if (isDearer(source, fill)) return undefined;
      if (source.kind === 'peer' || (source.kind === 'torrent' && !isFar(source))) return fill.lacking;
      // What is being rebuilt here, or about to be, is worth waiting for however late it is.
      if (hope || (road?.makes(span) === true && (underWay(road.segmentOf(span)) || road.hasPayload(road.segmentOf(span))))) return undefined;
      // A neighbour that was asked is given more time than where another neighbour could be asked.
      if (fill.late && !fill.overdue && turns !== undefined && isFar(source)) return undefined;
      return mayCross(source, span, turns) ? fill.lacking : undefined;
    },
  };
}

function deltaFrom(source: Source, road: DeltaRoad, { holdings, inFlight, missing, turns, underWay }: RoadsParts, groups: Groups): Offer {
  const held = holdings.segments(source);
  return {
    ...linkTo(source, inFlight),
    road: 'delta',
    ...(isFar(source) && turns !== undefined ? { last: (span) => turns.comesAfter(road.firstSpan(road.segmentOf(span))) } : {}),
    bytes: (span) => {
      const segment = road.segmentOf(span);
      if (!road.usable(segment) || !road.ready(segment) || road.hasPayload(segment)) return undefined;
      // Without what it copies from it waits here, if there is room.
      if (!road.prepared(segment, missing.isWhole) && !road.mayWait(segment)) return undefined;
      if (isDearer(source, missing.get(span))) return undefined;
      if (source.kind === 'origin' && turns !== undefined && underWay(segment) && missing.get(span)?.overdue !== true) return undefined;
      if (!(source.kind === 'peer' ? held?.has(segment) === true : mayCross(source, road.firstSpan(segment), turns))) return undefined;
      const share = groups.shareOf(span, road);
      return share === 0 ? undefined : (road.segments[segment]?.payload?.size ?? 0) * share;
    },
    work: (span) => road.workFor(road.segmentOf(span)) * groups.shareOf(span, road),
  };
}

function rebuiltHere(road: DeltaRoad, { inFlight, missing }: RoadsParts, groups: Groups): Offer {
  return {
    source: HERE,
    road: 'delta',
    costPerByte: 0,
    inFlight: inFlight.of(HERE),
    mostInFlight: HERE_MOST,
    bytes: (span) => {
      const segment = road.segmentOf(span);
      if (!road.usable(segment) || !road.ready(segment) || !road.hasPayload(segment) || !road.prepared(segment, missing.isWhole)) return undefined;
      return groups.shareOf(span, road) === 0 ? undefined : 0;
    },
  };
}

/** Whether the segment is here, and cannot be made before others are. */
function isHeldBack(road: DeltaRoad, segment: number, missing: MissingSpans): boolean {
  return road.ready(segment) && road.hasPayload(segment) && !road.prepared(segment, missing.isWhole);
}

/** Whether what is on its way over the backhaul already is nothing to ask `source` for: of a neighbour it is, for he has it. */
function isDearer({ kind }: Source, fill: SpanFill | undefined): boolean {
  return fill?.crosses === true && !fill.late && kind !== 'peer';
}

/** Whether it is this device that has `span`, or the segment that begins there, brought over the backhaul. */
function mayCross(source: Source, span: number, turns: BackhaulTurns | undefined): boolean {
  if (turns === undefined) return true;
  // A gateway asks once whoever asks it: only that the best base is used is to be agreed upon.
  return isFar(source) ? turns.mine(span) : turns.leads;
}

function linkTo(source: Source, inFlight: InFlight): Pick<Offer, 'source' | 'costPerByte' | 'inFlight' | 'mostInFlight'> {
  const { kind, name } = source;
  const cost = kind === 'torrent' && isFar(source) ? FAR_TORRENT_COST : COST[kind];
  // A stuck source is the last choice until it answers, however near it is.
  return { source: name, costPerByte: cost + (inFlight.slow(name) ? SLOW_COST : 0), inFlight: inFlight.of(name), mostInFlight: IN_FLIGHT };
}

/** The spans whose map page is not here yet, and can be had on the LAN at once: a segment may be the smaller form of them. */
class NearPages {
  readonly #road: DeltaRoad | undefined;
  readonly #offers: readonly Offer[];
  readonly #known = new Map<number, boolean>();

  constructor(sources: readonly Source[], parts: RoadsParts) {
    const { road } = parts;
    this.#road = road;
    this.#offers = road === undefined ? [] : sources.filter(({ kind }) => kind !== 'origin').map((source) => pagesFrom(source, road, parts));
  }

  has(span: number): boolean {
    const road = this.#road;
    if (road?.makes(span) !== true) return false;
    const page = road.pageOf(road.segmentOf(span));
    const near = this.#known.get(page) ?? (!road.hasPage(page) && this.#offers.some((offer) => offer.bytes(page) !== undefined));
    this.#known.set(page, near);
    return near;
  }
}

/**
 * What each segment would bring now; counted once for all offers. A span's share of what a segment costs is by what it lacks, so that the segment is
 * the cheaper form of all that it makes or of none: of 4.7 MB for a span of 1.4 and one of 4.3 an equal half was dearer than the first as content, and
 * both crossed.
 */
class Groups {
  readonly #parts: RoadsParts;
  readonly #lacking = new Map<number, number>();
  readonly #worth = new Map<number, boolean>();

  constructor(parts: RoadsParts) {
    this.#parts = parts;
  }

  /** Of what the segment brings, that for `span`; 0 where it is not to be asked for. */
  shareOf(span: number, road: DeltaRoad): number {
    const segment = road.segmentOf(span);
    const known = this.#lacking.get(segment) ?? fillsOf(segment, road, this.#parts).reduce((sum, { lacking }) => sum + lacking, 0);
    this.#lacking.set(segment, known);
    return known === 0 ? 0 : (this.#parts.missing.get(span)?.lacking ?? 0) / known;
  }

  /** Whether the segment costs less than all that is missing of what it makes; while a part of that is still looked at, too. */
  isWorthIt(segment: number, road: DeltaRoad): boolean {
    const { missing } = this.#parts;
    const known = this.#worth.get(segment) ?? road.costOf(segment) < road.spansOf(segment).reduce((sum, span) => sum + (missing.get(span)?.lacking ?? (missing.isWhole(span) ? 0 : Infinity)), 0);
    this.#worth.set(segment, known);
    return known;
  }
}
