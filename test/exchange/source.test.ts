import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { HOLDING_ANSWER_MOST_MS, HOLDING_ANSWER_MS, HOLDING_TIMEOUT_MS } from '../../src/core/limits.ts';
import { HttpSource } from '../../src/exchange/source.ts';
import { isLie } from '../../src/exchange/standing.ts';
import { HttpUpstream } from '../../src/exchange/upstream.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { Surface } from '../../src/serve/surface.ts';
import { ManualClock } from '../support/manual-clock.ts';

const key = { namespace: 'default', root: 'ab'.repeat(32) as ObjectId };
const [base, another] = ['01'.repeat(32) as ObjectId, '02'.repeat(32) as ObjectId];
/** Segments of the delta that the neighbour has. */
const SEGMENTS = 11;
const held = new Bitmap(SEGMENTS);
held.add(3);
held.add(10);

let surface: Surface;
let source: HttpSource;
beforeAll(async () => {
  const content: ContentProvider = {
    holdings: () => Promise.resolve([]),
    holding: () => Promise.resolve(undefined),
    page: () => Promise.resolve(undefined),
    delta: () => Promise.resolve(undefined),
    deltaHolding: (_key, from) => Promise.resolve(from === base ? held : undefined),
    span: () => Promise.resolve(undefined),
  };
  surface = await createSurface({ role: 'agent', version: '0', content });
  source = new HttpSource('peer', await surface.listen('127.0.0.1', 0), systemClock);
});
afterAll(async () => {
  await source.close();
  await surface.close(0);
});

describe('what an honest neighbour says that it holds of a delta', () => {
  it('is which segments', async () => {
    expect((await source.deltaHolding(key, base, SEGMENTS))?.encode()).toEqual(held.encode());
  });

  // The same pair, made once more: fewer segments, more, so many more that the answer is longer, and fewer than its bytes have bits.
  it.each([1, SEGMENTS - 1, SEGMENTS + 1, 400])('is nothing of use where its delta was made at another time and this one has %i segments, and no lie', async (segments) => {
    expect(await source.deltaHolding(key, base, segments).catch((error: unknown) => isLie(error))).toBeUndefined();
  });

  it('is nothing where it knows of no such delta, however short an answer would have been', async () => {
    expect(await source.deltaHolding(key, another, 3)).toBeUndefined();
  });
});

describe('a neighbour that does not answer', () => {
  // Over TLS it does not get as far as a question: the handshake is work for it already.
  it.each(['http', 'https'])('is called late, and given ever more time, when it can be reached (%s)', async (scheme) => {
    const clock = new ManualClock();
    const waiting: (() => void)[] = [];
    const slow = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => waiting.shift()?.());
    });
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
    const url = `${scheme}://127.0.0.1:${String((slow.address() as AddressInfo).port)}`;
    // The connections' time-outs are of the real clock, and never reached; how long it is waited for, of this one.
    const late = new HttpSource('peer', url, clock, new HttpUpstream(url, systemClock));
    for (let ms = HOLDING_ANSWER_MS, round = 0; round < 4; round++, ms = Math.min(2 * ms, HOLDING_ANSWER_MOST_MS)) {
      const asked = new Promise<void>((resolve) => waiting.push(resolve));
      let code: unknown;
      let called = 0;
      const holding = late.holding(key, 8, undefined, undefined, () => called++).catch((error: unknown) => (code = (error as { readonly code?: unknown }).code));
      await asked;
      clock.advance(HOLDING_TIMEOUT_MS - 1);
      expect(called).toBe(0);
      clock.advance(1);
      expect(called).toBe(1);
      clock.advance(ms - HOLDING_TIMEOUT_MS - 1);
      await new Promise(setImmediate);
      expect(code).toBeUndefined();
      clock.advance(1);
      await holding;
      expect([code, called]).toEqual(['HTTP_LATE', 1]);
    }
    await late.close();
    slow.close();
  });

  it('is late, and not unreachable, when it takes the connection and ends the handshake because it took too long', async () => {
    const full = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => { socket.destroy(); });
    });
    await new Promise<void>((resolve) => full.listen(0, '127.0.0.1', resolve));
    const url = `https://127.0.0.1:${String((full.address() as AddressInfo).port)}`;
    const late = new HttpSource('peer', url, systemClock);
    await expect(late.holding(key, 8)).rejects.toMatchObject({ code: 'HTTP_LATE' });
    await late.close();
    full.close();
  });

  it('is unreachable when nobody takes the connection', async () => {
    const nobody = new HttpSource('peer', 'http://127.0.0.1:9', systemClock);
    await expect(nobody.holding(key, 8)).rejects.toMatchObject({ code: 'HTTP_CONNECT' });
    await nobody.close();
  });
});
