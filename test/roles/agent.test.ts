import { randomInt } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { startAgent } from '../../src/roles/agent/agent.ts';
import type { Agent, AgentEvent, AgentOptions } from '../../src/roles/agent/types.ts';
import { startGateway } from '../../src/roles/gateway.ts';
import { PackCache } from '../../src/store/pack/cache.ts';
import { fetchRelease } from '../../src/roles/fetch.ts';
import { startFleet } from '../support/fleet.ts';
import { livedClock } from '../support/lived-clock.ts';
import type { Fleet } from '../support/fleet.ts';
import { randomBytes } from '../support/random.ts';
import { ask } from '../support/raw-http.ts';
import { TamperingProxy } from '../support/tampering-proxy.ts';

const MiB = 1024 * 1024;
const closing: (() => Promise<unknown>)[] = [];
let fleet: Fleet;
const clock = livedClock();

beforeEach(async () => {
  fleet = await startFleet();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await fleet.close();
});

interface Device {
  readonly agent: Agent;
  readonly events: readonly AgentEvent[];
  readonly errors: readonly unknown[];
  readonly output: string;
  readonly state: string;
  close(): Promise<void>;
}

/** An agent for the product `os` that asks for news when told to, and once at its start. */
async function device(name: string, more: Partial<AgentOptions> = {}): Promise<Device> {
  const events: AgentEvent[] = [];
  const errors: unknown[] = [];
  const [output, state] = [join(fleet.folder, `${name}.img`), join(fleet.folder, `${name}-state`)];
  const agent = await startAgent({
    products: [{ product: 'os', output }],
    origin: fleet.origin, trustedRoot: fleet.trustedRoot, state, version: '0',
    listen: { host: '127.0.0.1', port: 0 },
    pollMs: 3_600_000,
    clock,
    onEvent: (event) => events.push(event),
    onError: (error) => errors.push(error),
    ...more,
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= agent.close());
  closing.push(close);
  return { agent, events, errors, output, state, close };
}

const ledgerOf = ({ agent }: Device): ReturnType<Agent['ledger']>['received'] => agent.ledger().received;
const contentAsked = (): readonly string[] => fleet.proxy.seen.filter((path) => path.includes('/content/'));

/** The origin gives one span and holds all others back until the returned function is called. */
function stuckAfterOneSpan(): () => void {
  let spans = 0;
  const release = Promise.withResolvers<undefined>();
  fleet.proxy.tamper = async ({ path }) => {
    if (path.includes('/spans/') && ++spans > 1) await release.promise;
    return false;
  };
  return () => {
    release.resolve(undefined);
  };
}

/** Spans that a device offers of its first artifact. */
async function heldBy({ agent }: Device): Promise<number | undefined> {
  return (JSON.parse((await ask(agent.url, '/v1/holdings')).body.toString()) as { artifacts: { held: number }[] }).artifacts[0]?.held;
}

describe('an agent', () => {
  it('brings the newest release to its place, and each later one', async () => {
    const first = randomBytes(5 * MiB);
    const second = Buffer.concat([first.subarray(0, 3 * MiB), randomBytes(100_000), first.subarray(3 * MiB)]);
    await fleet.publish('os', '1', { image: first });
    const one = await device('one');
    await one.agent.poll();
    expect(Buffer.compare(await readFile(one.output), first)).toBe(0);

    await fleet.publish('os', '2', { image: second });
    await one.agent.poll();
    expect(Buffer.compare(await readFile(one.output), second)).toBe(0);
    expect(one.events.filter(({ event }) => event === 'installed')).toMatchObject([{ manifest: { version: '1' } }, { manifest: { version: '2' } }]);
    // The second took from the first what it could: chunks of up to 256 KiB are lost at the edge.
    expect(ledgerOf(one).local).toBeGreaterThan(4.4 * MiB);
    expect(one.errors).toEqual([]);
  });

  it('asks for nothing but news while there is none, also after a restart', async () => {
    await fleet.publish('os', '1', { image: randomBytes(3 * MiB) });
    const before = await device('one');
    await before.agent.poll();
    await before.close();
    fleet.proxy.seen.length = 0;
    const after = await device('one');
    await after.agent.poll();
    await after.agent.poll();
    expect(contentAsked()).toEqual([]);
    expect(after.events).toEqual([]);
    const [held] = (JSON.parse((await ask(after.agent.url, '/v1/holdings')).body.toString()) as { artifacts: { spans: number; held: number }[] }).artifacts;
    expect(held?.held).toBe(held?.spans);
  });

  it('mends what was damaged on the device, and brings only what is wrong over the network', async () => {
    const image = randomBytes(6 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one');
    await one.agent.poll();
    const damaged = Buffer.from(image);
    damaged.fill(0, 2 * MiB, 2 * MiB + 1000);
    await writeFile(one.output, damaged);
    await one.agent.poll();
    expect(Buffer.compare(await readFile(one.output), image)).toBe(0);
    expect(ledgerOf(one).origin).toBeLessThan(6.1 * MiB + 0.6 * MiB);
  });

  it('takes a file that has what it should for what it is, without a byte of content', async () => {
    const image = randomBytes(3 * MiB);
    await fleet.publish('os', '1', { image });
    await writeFile(join(fleet.folder, 'one.img'), image);
    const one = await device('one');
    await one.agent.poll();
    expect(ledgerOf(one)).toMatchObject({ local: image.byteLength, written: 0 });
    expect(contentAsked().filter((path) => path.includes('/spans/'))).toEqual([]);
    // It serves it all the same: the index was fetched.
    const { manifest } = one.events.find((each) => each.event === 'installed') ?? { manifest: undefined };
    const span = await ask(one.agent.url, wire.span({ namespace: 'default', root: manifest?.artifacts[0]?.root ?? ('' as never) }, 0));
    expect(span.status).toBe(200);
  });

  it('fetches once what a release has under two names', async () => {
    const image = randomBytes(4 * MiB);
    await fleet.publish('os', '1', { image, rescue: image });
    const one = await device('one');
    await expect.poll(() => one.events.at(-1)?.event, { timeout: 30_000 }).toBe('installed');
    for (const name of ['image', 'rescue']) expect(await readFile(join(one.output, name))).toEqual(image);
    expect(ledgerOf(one)).toMatchObject({ local: 4 * MiB });
    expect(new Set(contentAsked()).size).toBe(contentAsked().length);
    expect(ledgerOf(one).origin).toBeLessThan(4 * MiB * 1.02);
  });

  it('brings several artifacts into a directory, and serves each', async () => {
    const [kernel, rootfs] = [randomBytes(1 * MiB), randomBytes(2 * MiB)];
    await fleet.publish('os', '1', { kernel, rootfs });
    const one = await device('one');
    await one.agent.poll();
    expect(Buffer.compare(await readFile(join(one.output, 'kernel')), kernel)).toBe(0);
    expect(Buffer.compare(await readFile(join(one.output, 'rootfs')), rootfs)).toBe(0);
    expect((JSON.parse((await ask(one.agent.url, '/v1/holdings')).body.toString()) as { artifacts: unknown[] }).artifacts).toHaveLength(2);
    expect((await readdir(join(one.state, 'pages'))).length).toBe(2);

    // The next one changes a part: the other is neither fetched nor written again, and both show at once.
    const later = randomBytes(1 * MiB);
    await fleet.publish('os', '2', { kernel: later, rootfs });
    const { written } = ledgerOf(one);
    await one.agent.poll();
    expect(Buffer.compare(await readFile(join(one.output, 'kernel')), later)).toBe(0);
    expect(Buffer.compare(await readFile(join(one.output, 'rootfs')), rootfs)).toBe(0);
    expect(ledgerOf(one).written - written).toBe(later.byteLength);
    expect((JSON.parse((await ask(one.agent.url, '/v1/holdings')).body.toString()) as { artifacts: unknown[] }).artifacts).toHaveLength(2);
  });

  it('is alone on its state directory', async () => {
    await device('one');
    await expect(device('one')).rejects.toMatchObject({ code: 'STATE_BUSY' });
  });

  it('goes on with its other products when one cannot be had', async () => {
    const app = randomBytes(1 * MiB);
    await fleet.publish('app', '1', { image: app });
    const output = join(fleet.folder, 'app.img');
    const one = await device('one', { products: [{ product: 'os', output: join(fleet.folder, 'os.img') }, { product: 'app', output }] });
    await one.agent.poll();
    expect(Buffer.compare(await readFile(output), app)).toBe(0);
    expect(one.errors).toContainEqual(expect.objectContaining({ code: 'NO_SUCH_RELEASE' }));
  });

  it('breaks off at its end, and the next one goes on from there', async () => {
    const image = randomBytes(12 * MiB);
    await fleet.publish('os', '1', { image });
    stuckAfterOneSpan();
    const before = await device('one');
    await expect.poll(() => heldBy(before)).toBeGreaterThan(0);
    await before.close();
    fleet.proxy.tamper = () => false;
    const after = await device('one');
    await after.agent.poll();
    expect(Buffer.compare(await readFile(after.output), image)).toBe(0);
    const { local, origin } = ledgerOf(after);
    expect(local).toBeGreaterThan(0);
    expect(origin).toBeLessThan(image.byteLength - local + 0.1 * MiB);
  });
});

describe('neighbours', () => {
  it('serve each other: what one has, the origin is not asked for again', async () => {
    const image = randomBytes(6 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one', { site: 'hall' });
    await one.agent.poll();
    fleet.proxy.seen.length = 0;
    const two = await device('two', { site: 'hall' });
    await two.agent.poll();
    expect(Buffer.compare(await readFile(two.output), image)).toBe(0);
    expect(contentAsked()).toEqual([]);
    expect(ledgerOf(two).peer).toBeGreaterThan(image.byteLength);
    expect(one.agent.ledger().served.content).toBeGreaterThan(image.byteLength);
  });

  it('pass on trust files as well: with nobody else in reach, an update goes from device to device', async () => {
    const image = randomBytes(3 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one');
    await one.agent.poll();
    const gone = 'http://127.0.0.1:9';
    const two = await device('two', { origin: gone, peers: [one.agent.url] });
    await two.agent.poll();
    expect(Buffer.compare(await readFile(two.output), image)).toBe(0);
    // And on from there.
    await one.close();
    const three = await device('three', { origin: gone, peers: [two.agent.url] });
    await three.agent.poll();
    expect(Buffer.compare(await readFile(three.output), image)).toBe(0);
  });

  it('find each other, and a gateway, on the LAN with nothing but the address of the origin', async () => {
    const image = randomBytes(6 * MiB);
    await fleet.publish('os', '1', { image });
    // Their sites differ: no list tells them of each other. A port of its own, so that tests do not hear each other.
    const mdns = { interface: '127.0.0.1', udpPort: randomInt(10_000, 32_000) };
    const one = await device('one', { site: 'a', mdns });
    await one.agent.poll();
    const two = await device('two', { site: 'b', mdns, origin: fleet.origin });
    await expect.poll(async () => (await readdir(fleet.folder)).includes('two.img')).toBe(true);
    await two.agent.poll();
    expect(Buffer.compare(await readFile(two.output), image)).toBe(0);

    // A gateway joins, and is used without a word to anybody.
    const gateway = await startGateway({ origin: fleet.origin, directory: join(fleet.folder, 'gateway'), cache: await PackCache.open(join(fleet.folder, 'gateway'), { maxBytes: 1e9 }), listen: { host: '127.0.0.1', port: 0 }, version: '0', pollMs: 0, mdns, clock });
    closing.push(() => gateway.close());
    // They have heard of it before there is anything to fetch.
    await expect.poll(() => Promise.all([one, two].map(async ({ agent }) => {
      await agent.poll();
      return (await ask(agent.url, '/metrics')).body.includes('shoal_neighbours{role="gateway"} 1');
    }))).toEqual([true, true]);
    const next = randomBytes(6 * MiB);
    await fleet.publish('os', '2', { image: next });
    await expect.poll(async () => {
      await Promise.all([one.agent.poll(), two.agent.poll()]);
      return Buffer.compare(await readFile(two.output), next);
    }).toBe(0);
    expect(ledgerOf(one).gateway + ledgerOf(two).gateway).toBeGreaterThan(0);
    // What one had of the first release, or the gateway brought of the second, crossed once; see what the site paid.
    expect(ledgerOf(two).peer + ledgerOf(two).gateway).toBeGreaterThan(6 * MiB);
  });

  it('serve a command that asks their site', async () => {
    const image = randomBytes(3 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one', { site: 'hall' });
    await one.agent.poll();
    const output = join(fleet.folder, 'fetched');
    const { ledger } = await fetchRelease({ product: 'os', origin: fleet.origin, site: 'hall', trustedRoot: fleet.trustedRoot, state: join(fleet.folder, 'fetch-state'), output, clock });
    expect(Buffer.compare(await readFile(output), image)).toBe(0);
    expect(ledger).toMatchObject({ origin: 0 });
  });

  it('fetch no faster than they may, from neighbours and over the backhaul, and nothing twice for that', async () => {
    const image = randomBytes(2 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one', { site: 'hall' });
    await one.agent.poll();
    const rates = { otherwise: 1.5 * MiB, daily: [{ from: 0, until: 0, rate: 1 * MiB }] };
    for (const [traffic, more] of [[{ backhaul: rates }, {}], [{ download: rates }, { site: 'hall' }]] as const) {
      const output = join(fleet.folder, `limited-${Object.keys(traffic).join('')}`);
      const { ledger } = await fetchRelease({ product: 'os', origin: fleet.origin, ...more, trustedRoot: fleet.trustedRoot, state: `${output}-state`, output, traffic, clock });
      expect(Buffer.compare(await readFile(output), image)).toBe(0);
      // The day's rate, which holds around the clock; a quarter of a second is saved up, and what each of three connections read last is not waited for.
      expect(ledger.seconds).toBeGreaterThan(2 - 0.25 - 3 * 0.25 - 0.1);
      expect(ledger.peer + ledger.origin).toBeLessThan(1.05 * 2 * MiB);
    }
  });

  it('of another site are nobody\'s neighbours', async () => {
    await fleet.publish('os', '1', { image: randomBytes(2 * MiB) });
    const one = await device('one', { site: 'hall' });
    await one.agent.poll();
    const two = await device('two', { site: 'yard' });
    await two.agent.poll();
    expect(ledgerOf(two)).toMatchObject({ peer: 0 });
  });

  it('share the backhaul without a gateway: together they cross it little more than once', async () => {
    const image = randomBytes(40 * MiB);
    const { artifacts } = await fleet.publish('os', '1', { image });
    let crossed = 0;
    let requests = 0;
    // A link on which a span takes a while, so that everybody wants it before anybody has it.
    fleet.proxy.tamper = async ({ path, body }) => {
      if (!path.includes('/spans/')) return false;
      requests++;
      crossed += body.byteLength;
      await new Promise((resolve) => { clock.after(1_500, () => { resolve(undefined); }); });
      return false;
    };
    const devices = await Promise.all(['one', 'two', 'three', 'four'].map((name) => device(name)));
    await Promise.all(devices.map(({ agent }) => agent.poll()));
    for (const { output } of devices) expect(Buffer.compare(await readFile(output), image)).toBe(0);
    const spans = Number((await ask(devices[0]?.agent.url ?? '', wire.holding({ namespace: 'default', root: artifacts[0]?.root ?? ('' as never) }))).headers['shoal-spans']);
    // Beyond once: three spans at most for each device that set out before it knew the others.
    expect(requests).toBeLessThanOrEqual(spans + 3 * 3);
    expect(crossed).toBeLessThan(4 * image.byteLength / 2);
  });

  it('serve what they have while they are still downloading', async () => {
    // Three spans at least, of 4 MiB at most.
    const image = randomBytes(12 * MiB);
    const { artifacts } = await fleet.publish('os', '1', { image });
    const key = { namespace: 'default', root: artifacts[0]?.root ?? ('' as never) };
    const release = stuckAfterOneSpan();
    const one = await device('one');
    await expect.poll(() => heldBy(one)).toBeGreaterThan(0);
    const holding = (await ask(one.agent.url, wire.holding(key))).body;
    const span = [...holding].flatMap((byte, at) => [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte & (1 << bit)) !== 0).map((bit) => at * 8 + bit))[0] ?? 0;
    const answer = await ask(one.agent.url, wire.span(key, span));
    expect(answer.status).toBe(200);
    expect(image.includes(answer.body)).toBe(true);
    release();
    await one.agent.poll();
    expect(Buffer.compare(await readFile(one.output), image)).toBe(0);
  });

  it('that lie are found out once, and remembered over a restart', async () => {
    await fleet.publish('os', '1', { image: randomBytes(3 * MiB) });
    const honest = await device('honest', { site: 'elsewhere' });
    await honest.agent.poll();
    const liar = new TamperingProxy();
    const url = await liar.start(honest.agent.url);
    closing.push(() => liar.close());
    liar.tamper = (passing, response) => {
      if (!passing.path.includes('/spans/')) return false;
      passing.body[100] = (passing.body[100] ?? 0) ^ 1;
      response.writeHead(200, passing.headers).end(passing.body);
      return true;
    };
    const first = await device('one', { peers: [url] });
    await first.agent.poll();
    expect(first.events.filter(({ event }) => event === 'lie')).toMatchObject([{ evidence: { source: url, code: 'CHUNK_MISMATCH' } }]);
    await first.close();

    await fleet.publish('os', '2', { image: randomBytes(3 * MiB) });
    await honest.agent.poll();
    liar.seen.length = 0;
    const second = await device('one', { peers: [url] });
    await second.agent.poll();
    expect(second.events).toMatchObject([{ event: 'updating' }, { event: 'installed' }]);
    expect(liar.seen).toEqual([]);
  });

  it('that are strangers with strange addresses do no harm', async () => {
    const image = randomBytes(2 * MiB);
    const { artifacts } = await fleet.publish('os', '1', { image });
    fleet.proxy.tamper = ({ path }, response) => {
      if (!path.endsWith('/peers')) return false;
      const roots = [artifacts[0]?.root];
      const peers = ['file:///etc/passwd', 'ftp://x', 'http://', 'http://127.0.0.1:1', 7, null].map((url, at) => ({ instance: `i${String(at)}`, url, roots }));
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ peers: [...peers, 'x', null, { instance: '../..', url: 'http://127.0.0.1:2', roots }] }));
      return true;
    };
    const one = await device('one');
    await one.agent.poll();
    expect(Buffer.compare(await readFile(one.output), image)).toBe(0);
  });
});

describe('the state of an agent', () => {
  it('can be lost or damaged: files are looked at again, nothing is fetched twice', async () => {
    const image = randomBytes(3 * MiB);
    await fleet.publish('os', '1', { image });
    const one = await device('one');
    await one.agent.poll();
    await one.close();
    await writeFile(join(one.state, 'installed.json'), '{"format":1,"installed":[{"manifest":{},"files":7}]}');
    await writeFile(join(one.state, 'liars.json'), '[{"at":"x"}, 5');
    await mkdir(join(one.state, 'bases'), { recursive: true });
    fleet.proxy.seen.length = 0;
    const again = await device('one');
    await again.agent.poll();
    expect(ledgerOf(again)).toMatchObject({ local: image.byteLength, written: 0 });
    expect(contentAsked()).toEqual([]);
  });
});
