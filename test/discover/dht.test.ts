import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import type { Clock } from '../../src/core/clock.ts';
import { DHT_MESSAGES_A_SECOND, DHT_WINDOW_MS } from '../../src/core/limits.ts';
import { startDht, startDhtNode } from '../../src/discover/dht.ts';
import type { DhtNode, DhtOptions } from '../../src/discover/dht.ts';
import { SealedSocket } from '../../src/discover/sealed-socket.ts';
import type { Discovery } from '../../src/discover/types.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const SECRET = randomBytes(32);
/** The middle of an hour, so that no window ends while a test runs. */
const NOON = 500_000 * DHT_WINDOW_MS + DHT_WINDOW_MS / 2;
/** Ten times as fast, for hosts ask again after seconds. */
const clock: Clock = { now: () => performance.now() * 10, after: (ms, run) => systemClock.after(ms / 10, run) };
const common = { secret: SECRET, listen: { host: '127.0.0.1', port: 0 }, clock, today: () => NOON };

async function node(more: Partial<DhtOptions> = {}): Promise<DhtNode> {
  const started = await startDhtNode({ ...common, nodes: [], ...more });
  closing.push(() => started.close());
  return started;
}

type Host = Discovery & Pick<DhtNode, 'port' | 'totals'> & { readonly asked: readonly string[] };

/** A host whose HTTP port is `port`; who it is follows from the port of a URL. */
async function host(port: number, bootstrap: DhtNode, more: Partial<DhtOptions> = {}): Promise<Host> {
  const asked: string[] = [];
  const identify: DhtOptions['identify'] = (url) => {
    asked.push(url);
    const at = new URL(url).port;
    return Promise.resolve(at === '9999' ? undefined : { instance: `host-${at}`, role: at === '8000' ? 'gateway' : 'agent' });
  };
  const started = await startDht({ ...common, nodes: [`127.0.0.1:${String(bootstrap.port)}`], site: 'hall-7', port, instance: `host-${String(port)}`, secure: false, identify, ...more });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= started.close());
  closing.push(close);
  return { asked, close, ask: () => { started.ask(); }, port: started.port, totals: started.totals, get seen() { return started.seen; } };
}

const seenBy = ({ seen }: Discovery): string[] => seen.map(({ instance }) => instance).sort();

describe('hosts of a site', () => {
  it('find each other through any node of the fleet, and not those of other sites or without certificates', async () => {
    const first = await node();
    const one = await host(8001, first);
    const gateway = await host(8000, first);
    const elsewhere = await host(8002, first, { site: 'hall-8' });
    const secure = await host(8003, first, { secure: true });
    for (const each of [one, gateway, elsewhere, secure]) await expect.poll(() => { each.ask(); return each.totals.received; }).toBeGreaterThan(0);
    await expect.poll(() => { one.ask(); return one.seen; }).toEqual([{ instance: 'host-8000', role: 'gateway', url: 'http://127.0.0.1:8000' }]);
    await expect.poll(() => { gateway.ask(); return seenBy(gateway); }).toEqual(['host-8001']);
    expect([elsewhere.seen, secure.seen]).toEqual([[], []]);
    expect(secure.asked.every((url) => url.startsWith('https://'))).toBe(true);
  });

  it('go on finding newcomers when the node that they began with is gone', async () => {
    const first = await node();
    const nodes: string[][] = [];
    const one = await host(8001, first, { onNodes: (now) => nodes.push([...now]) });
    const two = await host(8002, first);
    await expect.poll(() => { one.ask(); return seenBy(one); }).toEqual(['host-8002']);
    await expect.poll(() => { two.ask(); return seenBy(two); }).toEqual(['host-8001']);
    await first.close();
    const third = await host(8003, two);
    await expect.poll(() => { third.ask(); return seenBy(third); }).toEqual(['host-8001', 'host-8002']);
    await expect.poll(() => { one.ask(); return seenBy(one); }).toEqual(['host-8002', 'host-8003']);
    // What it remembers is enough to begin with the next time.
    await one.close();
    expect(nodes.at(-1)).toContain(`127.0.0.1:${String(two.port)}`);
  });

  it('count only when they answer for themselves', async () => {
    const first = await node();
    const one = await host(8001, first);
    await host(9999, first);
    await expect.poll(() => { one.ask(); return one.asked; }).toContain('http://127.0.0.1:9999');
    expect(one.seen).toEqual([]);
  });

  it('find each other at the end of an hour though their clocks differ, and not hours apart', async () => {
    const end = 500_001 * DHT_WINDOW_MS;
    const first = await node({ today: () => end });
    const late = await host(8001, first, { today: () => end - 60_000 });
    const early = await host(8002, first, { today: () => end + 60_000 });
    await expect.poll(() => { late.ask(); return seenBy(late); }).toEqual(['host-8002']);
    await expect.poll(() => { early.ask(); return seenBy(early); }).toEqual(['host-8001']);
    const wrong = await host(8003, first, { today: () => end + 3 * DHT_WINDOW_MS });
    const dropped = first.totals.dropped;
    await expect.poll(() => { wrong.ask(); return first.totals.dropped; }).toBeGreaterThan(dropped);
    expect(wrong.seen).toEqual([]);
  });
});

describe('whoever has not got the secret', () => {
  it('is not answered, finds nobody and reads nothing', async () => {
    const first = await node();
    const one = await host(8001, first);
    const two = await host(8002, first);
    await expect.poll(() => { two.ask(); one.ask(); return [seenBy(one), seenBy(two)]; }).toEqual([['host-8002'], ['host-8001']]);
    const stranger = await host(8003, first, { secret: randomBytes(32) });
    const dropped = first.totals.dropped;
    await expect.poll(() => { stranger.ask(); return first.totals.dropped; }).toBeGreaterThan(dropped);
    expect([stranger.totals.received, stranger.seen]).toEqual([0, []]);
    // A plain node of the public kind says hello, and hears nothing.
    const plain = createSocket('udp4');
    closing.push(() => new Promise<void>((resolve) => { plain.close(() => { resolve(); }); }));
    let heard = 0;
    plain.on('message', () => { heard++; });
    const before = first.totals.dropped;
    for (const text of [`d1:ad2:id20:${'a'.repeat(20)}e1:q4:ping1:t2:aa1:y1:qe`, '', 'x', 'y'.repeat(9_000)]) plain.send(text, first.port, '127.0.0.1');
    await expect.poll(() => first.totals.dropped).toBeGreaterThanOrEqual(before + 3);
    expect(heard).toBe(0);
  });

  it('sees datagrams that say nothing of the site and are never the same twice', async () => {
    const ear = createSocket('udp4');
    ear.bind(0, '127.0.0.1');
    await once(ear, 'listening');
    closing.push(() => new Promise<void>((resolve) => { ear.close(() => { resolve(); }); }));
    const heard: Buffer[] = [];
    ear.on('message', (bytes) => heard.push(bytes));
    const talker = await startDht({ ...common, nodes: [`127.0.0.1:${String(ear.address().port)}`], site: 'hall-7', port: 8001, instance: 'host-8001', secure: false, identify: () => Promise.resolve(undefined) });
    closing.push(() => talker.close());
    await expect.poll(() => heard.length).toBeGreaterThan(1);
    for (const bytes of heard) for (const text of ['hall-7', 'get_peers', 'find_node', 'info_hash', 'd1:a']) expect(bytes.includes(text)).toBe(false);
    expect(new Set(heard.map((bytes) => bytes.toString('hex'))).size).toBe(heard.length);
  });

  it('costs a bounded number of attempts to open what it sends', async () => {
    let now = 0;
    const socket = new SealedSocket(SECRET, { now: () => now, after: systemClock.after }, () => NOON);
    const listening = new Promise<void>((resolve) => { socket.bind(0, '127.0.0.1', resolve); });
    await listening;
    closing.push(() => new Promise<void>((resolve) => { socket.once('close', resolve); socket.close(); }));
    const friend = new SealedSocket(SECRET, systemClock, () => NOON);
    await new Promise<void>((resolve) => { friend.bind(0, '127.0.0.1', resolve); });
    closing.push(() => new Promise<void>((resolve) => { friend.once('close', resolve); friend.close(); }));
    const heard: string[] = [];
    socket.on('message', (bytes: Buffer) => heard.push(bytes.toString()));
    const say = (text: string): Promise<void> => new Promise((resolve) => { friend.send(Buffer.from(text), 0, text.length, socket.address().port, '127.0.0.1', () => { resolve(); }); });
    for (let at = 0; at < DHT_MESSAGES_A_SECOND + 50; at++) {
      await say(`${String(at)}`);
      if (at % 50 === 49) await expect.poll(() => heard.length + socket.totals.dropped).toBe(at + 1);
    }
    expect([heard.length, socket.totals.dropped]).toEqual([DHT_MESSAGES_A_SECOND, 50]);
    now = 1_000;
    await say('again');
    await expect.poll(() => heard.at(-1)).toBe('again');
  });

  it('with the secret, cannot stop a node by messages that no node sends', async () => {
    const first = await node();
    const one = await host(8001, first);
    const rogue = new SealedSocket(SECRET, systemClock, () => NOON);
    await new Promise<void>((resolve) => { rogue.bind(0, '127.0.0.1', resolve); });
    closing.push(() => new Promise<void>((resolve) => { rogue.once('close', resolve); rogue.close(); }));
    const id = `2:id20:${'a'.repeat(20)}`;
    const messages = [
      `d1:ad${id}9:info_hash20:${'b'.repeat(20)}4:porti80e5:tokeni5ee1:q13:announce_peer1:t2:aa1:y1:qe`,
      `d1:ad${id}9:info_hashi5ee1:q9:get_peers1:t2:aa1:y1:qe`, `d1:ade1:qi5e1:t2:aa1:y1:qe`, `d1:q4:ping1:t2:aa1:y1:qe`, `d1:ad${id}6:targeti1ee1:q9:find_node1:t2:aa1:y1:qe`,
      `d1:rd${id}e1:t0:1:y1:re`, `d1:eli201e3:abce1:t2:zz1:y1:ee`, 'le', 'i5e', 'de', `d1:ad${id}1:v5000:${'v'.repeat(5000)}5:token3:abce1:q3:put1:t2:aa1:y1:qe`,
    ];
    for (const text of messages) await new Promise<void>((resolve) => { rogue.send(Buffer.from(text), 0, text.length, first.port, '127.0.0.1', () => { resolve(); }); });
    const two = await host(8002, first);
    await expect.poll(() => { one.ask(); two.ask(); return [seenBy(one), seenBy(two)]; }).toEqual([['host-8002'], ['host-8001']]);
  });
});

it('says so when its port is taken', async () => {
  const first = await node();
  await expect(node({ listen: { host: '127.0.0.1', port: first.port } })).rejects.toMatchObject({ code: 'DISCOVERY' });
});
