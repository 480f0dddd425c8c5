import { expect, it } from 'vitest';
import { RUNS_MAX_AT_GATEWAY, RUNS_PASS_MS, RUNS_REPEAT_MS } from '../../src/core/limits.ts';
import type { Upstream } from '../../src/exchange/upstream.ts';
import { GatewayRuns } from '../../src/roles/gateway/runs.ts';
import { ManualClock } from '../support/manual-clock.ts';

type Told = readonly (readonly [string, readonly (readonly [string, number])[]])[];

/** An upstream that takes messages, or answers something else. */
function upstream(): { readonly told: Told[]; answer: number; readonly host: Upstream } {
  const told: Told[] = [];
  const it_ = {
    told, answer: 204,
    host: { url: 'http://origin', put: (_path: string, json: Uint8Array) => {
      if (it_.answer === 204) told.push((JSON.parse(Buffer.from(json).toString()) as { readonly devices: Told }).devices);
      return Promise.resolve({ status: it_.answer, headers: new Map<string, string>(), body: new Uint8Array() });
    } } as unknown as Upstream,
  };
  return it_;
}

it('passes on what is new, then nothing until it is repeated half a day later', async () => {
  const clock = new ManualClock();
  const origin = upstream();
  const runs = new GatewayRuns(origin.host, clock);
  runs.note('a', [{ product: 'os', sequence: 1 }]);
  runs.note('b', [{ product: 'os', sequence: 2 }]);
  runs.note('a', [{ product: 'maps', sequence: 7 }]);
  await runs.pass();
  expect(origin.told.splice(0)).toEqual([[['b', [['os', 2]]], ['a', [['os', 1], ['maps', 7]]]]]);
  runs.note('a', [{ product: 'os', sequence: 1 }, { product: 'maps', sequence: 7 }]);
  await runs.pass();
  expect(origin.told).toEqual([]);
  runs.note('a', [{ product: 'os', sequence: 3 }]);
  clock.advance(RUNS_PASS_MS);
  await expect.poll(() => origin.told.splice(0)).toEqual([[['a', [['os', 3], ['maps', 7]]]]]);
  clock.advance(RUNS_REPEAT_MS);
  await runs.close();
  expect(origin.told.flat().map(([device]) => device).sort()).toEqual(['a', 'b']);
});

it('keeps what an upstream did not take, in messages of bounded size', async () => {
  const origin = upstream();
  const runs = new GatewayRuns(origin.host, new ManualClock());
  origin.answer = 404;
  for (let at = 0; at < 300; at++) runs.note(`device-${String(at)}`, [{ product: 'os', sequence: at }]);
  await expect(runs.pass()).rejects.toMatchObject({ code: 'HTTP_STATUS' });
  origin.answer = 204;
  await runs.pass();
  expect(origin.told.map((each) => each.length)).toEqual([128, 128, 44]);
  for (let at = 0; at < RUNS_MAX_AT_GATEWAY + 10; at++) runs.note(`d${String(at)}`, [{ product: 'os', sequence: 1 }]);
  origin.told.length = 0;
  await runs.close();
  expect(origin.told.flat()).toHaveLength(RUNS_MAX_AT_GATEWAY);
});
