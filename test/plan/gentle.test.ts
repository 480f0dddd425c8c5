import { describe, expect, it } from 'vitest';
import { GentleRate } from '../../src/plan/gentle.ts';
import { randomFrom } from '../support/random.ts';

/** A line of 2 MB/s, 20 ms away, whose queue holds 100 ms: as of a small site. */
const LINE = 2_000_000;
const BASE_MS = 20;
const QUEUE_MOST = LINE / 10;
const STEP_MS = 10;
const PROBE_MS = 250;

/** What crosses in `seconds`: others want `others(second)` bytes a second and push what they want, this one what it may. */
function run(seconds: number, others: (second: number) => number, gentle: GentleRate, clock: { now: number }, random: () => number): { readonly own: number; readonly theirs: number; readonly queueMs: number } {
  let [own, theirs, queue, delays, steps, next] = [0, 0, 0, 0, 0, clock.now + PROBE_MS];
  const end = clock.now + seconds * 1000;
  const begun = clock.now;
  while (clock.now < end) {
    clock.now += STEP_MS;
    const [mine, rest] = [Math.min(gentle.rate, LINE * 1.5), others((clock.now - begun) / 1000)].map((rate) => (rate * STEP_MS) / 1000) as [number, number];
    // Who pushes more gets more of what the line takes; what does not fit is dropped, and sent again later.
    const takes = Math.min(queue + mine + rest, (LINE * STEP_MS) / 1000);
    const share = mine / Math.max(1e-9, mine + rest);
    queue = Math.min(QUEUE_MOST, Math.max(0, queue + mine + rest - takes));
    own += takes * share;
    theirs += takes * (1 - share);
    gentle.took(takes * share);
    const ms = BASE_MS + (queue / LINE) * 1000;
    delays += ms - BASE_MS;
    steps++;
    if (clock.now < next) continue;
    next = clock.now + PROBE_MS;
    // A processor that is late now and then, but not always.
    gentle.answered(ms + (random() < 0.3 ? random() * 80 : 0));
  }
  return { own: own / seconds, theirs: theirs / seconds, queueMs: delays / steps };
}

describe('a rate that leaves the line to others', () => {
  const make = (): { readonly clock: { now: number }; readonly gentle: GentleRate; readonly random: () => number } => {
    const clock = { now: 0 };
    const gentle = new GentleRate(() => clock.now);
    // The first question is asked before much has come.
    gentle.answered(BASE_MS);
    return { clock, gentle, random: randomFrom(7) };
  };

  it('takes the whole line where nobody else needs it, with a short queue', () => {
    const { clock, gentle, random } = make();
    run(10, () => 0, gentle, clock, random);
    const { own, queueMs } = run(60, () => 0, gentle, clock, random);
    expect(own).toBeGreaterThan(LINE * 0.9);
    expect(queueMs).toBeLessThan(50);
  });

  it('leaves nine tenths to whoever fills it, and takes it back afterwards', () => {
    const { clock, gentle, random } = make();
    run(10, () => 0, gentle, clock, random);
    const greedy = run(40, (second) => (second < 5 ? 0 : LINE), gentle, clock, random);
    expect(greedy.theirs * 40 / 35).toBeGreaterThan(LINE * 0.8);
    // It does not starve.
    expect(greedy.own).toBeGreaterThan(LINE * 0.05);
    run(10, () => 0, gentle, clock, random);
    expect(run(20, () => 0, gentle, clock, random).own).toBeGreaterThan(LINE * 0.85);
  });

  it('takes what is left where others need a part', () => {
    const { clock, gentle, random } = make();
    run(10, () => LINE / 2, gentle, clock, random);
    const { own, theirs, queueMs } = run(60, () => LINE / 2, gentle, clock, random);
    expect(theirs).toBeGreaterThan(LINE * 0.45);
    expect(own).toBeGreaterThan(LINE * 0.35);
    expect(queueMs).toBeLessThan(60);
  });

  it('knows no limit before it has measured anything, and after a rest', () => {
    const clock = { now: 0 };
    const gentle = new GentleRate(() => clock.now);
    expect(gentle.rate).toBe(Infinity);
    for (let probe = 0; probe < 20; probe++) {
      clock.now += PROBE_MS;
      gentle.took(100_000);
      gentle.answered(probe < 4 ? 20 : 400);
    }
    expect(gentle.rate).toBeLessThan(200_000);
    gentle.rested();
    expect(gentle.rate).toBe(Infinity);
  });
});
