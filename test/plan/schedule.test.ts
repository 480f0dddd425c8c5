import { describe, expect, it } from 'vitest';
import { nextSteps } from '../../src/plan/schedule.ts';
import type { Offer, Want } from '../../src/plan/schedule.ts';
import { fc } from '../support/property.ts';

const offer = (source: string, costPerByte: number, spans: readonly number[] | 'all', more: Partial<Offer> = {}): Offer => ({
  source,
  costPerByte,
  inFlight: 0,
  mostInFlight: 4,
  road: 'content',
  bytes: (span) => (spans === 'all' || spans.includes(span) ? 1 : undefined),
  ...more,
});
const want = (span: number, more: Partial<Want> = {}): Want => ({ span, asked: [], late: false, ...more });

describe('the next requests', () => {
  it('cross the expensive link only for what no neighbour holds', () => {
    const steps = nextSteps([want(0), want(1), want(2)], [offer('peer', 0, [0, 2]), offer('origin', 1, 'all')], () => 0);
    expect(new Map(steps.map(({ span, source }) => [span, source]))).toEqual(new Map([[0, 'peer'], [1, 'origin'], [2, 'peer']]));
  });

  it('wait for a busy neighbour rather than pay', () => {
    expect(nextSteps([want(0)], [offer('peer', 0, 'all', { inFlight: 4 }), offer('origin', 1, 'all')], () => 0)).toEqual([]);
  });

  it('bring the form of which fewest bytes travel, and anything over the LAN before the backhaul', () => {
    const payload = (source: string, costPerByte: number, bytes: number): Offer => offer(source, costPerByte, [], { road: 'delta', bytes: () => bytes });
    const content = (source: string, costPerByte: number): Offer => offer(source, costPerByte, [], { bytes: () => 2_000_000 });
    expect(nextSteps([want(0)], [content('a', 1), payload('b', 1, 20_000), payload('origin', 1e7, 20_000)], () => 0)).toEqual([{ span: 0, source: 'b', road: 'delta' }]);
    expect(nextSteps([want(0)], [content('a', 1), payload('origin', 1e7, 20_000)], () => 0)).toEqual([{ span: 0, source: 'a', road: 'content' }]);
    expect(nextSteps([want(0)], [content('origin', 1e7), payload('origin', 1e7, 20_000)], () => 0)).toEqual([{ span: 0, source: 'origin', road: 'delta' }]);
    expect(nextSteps([want(0)], [payload('', 0, 0), payload('b', 1, 20_000)], () => 0)).toEqual([{ span: 0, source: '', road: 'delta' }]);
  });

  it('bring more bytes where fewer would take more work than they are worth', () => {
    const delta = (work: number): Offer => offer('origin', 1e7, [], { road: 'delta', bytes: () => 20_000, work: () => work });
    const content = offer('origin', 1e7, [], { bytes: () => 2_000_000 });
    const road = (...offers: readonly Offer[]): string | undefined => nextSteps([want(0)], offers, () => 0)[0]?.road;
    expect(road(content, delta(0))).toBe('delta');
    expect(road(content, delta(1_979_000))).toBe('delta');
    expect(road(content, delta(1_981_000))).toBe('content');
    // What costs nothing on its link costs nothing in work: a payload that is here is used.
    expect(road(content, offer('', 0, [], { road: 'delta', bytes: () => 0, work: () => 1e9 }))).toBe('delta');
    // Nor does work bring anything over a link that costs more.
    expect(nextSteps([want(0)], [offer('peer', 1, [], { road: 'delta', bytes: () => 20_000, work: () => 1e6 }), content], () => 0)).toEqual([{ span: 0, source: 'peer', road: 'delta' }]);
  });

  it('share the requests of one source between both forms', () => {
    const both = [offer('a', 1, [0], { mostInFlight: 1 }), offer('a', 1, [1], { mostInFlight: 1, road: 'delta' })];
    expect(nextSteps([want(0), want(1)], both, () => 0)).toHaveLength(1);
  });

  it('begin with what fewest hold', () => {
    const steps = nextSteps([want(0), want(1)], [offer('a', 0, 'all', { mostInFlight: 1 }), offer('b', 0, [0], { inFlight: 4 })], () => 0);
    expect(steps).toEqual([{ span: 1, source: 'a', road: 'content' }]);
  });

  it('ask a second source, at any price, for what is late', () => {
    const late = want(0, { asked: ['peer'], late: true });
    expect(nextSteps([late], [offer('peer', 0, 'all'), offer('origin', 1, 'all')], () => 0)).toEqual([{ span: 0, source: 'origin', road: 'content' }]);
    expect(nextSteps([{ ...late, late: false }], [offer('origin', 1, 'all')], () => 0)).toEqual([]);
  });

  it('come last for what somebody else may be fetching out of sight', () => {
    const origin = offer('origin', 1, 'all', { mostInFlight: 1, last: (span) => (span === 0 ? 0.5 : 0) });
    expect(nextSteps([want(0), want(1)], [origin], () => 0)).toEqual([{ span: 1, source: 'origin', road: 'content' }]);
    expect(nextSteps([want(0)], [origin], () => 0)).toHaveLength(1);
  });

  it('ask a neighbour for what is crossing the expensive link, as soon as one has it', () => {
    const crossing = want(0, { asked: ['origin'], crosses: true });
    expect(nextSteps([crossing], [offer('origin', 1, 'all'), offer('peer', 0, [1])], () => 0)).toEqual([]);
    expect(nextSteps([crossing], [offer('origin', 1, 'all'), offer('peer', 0, [0])], () => 0)).toEqual([{ span: 0, source: 'peer', road: 'content' }]);
  });

  it('never ask twice, too much, or whoever has it not, and leave no cheapest source idle', () => {
    const offers = fc.array(fc.record({ cost: fc.constantFrom(0, 1, 5), most: fc.integer({ min: 1, max: 3 }), busy: fc.nat(3), spans: fc.array(fc.nat(9)) }), { maxLength: 5 });
    fc.assert(
      fc.property(offers, fc.uniqueArray(fc.nat(9)), fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), (raw, spans, numbers) => {
        const made = raw.map(({ cost, most, busy, spans: held }, index) => offer(String(index), cost, held, { mostInFlight: most, inFlight: Math.min(busy, most) }));
        const steps = nextSteps(spans.map((span) => want(span)), made, () => numbers.next().value as number);
        expect(new Set(steps.map(({ span }) => span)).size).toBe(steps.length);
        for (const { source, mostInFlight, inFlight } of made) expect(steps.filter((step) => step.source === source).length).toBeLessThanOrEqual(mostInFlight - inFlight);
        for (const span of spans) {
          const holders = made.filter(({ bytes }) => bytes(span) !== undefined);
          const cheapest = holders.filter(({ costPerByte }) => costPerByte === Math.min(...holders.map((holder) => holder.costPerByte)));
          const step = steps.find((each) => each.span === span);
          if (step !== undefined) expect(cheapest.map(({ source }) => source)).toContain(step.source);
          else for (const { source, mostInFlight, inFlight } of cheapest) expect(inFlight + steps.filter((each) => each.source === source).length).toBe(mostInFlight);
        }
      }),
    );
  });
});
