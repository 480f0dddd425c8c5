import { describe, expect, it } from 'vitest';
import { hashOf } from '../../src/plan/rendezvous.ts';
import { SiteTurns } from '../../src/plan/site.ts';
import { fc } from '../support/property.ts';

const ROOT = 'ab'.repeat(32);
/** A step of the virtual clock, milliseconds. */
const STEP_MS = 250;

interface Life {
  /** When it is switched on, milliseconds. */
  readonly joins: number;
  /** When it dies; `Infinity` for most. */
  readonly dies: number;
  /** When it is back, with the spans that it had; `Infinity` for those that stay away. */
  readonly back: number;
  /** How often it asks what the others hold, milliseconds, and how long after the others it begins. */
  readonly asks: number;
  readonly phase: number;
  /** What all of it costs the device, bytes; `Infinity` without a delta. */
  readonly bytes: number;
  /** It never brings anything: says it is at work; that it brings all there is; now this and now that. It takes what others bring. */
  readonly lazy?: 'works' | 'claims' | 'changes';
}

interface World {
  readonly lives: readonly Life[];
  readonly spans: number;
  /** Milliseconds a span takes over the backhaul, and over the LAN. */
  readonly crossing: number;
  /** All that cross share the line: `crossing` is what one takes that has it to itself. */
  readonly shared?: boolean;
  readonly near: number;
  /** Milliseconds until a device that is switched on is known to the others. */
  readonly news: number;
  /** The LAN is in two halves, by even and odd numbers, in this time. */
  readonly cut: { readonly from: number; readonly to: number } | undefined;
}

class ModelDevice {
  readonly name: string;
  readonly life: Life;
  readonly held = new Set<number>();
  /** Spans in the order in which it begins to bring them. */
  readonly order: readonly number[];
  /** Spans on their way over the backhaul, and how many milliseconds of it they still take; over the LAN, and when they are here. */
  readonly crossing = new Map<number, number>();
  readonly near = new Map<number, number>();
  turns: SiteTurns | undefined;
  /** All that is missing is for others to bring. */
  waits = false;
  /** What the others said last. */
  readonly heard = new Map<string, readonly number[]>();

  constructor(at: number, life: Life, seed: number, spans: number) {
    this.name = `d${String(at)}-${String(seed)}`;
    this.life = life;
    const places = Array.from({ length: spans }, (_, span) => hashOf(this.name, String(span)));
    this.order = [...places.keys()].sort((a, b) => (places[a] ?? 0) - (places[b] ?? 0));
  }

  lives(now: number): boolean {
    const { back, dies, joins } = this.life;
    return now >= joins && (now < dies || now >= back);
  }
}

interface Outcome {
  readonly crossings: number;
  /** Spans that a dying device had, or was half way with, and nobody else. */
  readonly lost: number;
  /** Crossings begun while the LAN was cut, and for ten seconds after that, for what the other half had or was bringing. */
  readonly apart: number;
  /** What crossed in all, and while the LAN was cut, in spans. */
  readonly crossed: number;
  readonly meanwhile: number;
  readonly finished: boolean;
  readonly took: number;
}

/** A site on a virtual clock: every device runs the turns of the real planner on what it has heard, which is never quite up to date. */
function simulate({ lives, spans, crossing, near, news, cut, shared = false }: World, seed: number): Outcome {
  const devices = lives.map((life, at) => new ModelDevice(at, life, seed, spans));
  let [now, crossings, lost, apart, crossed, meanwhile] = [0, 0, 0, 0, 0, 0];
  const isCut = (): boolean => cut !== undefined && now >= cut.from && now < cut.to;
  const reaches = (one: number, other: number): boolean => !isCut() || one % 2 === other % 2;
  const done = (): boolean => devices.every((device) => now >= device.life.joins && (device.lives(now) ? device.held.size === spans : device.life.back === Infinity));
  for (; now < 7_200_000 && !done(); now += STEP_MS) {
    const each = STEP_MS / (shared ? Math.max(1, devices.reduce((sum, device) => sum + device.crossing.size, 0)) : 1);
    for (const device of devices) {
      if (device.lives(now)) continue;
      if (device.turns === undefined) continue;
      lost += device.crossing.size + [...device.held].filter((span) => !devices.some((other) => other !== device && other.held.has(span))).length;
      device.crossing.clear();
      device.near.clear();
      device.heard.clear();
      device.turns = undefined;
    }
    for (const [at, device] of devices.entries()) {
      if (!device.lives(now)) continue;
      const own = (device.turns ??= new SiteTurns({ instance: device.name, weight: 1, bytes: device.life.bytes }, ROOT, () => now));
      crossed += (device.crossing.size * each) / crossing;
      if (isCut()) meanwhile += (device.crossing.size * each) / crossing;
      for (const [span, left] of device.crossing) {
        // What a neighbour has brought need not cross to its end.
        if (left > each && !device.held.has(span)) device.crossing.set(span, left - each);
        else {
          device.crossing.delete(span);
          device.held.add(span);
          own.has(span, crossing);
        }
      }
      for (const [span, due] of device.near) {
        if (due > now) continue;
        device.near.delete(span);
        device.held.add(span);
        own.has(span);
      }
      const known = devices.filter((other) => other !== device && other.life.joins + news <= now);
      own.members(known.map(({ name, life }) => ({ instance: name, weight: 1, asked: false, bytes: life.bytes })));
      if ((now + device.life.phase) % device.life.asks < STEP_MS) {
        for (const [other, { name, held, crossing: bringing }] of devices.entries()) {
          if (!known.some((each) => each.name === name) || !devices[other]?.lives(now) || !reaches(at, other)) {
            device.heard.delete(name);
            own.asked(name);
            continue;
          }
          device.heard.set(name, [...held]);
          const { lazy } = devices[other]?.life ?? {};
          const said = lazy === undefined ? [...bringing.keys()] : lazy === 'works' ? [] : Array.from({ length: Math.min(spans, 16) }, (_, each) => (lazy === 'claims' ? each : (each + Math.floor(now / 1_000) * 16) % spans));
          own.answered(name, 0);
          own.saw(name, { held: held.size, has: (span) => held.has(span), count: spans, working: lazy !== undefined || bringing.size > 0 || (devices[other]?.near.size ?? 0) > 0 || devices[other]?.waits === true, bringing: said });
        }
      }
      for (const spansThere of device.heard.values()) {
        for (const span of spansThere) if (device.near.size < 8 && !device.held.has(span) && !device.near.has(span)) device.near.set(span, now + near);
      }
      const settled = now - (now >= device.life.back ? device.life.back : device.life.joins) >= 1_000;
      device.waits = true;
      const open = settled && device.life.lazy === undefined ? device.order.filter((span) => !device.held.has(span) && !device.crossing.has(span) && !device.near.has(span) && own.mine(span)) : [];
      // As the planner does: what another one brings as well is left to him, and what had better come last does.
      for (const span of device.crossing.keys()) {
        if (!own.yields(span) || !devices.some((other, number) => other !== device && reaches(at, number) && other.crossing.has(span))) continue;
        device.crossing.delete(span);
        own.ceases(span);
      }
      for (const span of open.map((each, place) => ({ each, after: own.comesAfter(each), place })).sort((one, other) => one.after - other.after || one.place - other.place).map(({ each }) => each)) {
        if (device.crossing.size >= own.width) break;
        if (!own.mine(span)) continue;
        device.waits = false;
        device.crossing.set(span, crossing);
        own.brings(span);
        crossings++;
        const elsewhere = devices.some((other, number) => number % 2 !== at % 2 && (other.held.has(span) || other.crossing.has(span)));
        if (elsewhere && cut !== undefined && now >= cut.from && now < cut.to + 10_000) apart++;
      }
    }
  }
  return { crossings, lost, apart, crossed, meanwhile, finished: done(), took: now };
}

const life = (joins: fc.Arbitrary<number>, dies: fc.Arbitrary<number>): fc.Arbitrary<Life> => fc.record({
  joins,
  dies,
  away: fc.option(fc.integer({ min: 500, max: 20_000 }), { nil: Infinity }),
  asks: fc.constantFrom(250, 1_000),
  phase: fc.constantFrom(0, 250, 500, 750),
  bytes: fc.constantFrom(600_000, 2_000_000, Infinity),
}).map(({ away, ...rest }) => ({ ...rest, back: rest.dies + away }));

const worlds = fc.record({
  // The first never dies: somebody has to be left to look at.
  first: life(fc.nat(20_000), fc.constant(Infinity)),
  others: fc.array(life(fc.nat(20_000), fc.option(fc.integer({ min: 20_000, max: 90_000 }), { nil: Infinity, freq: 3 })), { maxLength: 9 }),
  spans: fc.integer({ min: 1, max: 60 }),
  crossing: fc.constantFrom(250, 2_000, 10_000, 60_000),
  near: fc.constantFrom(250, 1_000),
  news: fc.constantFrom(0, 500, 3_000),
  cut: fc.option(fc.record({ from: fc.nat(60_000), length: fc.constantFrom(5_000, 20_000, 60_000) }).map(({ from, length }) => ({ from, to: from + length })), { freq: 2 }),
}).map(({ cut, first, others, ...rest }) => ({ ...rest, cut: cut ?? undefined, lives: [first, ...others] }));

describe('a site on a virtual clock', () => {
  it('finishes whatever happens, and fetches little twice', () => {
    fc.assert(
      fc.property(worlds, fc.nat(), (world, seed) => {
        const { apart, crossings, finished, lost } = simulate(world, seed);
        expect(finished).toBe(true);
        const upsets = world.lives.length + world.lives.filter(({ dies }) => dies !== Infinity).length * 2 + (world.cut === undefined ? 0 : 2);
        // Once for each span; what died with a device; what a cut kept one half from having of the other; and with every device that
        // joins, dies or comes back, what may be begun before the others have heard of it: one span or two of each, or its share of
        // the six that a site brings at a time, again and again while these take less time than hearing does.
        const unheard = 1 + Math.ceil((world.news + 1_000) / world.crossing);
        const width = Math.max(2, Math.ceil(6 / world.lives.length));
        expect(crossings).toBeLessThanOrEqual(world.spans + lost + apart + upsets * Math.min(world.spans, width * unheard));
      }),
      { numRuns: 60 },
    );
  });

  it('fetches nothing twice when all are there from the start, whatever they ask when', () => {
    const calm = fc.record({ lives: fc.array(life(fc.constant(0), fc.constant(Infinity)), { minLength: 1, maxLength: 12 }), spans: fc.integer({ min: 1, max: 60 }), crossing: fc.constantFrom(250, 2_000, 10_000), near: fc.constantFrom(250, 1_000) });
    fc.assert(
      fc.property(calm, fc.nat(), (world, seed) => {
        const { crossings, finished } = simulate({ ...world, news: 0, cut: undefined }, seed);
        expect([finished, crossings]).toEqual([true, world.spans]);
      }),
      { numRuns: 40 },
    );
  });

  it('is not held up for long by members that say they work, and bring nothing', () => {
    const one: Life = { joins: 0, dies: Infinity, back: Infinity, asks: 1_000, phase: 0, bytes: Infinity };
    const lazies = fc.array(fc.constantFrom('works', 'claims', 'changes'), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(lazies, fc.integer({ min: 1, max: 8 }), fc.constantFrom(1_000, 10_000), fc.nat(), (lazy, honest, crossing, seed) => {
        const spans = 60;
        const lives = [...Array.from({ length: honest }, (_, at) => ({ ...one, phase: (at % 4) * 250 })), ...lazy.map((each) => ({ ...one, lazy: each }))];
        const { crossings, finished, took } = simulate({ lives, spans, crossing, near: 250, news: 0, cut: undefined }, seed);
        expect(finished).toBe(true);
        // One span that is tried by each where nobody had shown anything, and what may be begun when turns move, before others have heard of it.
        expect(crossings).toBeLessThanOrEqual(spans + 2 * honest * (1 + lazy.length));
        // What it takes one after another, and for each of these members its patience: until one was tried, and four times what one takes.
        expect(took).toBeLessThanOrEqual(spans * crossing + (lazy.length + 1) * (40_000 + Math.max(30_000, 4 * crossing)));
      }),
      { numRuns: 20 },
    );
  });

  it('fetches nothing twice while all wait for a member that brings nothing: whoever waits is no more dead than whoever fetches', () => {
    const one: Life = { joins: 0, dies: Infinity, back: Infinity, asks: 1_000, phase: 0, bytes: Infinity };
    const lives = [...Array.from({ length: 7 }, (_, at) => ({ ...one, phase: (at % 4) * 250 })), { ...one, lazy: 'works' as const }];
    // Seed 8: only the lots of the one that brings nothing are left for half a minute, three times as long as a sign of life lasts.
    const { crossings, finished } = simulate({ lives, spans: 60, crossing: 1_000, near: 250, news: 0, cut: undefined }, 8);
    expect([finished, crossings]).toEqual([true, 60]);
  });

  it('fetches nothing twice when one that restarts at once goes on with what was its own', () => {
    const one: Life = { joins: 0, dies: Infinity, back: Infinity, asks: 1_000, phase: 0, bytes: Infinity };
    const lives = Array.from({ length: 8 }, (_, at) => (at === 3 ? { ...one, dies: 30_000, back: 33_000 } : one));
    const { crossings, finished, lost } = simulate({ lives, spans: 60, crossing: 10_000, near: 250, news: 0, cut: undefined }, 1);
    expect(finished).toBe(true);
    expect(crossings).toBeLessThanOrEqual(60 + lost);
  });

  it('has each half fetch no more than one copy of what it brings meanwhile when its LAN is cut, and nothing twice once it is whole', () => {
    const one: Life = { joins: 0, dies: Infinity, back: Infinity, asks: 1_500, phase: 0, bytes: Infinity };
    fc.assert(
      fc.property(fc.constantFrom(4, 8, 16), fc.integer({ min: 2_000, max: 12_000 }), fc.nat(), (members, from, seed) => {
        const lives = Array.from({ length: members }, (_, at) => ({ ...one, phase: (at % 6) * 250 }));
        // 64 MiB in spans of two over a line of 16 Mbit/s.
        const { crossed, finished, meanwhile } = simulate({ lives, spans: 32, crossing: 1_000, near: 250, news: 0, cut: { from, to: from + 20_000 }, shared: true }, seed);
        expect(finished).toBe(true);
        expect(crossed).toBeLessThanOrEqual(32 * 1.05 + meanwhile / 2);
      }),
      { numRuns: 30 },
    );
  });
});
