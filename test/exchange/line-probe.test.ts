import { expect, it } from 'vitest';
import { LineProbe } from '../../src/exchange/line-probe.ts';
import type { Upstream } from '../../src/exchange/upstream.ts';
import { ManualClock } from '../support/manual-clock.ts';

const KIB = 1024;

it('asks little beside what comes, and slows down when answers take longer than on the quiet line', async () => {
  const clock = new ManualClock();
  const probe = new LineProbe(clock);
  let [asked, delay] = [0, 20];
  const upstream = {
    get: () => {
      asked++;
      return new Promise((resolve) => void clock.after(delay, () => { resolve({ status: 200, headers: new Map(), body: new Uint8Array() }); }));
    },
  } as unknown as Upstream;
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 10) {
      clock.advance(10);
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    }
  };
  // Without somebody to ask it is no limit.
  probe.took(KIB * KIB);
  expect(probe.rate).toBe(Infinity);
  probe.asks(upstream);
  probe.begins();
  await pass(500);
  const before = asked;
  expect(before).toBeLessThanOrEqual(4);
  // A megabyte a second: four questions a second, eight would be 128 KiB apart.
  for (let piece = 0; piece < 100; piece++) {
    probe.took(10 * KIB);
    await pass(10);
  }
  expect(asked - before).toBeGreaterThan(1);
  expect(asked - before).toBeLessThanOrEqual(4);
  expect(probe.rate).toBe(Infinity);
  delay = 120;
  for (let piece = 0; piece < 300; piece++) {
    probe.took(10 * KIB);
    await pass(10);
  }
  expect(probe.rate).toBeLessThan(800 * KIB);
  // Little that comes is not worth a question, but for what came before it.
  probe.took(100);
  await pass(500);
  const then = asked;
  probe.took(100);
  await pass(500);
  expect(asked).toBe(then);
});
