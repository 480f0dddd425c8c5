import { describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import type { DeltaRoad } from '../../src/exchange/delta-road.ts';
import { InFlight } from '../../src/exchange/in-flight.ts';
import { MissingSpans } from '../../src/exchange/missing.ts';
import { offersFrom } from '../../src/exchange/roads.ts';
import type { RoadsParts } from '../../src/exchange/roads.ts';
import type { Source, SourceKind } from '../../src/exchange/source.ts';
import { SpanFill } from '../../src/exchange/span-fill.ts';
import type { BackhaulTurns } from '../../src/exchange/turns.ts';
import { nextSteps } from '../../src/plan/schedule.ts';

/** One span is missing, and everybody says to have it. */
function asked(sources: readonly Source[], turns?: Partial<BackhaulTurns>, crosses = false): string | undefined {
  const missing = new MissingSpans(1);
  const fill = new SpanFill({ index: 0, offset: 0, bytes: 1_000_000, leaf: '0'.repeat(64) as never });
  Object.assign(fill, { crosses, asked: crosses ? ['origin'] : [] });
  missing.add(fill);
  const parts = {
    missing, turns,
    inFlight: new InFlight(() => 0),
    holdings: { spans: ({ kind }: Source) => (kind === 'origin' || kind === 'gateway' ? 'all' : Bitmap.decode(Uint8Array.of(1), 1)), segments: () => undefined },
    road: undefined, underWay: () => false, deltaComing: false, lacksPage: () => false,
  } as unknown as RoadsParts;
  return nextSteps([fill], offersFrom(sources, parts), () => 0.5)[0]?.source;
}

const source = (kind: SourceKind, near?: boolean): Source => ({ name: near === undefined ? kind : `${near ? 'near' : 'far'} ${kind}`, kind, ...(near === undefined ? {} : { near }) }) as Source;
const mine = { mine: () => true, comesAfter: () => 0, leads: true, width: 3 };
const others = { mine: () => false, leads: false, width: 3 };

describe('a stock BitTorrent client', () => {
  it('on the LAN is asked before the backhaul is crossed, whoever\'s turn that would be', () => {
    for (const turns of [undefined, mine, others]) expect(asked([source('origin'), source('torrent', true)], turns)).toBe('near torrent');
    expect(asked([source('origin'), source('torrent', false), source('torrent', true)], mine)).toBe('near torrent');
  });

  it('beyond the backhaul is asked for what the origin and neighbours cannot give, and only by whose turn it is', () => {
    expect(asked([source('torrent', false), source('origin')], mine)).toBe('origin');
    expect(asked([source('torrent', false), source('peer')], others)).toBe('peer');
    expect(asked([source('torrent', false), source('gateway')], mine)).toBe('gateway');
    expect(asked([source('torrent', false)], mine)).toBe('far torrent');
    expect(asked([source('torrent', false)])).toBe('far torrent');
    expect(asked([source('torrent', false)], others)).toBeUndefined();
  });
});

describe('a span on its way over the backhaul', () => {
  it('is asked of a neighbour that has come to have it, and of nobody else', () => {
    expect(asked([source('origin'), source('gateway'), source('torrent', false)], mine, true)).toBeUndefined();
    expect(asked([source('origin'), source('gateway'), source('peer')], mine, true)).toBe('peer');
  });
});

describe('a segment that makes a small and a large span', () => {
  const bytes = [1_400_000, 4_300_000];
  const steps = (payload: number): ReturnType<typeof nextSteps> => {
    const missing = new MissingSpans(2);
    const fills = bytes.map((each, index) => new SpanFill({ index, offset: 0, bytes: each, leaf: '0'.repeat(64) as never }));
    for (const fill of fills) missing.add(fill);
    const road = {
      manifest: { pages: [] }, segments: [{ payload: { size: payload } }],
      segmentOf: () => 0, spansOf: () => [0, 1], firstSpan: () => 0, pageOf: () => 0,
      makes: () => true, usable: () => true, ready: () => true, hasPage: () => true, hasPayload: () => false, prepared: () => true, workFor: () => 0, costOf: () => payload,
    } as unknown as DeltaRoad;
    const parts = {
      missing, road, turns: undefined, inFlight: new InFlight(() => 0),
      holdings: { spans: () => 'all', segments: () => undefined }, underWay: () => false, deltaComing: false, lacksPage: () => false,
    } as unknown as RoadsParts;
    return nextSteps(fills, offersFrom([{ ...source('origin'), delta: () => undefined } as unknown as Source], parts), () => 0.5);
  };

  it('is the form in which both of them cross, or neither', () => {
    expect(new Set(steps(4_700_000).map(({ road }) => road))).toEqual(new Set(['delta']));
    expect(new Set(steps(5_800_000).map(({ road }) => road))).toEqual(new Set(['content']));
  });
});

describe('a segment that copies from one that is not there', () => {
  /** Who is asked for its only span, and for what, by what is known of it. */
  const step = (known: { readonly mayWait?: boolean; readonly hasPayload?: boolean; readonly prepared?: boolean }, kinds: readonly SourceKind[] = ['origin']): string | undefined => {
    const missing = new MissingSpans(1);
    const fill = new SpanFill({ index: 0, offset: 0, bytes: 1_000_000, leaf: '0'.repeat(64) as never });
    missing.add(fill);
    const road = {
      manifest: { pages: [] }, segments: [{ payload: { size: 1000 } }],
      segmentOf: () => 0, spansOf: () => [0], firstSpan: () => 0, pageOf: () => 0,
      makes: () => true, usable: () => true, ready: () => true, hasPage: () => true, hasPayload: () => known.hasPayload ?? false, prepared: () => known.prepared ?? false, mayWait: () => known.mayWait ?? true, workFor: () => 0, costOf: () => 1000,
    } as unknown as DeltaRoad;
    const parts = {
      missing, road, turns: undefined, inFlight: new InFlight(() => 0),
      holdings: { spans: () => 'all', segments: () => undefined }, underWay: () => false, deltaComing: false, lacksPage: () => false,
    } as unknown as RoadsParts;
    const [found] = nextSteps([fill], offersFrom(kinds.map((kind) => ({ ...source(kind), delta: () => undefined }) as unknown as Source), parts), () => 0.5);
    return found === undefined ? undefined : `${found.source} ${found.road}`;
  };

  it('is fetched while there is room for it, and made when the other has come', () => {
    expect(step({})).toBe('origin delta');
    expect(step({ mayWait: false })).toBeUndefined();
    expect(step({ hasPayload: true })).toBeUndefined();
    expect(step({ hasPayload: true, prepared: true })).toBe(' delta');
  });

  it('is not taken from a neighbour as content while it waits here', () => {
    expect(step({ hasPayload: true }, ['peer', 'origin'])).toBeUndefined();
  });
});
