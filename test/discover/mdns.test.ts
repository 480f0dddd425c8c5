import { createSocket } from 'node:dgram';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { MulticastSocket } from '../../src/discover/multicast.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { PEERS_MAX } from '../../src/core/limits.ts';
import { NAMES_PER_ADDRESS } from '../../src/discover/crowd.ts';
import { startMdns } from '../../src/discover/mdns.ts';
import { ManualClock } from '../support/manual-clock.ts';
import type { MdnsOptions } from '../../src/discover/mdns.ts';
import type { Discovery } from '../../src/discover/types.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

// One port for each test: tests do not hear each other, nor the machine's own responder.
let udpPort = 0;
async function host(port: number, more: Partial<MdnsOptions> = {}): Promise<Discovery & { readonly instance: string }> {
  const instance = randomUUID();
  const discovery = await startMdns({ instance, port, role: 'agent', interface: '127.0.0.1', clock: systemClock, udpPort, ...more });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= discovery.close());
  closing.push(close);
  return { instance, close, ask: () => { discovery.ask(); }, get seen() { return discovery.seen; } };
}

/** As long as a message may be: a chain of pointers, and records whose names begin at its end. */
function pointers(): Buffer {
  const [steps, records] = [2_950, 255];
  const bytes = Buffer.alloc(23 + 2 * steps + 12 * records);
  bytes.writeUInt16BE(0x8400, 2);
  bytes.writeUInt16BE(records + 1, 6);
  // A record of the root of type NULL, whose content is the chain.
  bytes.writeUInt16BE(10, 13);
  bytes.writeUInt16BE(1, 15);
  bytes.writeUInt16BE(2 * steps, 21);
  for (let step = 0; step < steps; step++) bytes.writeUInt16BE(0xc000 | (step === 0 ? 12 : 21 + 2 * step), 23 + 2 * step);
  for (let record = 0; record < records; record++) bytes.writeUInt16BE(0xc000 | (21 + 2 * steps), 23 + 2 * steps + 12 * record);
  return bytes;
}

describe('hosts on one LAN', () => {
  it('see each other, whoever was there first, and what each is', async () => {
    udpPort = randomInt(10_000, 32_000);
    const one = await host(8001);
    const two = await host(8002, { role: 'gateway' });
    const three = await host(8003);
    await expect.poll(() => one.seen.length).toBe(2);
    expect(new Set(one.seen.map(({ url, role }) => `${url} ${role}`))).toEqual(new Set(['http://127.0.0.1:8002 gateway', 'http://127.0.0.1:8003 agent']));
    await expect.poll(() => three.seen.map(({ instance }) => instance).sort()).toEqual([one.instance, two.instance].sort());
  });

  it('are nothing to each other when one of them has certificates and the other has none', async () => {
    udpPort = randomInt(10_000, 32_000);
    const [plain, other] = [await host(8001), await host(8002)];
    const [secure, another] = [await host(8003, { secure: true }), await host(8004, { secure: true, role: 'gateway' })];
    await expect.poll(() => secure.seen).toEqual([{ instance: another.instance, url: 'https://127.0.0.1:8004', role: 'gateway' }]);
    await expect.poll(() => plain.seen).toEqual([{ instance: other.instance, url: 'http://127.0.0.1:8002', role: 'agent' }]);
  });

  it('say goodbye', async () => {
    udpPort = randomInt(10_000, 32_000);
    const one = await host(8001);
    const two = await host(8002);
    await expect.poll(() => one.seen.length).toBe(1);
    await two.close();
    await expect.poll(() => one.seen.length).toBe(0);
  });

  it('can be found by standard tools, and tell them nothing of products', async () => {
    udpPort = randomInt(10_000, 32_000);
    const one = await host(8001, { secure: true });
    const heard: string[] = [];
    const browser = await MulticastSocket.open({ interface: '127.0.0.1', port: udpPort, clock: systemClock, onMessage: (message) => heard.push(JSON.stringify(message.answers)) });
    closing.push(() => browser.close());
    await expect.poll(async () => {
      await browser.send({ type: 'query', questions: [{ name: '_services._dns-sd._udp.local', type: 'PTR' }] });
      return heard.some((text) => text.includes('_shoal._tcp.local') && text.includes(one.instance));
    }).toBe(true);
    // Nothing but a random name, where it listens, its role, and that it speaks TLS.
    const said = new Set(heard.flatMap((text) => (JSON.parse(text) as readonly { readonly type: string; readonly data: unknown }[]).filter(({ type }) => type === 'TXT').map(({ data }) => JSON.stringify([data].flat().map((each) => Buffer.from((each as { readonly data: readonly number[] }).data).toString())))));
    expect([...said]).toEqual([JSON.stringify(['txtvers=1', 'role=agent', 'tls=1'])]);
  });

  it('ask as rarely as there are many, and not when somebody else has just asked', async () => {
    udpPort = randomInt(10_000, 32_000);
    const clock = new ManualClock();
    const one = await host(8001, { clock });
    let [questions, markers] = [0, 0];
    const neighbours = await MulticastSocket.open({
      interface: '127.0.0.1', port: udpPort, clock: systemClock,
      onMessage: ({ type, questions: asked }) => {
        if (type !== 'query') return;
        if (asked?.some(({ name }) => name === 'marker.local') === true) markers++;
        else questions++;
      },
    });
    closing.push(() => neighbours.close());
    // As many as a large site has, 25 at an address.
    const names = Array.from({ length: 200 }, () => randomUUID());
    for (let at = 0; at < names.length; at += 25) {
      const machine = await MulticastSocket.open({ interface: `127.0.0.${String(2 + at / 25)}`, port: udpPort, clock: systemClock, onMessage: () => undefined });
      closing.push(() => machine.close());
      await machine.send({ type: 'response', answers: names.slice(at, at + 25).map((name, each) => ({ name: `${name}._shoal._tcp.local`, type: 'SRV' as const, ttl: 120, data: { port: 9 + each, target: 'x.local', priority: 0, weight: 0 } })) });
    }
    await expect.poll(() => one.seen.length).toBe(200);
    const heard = async (): Promise<number> => {
      // What was sent before this has been heard when this has.
      const before = markers;
      await neighbours.send({ type: 'query', questions: [{ name: 'marker.local', type: 'A' }] });
      await expect.poll(() => markers).toBe(before + 1);
      return questions;
    };
    const since = await heard();
    // An update of a minute and a half, in which it looks around every three seconds: 40 s apart, where each of 200 would answer.
    for (let ms = 0; ms < 90_000; ms += 3_000) {
      clock.advance(3_000);
      one.ask();
    }
    expect((await heard()) - since).toBeLessThanOrEqual(3);
    const settled = await heard();
    clock.advance(41_000);
    await neighbours.send({ type: 'query', questions: [{ name: '_shoal._tcp.local', type: 'PTR' }] });
    await heard();
    for (let times = 0; times < 10; times++) one.ask();
    // What the others asked; advancing the clock may have let it ask once for itself.
    expect((await heard()) - settled - 1).toBeLessThanOrEqual(1);
  });

  it('are not troubled by noise, lies and floods', async () => {
    udpPort = randomInt(10_000, 32_000);
    const one = await host(8001);
    const stranger = createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise<void>((resolve) => { stranger.bind(0, '127.0.0.1', resolve); });
    stranger.setMulticastInterface('127.0.0.1');
    // Not faster than it is read: what overflows a socket's buffer tests the kernel.
    const send = (bytes: Uint8Array): Promise<void> => new Promise((resolve) => { stranger.send(bytes, udpPort, '224.0.0.251', () => { setImmediate(resolve); }); });
    for (let at = 0; at < 200; at++) await send(randomBytes(1 + (at * 7) % 600));
    // A header that claims more than any message holds: making room for it is what costs.
    const claims = Buffer.alloc(12, 0xff);
    claims[2] = 0;
    for (let at = 0; at < 200; at++) await send(claims);
    // Names that point at each other: thousands of steps for each of 256 records.
    for (let at = 0; at < 50; at++) await send(pointers());
    const liar = await MulticastSocket.open({ interface: '127.0.0.66', port: udpPort, clock: systemClock, onMessage: () => undefined });
    closing.push(() => liar.close());
    const claim = (names: readonly string[], port: number): Promise<void> =>
      liar.send({ type: 'response', answers: names.map((name, each) => ({ name: `${name}._shoal._tcp.local`, type: 'SRV' as const, ttl: 120, data: { port: port === 0 ? 0 : port + each, target: 'x.local', priority: 0, weight: 0 } })) }).then(() => new Promise((resolve) => { setImmediate(resolve); }));
    for (const name of ['../../etc', '', 'a b', 'x'.repeat(60)]) await claim([name], 0);
    // Said again, like everything on a LAN: what came in the second of all that work is not heard.
    await expect.poll(async () => {
      for (let at = 0; at < PEERS_MAX + 200; at += 50) await claim(Array.from({ length: 50 }, (_, each) => `i${String(at + each)}`), 9 + at);
      return one.seen.length;
    }, { interval: 200 }).toBe(NAMES_PER_ADDRESS);
    expect(one.seen.every(({ url }) => /^http:\/\/127\.0\.0\.66:\d+$/.test(url))).toBe(true);
    // And an honest one is still found.
    const two = await host(8002);
    await expect.poll(() => one.seen.some(({ instance }) => instance === two.instance)).toBe(true);
    stranger.close();
  });

  it('give no work without end to whoever hears them', async () => {
    // Each look at the time is a millisecond later: a second's work is a hundred of them.
    let now = 0;
    const clock = { now: () => now++, after: () => () => undefined };
    udpPort = randomInt(10_000, 32_000);
    let heard = 0;
    const listener = await MulticastSocket.open({ interface: '127.0.0.1', port: udpPort, clock, onMessage: () => { heard++; } });
    closing.push(() => listener.close());
    const speaker = await MulticastSocket.open({ interface: '127.0.0.1', port: udpPort, clock: systemClock, onMessage: () => undefined });
    closing.push(() => speaker.close());
    const loud = async (times: number): Promise<void> => { for (let at = 0; at < times; at++) await speaker.send({ type: 'query', questions: [{ name: 'x.local', type: 'A' }] }).then(() => new Promise((resolve) => { setImmediate(resolve); })); };
    await loud(50);
    await expect.poll(() => heard).toBe(50);
    await loud(150);
    await expect.poll(() => now).toBeGreaterThan(200);
    expect(heard).toBeLessThanOrEqual(110);
    // Another second, and it listens again.
    now = 2_000;
    const before = heard;
    await loud(1);
    await expect.poll(() => heard).toBe(before + 1);
  });

  it('say nothing more when they have ended, and do not stumble over who still asks', async () => {
    udpPort = randomInt(10_000, 32_000);
    const one = await host(8001);
    await one.close();
    one.ask();
    await new Promise((resolve) => { setImmediate(resolve); });
  });

  it('take a gateway for one when it has proved it, and ask one that has not no more than once a minute', async () => {
    udpPort = randomInt(10_000, 32_000);
    const asked: string[] = [];
    const device = await host(8001, { secure: true, proves: (url) => {
      asked.push(url);
      return url.endsWith(':8002') ? Promise.resolve(true) : Promise.reject(new Error('no member of the fleet'));
    } });
    const gateway = await host(8002, { secure: true, role: 'gateway' });
    const liar = await host(8003, { secure: true, role: 'gateway' });
    const agent = await host(8004, { secure: true });
    await expect.poll(() => device.seen.map(({ instance }) => instance).sort()).toEqual([gateway.instance, agent.instance].sort());
    await expect.poll(() => asked.length).toBe(2);
    for (let turn = 0; turn < 5; turn++) {
      liar.ask();
      await new Promise((resolve) => { setTimeout(resolve, 300); });
    }
    expect(asked.sort()).toEqual(['https://127.0.0.1:8002', 'https://127.0.0.1:8003']);
    expect(device.seen.map(({ instance }) => instance)).not.toContain(liar.instance);
  });
});
