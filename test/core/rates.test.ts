import { describe, expect, it } from 'vitest';
import { RateLimiter, takeAll } from '../../src/core/rate-limiter.ts';
import { RATE_LEAST, parseRates, rateAt } from '../../src/core/rates.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { fc } from '../support/property.ts';

const at = (hour: number, minute = 0): number => hour * 60 + minute;

describe('limits by time of day', () => {
  it('are read as people write them', () => {
    expect(parseRates('500K')).toEqual({ otherwise: 512_000, daily: [] });
    expect(parseRates('none').otherwise).toBe(Infinity);
    expect(parseRates('1M,22:00-06:30=none,12:00-13:00=2M')).toEqual({ otherwise: 2 ** 20, daily: [{ from: at(22), until: at(6, 30), rate: Infinity }, { from: at(12), until: at(13), rate: 2 ** 21 }] });
    // Only by day.
    expect(parseRates('8:00-18:00=64K').otherwise).toBe(Infinity);
  });

  it('hold from one minute until another, over midnight too', () => {
    const rates = parseRates('1M,22:00-06:00=none,05:00-07:00=2M,12:00-24:00=3M');
    const seen = [at(0), at(5, 59), at(6), at(6, 59), at(7), at(11, 59), at(12), at(21, 59), at(22), at(23, 59)].map((minute) => rateAt(rates, minute) / 2 ** 20);
    expect(seen).toEqual([Infinity, Infinity, 2, 2, 1, 1, 3, 3, Infinity, Infinity]);
  });

  it('are refused where they are none', () => {
    for (const text of ['', '0', '-1', '1.5M', '5X', '1M,2M', '25:00-26:00=1M', '10:60-11:00=1M', '10:00-11:00', '10:00-11:00=', ',', '1M,', `1M${',01:00-02:00=1M'.repeat(30)}`, '9'.repeat(40)]) expect(() => parseRates(text), text).toThrow(/not a limit/);
    expect(() => parseRates(String(RATE_LEAST - 1))).toThrow(/too few/);
  });
});

describe('a rate limiter', () => {
  it('lets as much through in the long run as its rate, whoever takes how much when', () => {
    fc.assert(fc.property(fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 200_000 }), rest: fc.nat(500) }), { minLength: 20, maxLength: 100 }), fc.integer({ min: RATE_LEAST, max: 1_000_000 }), (takes, rate) => {
      const clock = new ManualClock();
      const limiter = new RateLimiter(clock, () => rate);
      let taken = 0;
      for (const { bytes, rest } of takes) {
        const ms = limiter.take(bytes);
        taken += bytes;
        clock.advance(ms + rest);
      }
      // What was saved up, a quarter of a second, comes on top.
      expect(taken).toBeLessThanOrEqual(rate * (clock.now() / 1000 + 0.25) + 1);
    }));
  });

  it('makes whoever takes nothing wait for nothing, and goes by what holds at the moment', () => {
    const clock = new ManualClock();
    let rate = 100_000;
    const limiter = new RateLimiter(clock, () => rate);
    expect(limiter.take(25_000)).toBe(0);
    expect(limiter.take(50_000)).toBeCloseTo(500);
    clock.advance(500);
    expect(limiter.take(10_000)).toBeCloseTo(100);
    rate = Infinity;
    expect(limiter.take(1e12)).toBe(0);
    rate = 200_000;
    expect(limiter.take(50_000)).toBe(0);
    expect(limiter.take(20_000)).toBeCloseTo(100);
    expect(takeAll([limiter, new RateLimiter(clock, () => 1_000_000)], 20_000)).toBeCloseTo(200);
    expect(takeAll([], 1)).toBe(0);
  });

  it('shares evenly among those who wait', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter(clock, () => 100_000);
    const got = [0, 0, 0];
    const stop = new AbortController();
    const takers = got.map(async (_, taker) => {
      while (!stop.signal.aborted) {
        await limiter.wait(5_000, stop.signal);
        got[taker] = (got[taker] ?? 0) + 5_000;
      }
    });
    for (let ms = 0; ms < 30_000; ms += 10) {
      clock.advance(10);
      await Promise.resolve();
      await Promise.resolve();
    }
    stop.abort();
    await Promise.all(takers);
    const sum = got.reduce((total, each) => total + each, 0);
    for (const each of got) expect(Math.abs(each - sum / 3)).toBeLessThanOrEqual(sum / 30);
  });
});
