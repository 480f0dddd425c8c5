import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CERTIFICATE_LIFE_MS, ENROL_REFUSED_MAX } from '../../src/core/limits.ts';
import { API, wire } from '../../src/core/wire.ts';
import type { ContentKey } from '../../src/core/wire.ts';
import { HttpClient } from '../../src/exchange/http.ts';
import { renewDevice } from '../../src/exchange/enroll.ts';
import { Credentials } from '../../src/identity/credentials.ts';
import type { Fleet } from '../../src/identity/fleet.ts';
import { fileIdentityKey, newKeyPair, spkiOf, statement } from '../../src/identity/key.ts';
import { FleetClient } from '../../src/identity/tls.ts';
import { startAgent } from '../../src/roles/agent/agent.ts';
import type { Agent, AgentOptions } from '../../src/roles/agent/types.ts';
import { fetchRelease } from '../../src/roles/fetch.ts';
import { enrol, makeFleet, openFleet } from '../../src/roles/fleet.ts';
import { startGateway } from '../../src/roles/gateway.ts';
import type { Gateway } from '../../src/roles/gateway.ts';
import { startHomeOrigin } from '../../src/roles/home-origin.ts';
import type { Origin } from '../../src/roles/origin.ts';
import { publishFiles } from '../../src/roles/publish.ts';
import { nodeFiles } from '../../src/store/files.ts';
import { PackCache } from '../../src/store/pack/cache.ts';
import { trustHome } from '../../src/trust/repository/home.ts';
import { askedForNews } from '../../src/plan/polling.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { makeMember, makeFleet as otherFleet } from '../support/fleet-tls.ts';
import { livedClock } from '../support/lived-clock.ts';
import { randomBytes } from '../support/random.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const LISTEN = { host: '127.0.0.1', port: 0 } as const;
let folder: string;
let home: TrustHome;
let fleet: Fleet;
let foreign: Fleet;
let origin: Origin;
let trustedRoot: Uint8Array;
let key: ContentKey;
const image = randomBytes(3_000_000);
const clock = livedClock();
const closing: (() => Promise<unknown>)[] = [];
let serial = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-member-'));
  home = trustHome(join(folder, 'home'));
  await initHome(home);
  await makeFleet(home);
  fleet = (await openFleet(home, false)) as Fleet;
  foreign = await otherFleet(join(folder, 'foreign'));
  await writeFile(join(folder, 'image'), image);
  const { manifest } = await publishFiles({ home: home.directory, product: 'os', version: '1', artifacts: [{ name: 'image', path: join(folder, 'image') }], level: 1 });
  await publishFiles({ home: home.directory, product: 'secret', version: '7', artifacts: [{ name: 'image', path: join(folder, 'image') }], level: 1 });
  key = { namespace: manifest.namespace, root: manifest.artifacts[0]?.root as ContentKey['root'] };
  origin = await startHomeOrigin({ home: home.directory, listen: LISTEN, version: '1', tls: true });
  trustedRoot = await readFile(home.paths.trustRoot);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  fleet.close();
  foreign.close();
  await origin.close();
  await rm(folder, { recursive: true });
});

/** A directory with an identity, enrolled over the wire. */
async function identity(scope: { readonly role?: 'agent' | 'gateway' | 'operator'; readonly site?: string; readonly products?: readonly string[] | 'all' } = {}): Promise<string> {
  const { role = 'agent', products = ['os'] } = scope;
  const site = role === 'gateway' ? scope.site : (scope.site ?? 'hall');
  const { text } = fleet.newToken({ role, site, products, uses: 1, lifeMs: 3_600_000, note: '' });
  const directory = join(folder, `identity-${String(++serial)}`);
  await enrol({ origin: origin.url, token: text, identity: directory });
  return directory;
}

async function agentOf(more: Partial<AgentOptions>): Promise<Agent & { readonly output: string; readonly errors: readonly unknown[] }> {
  const name = `device-${String(++serial)}`;
  const errors: unknown[] = [];
  const output = join(folder, `${name}.img`);
  const agent = await startAgent({
    products: [{ product: 'os', output }], origin: origin.url, trustedRoot, state: join(folder, name), version: '1', listen: LISTEN, pollMs: 3_600_000, clock,
    onError: (error) => errors.push(error), ...more,
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= agent.close());
  closing.push(close);
  return { ...agent, output, errors, close };
}

async function gatewayOf(directory: string, more: { readonly origin?: string } = {}): Promise<Gateway> {
  const at = join(folder, `cache-${String(++serial)}`);
  const gateway = await startGateway({ origin: origin.url, directory: at, cache: await PackCache.open(at, { maxBytes: 100_000_000 }), listen: LISTEN, version: '1', pollMs: 0, identity: directory, clock, ...more });
  closing.push(() => gateway.close());
  return gateway;
}

const credentialsOf = (directory: string): Promise<Credentials> => Credentials.open(nodeFiles, directory, Date.now);

async function clientWith(directory: string): Promise<HttpClient> {
  const client = new HttpClient({ clock, tls: new FleetClient(await credentialsOf(directory)).optionsFor('neighbour') });
  closing.push(() => Promise.resolve(client.close()));
  return client;
}

/** Every byte that comes back before the connection ends. */
async function heard(url: string, options: tls.ConnectionOptions | undefined, request: string): Promise<string> {
  const port = Number(new URL(url).port);
  const socket = options === undefined ? net.connect(port, '127.0.0.1') : tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  let text = '';
  socket.on('data', (bytes: Buffer) => { text += bytes.toString('latin1'); });
  socket.on('error', () => undefined);
  socket.write(request);
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

describe('a fleet with certificates', () => {
  it('updates over mutual TLS through a gateway and from a neighbour, and counts one copy', async () => {
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }));
    const one = await agentOf({ identity: await identity(), gateway: gateway.url });
    await one.poll();
    expect([one.url, gateway.url, origin.url].map((url) => new URL(url).protocol)).toEqual(['https:', 'https:', 'https:']);
    expect(Buffer.compare(await readFile(one.output), image)).toBe(0);
    const two = await agentOf({ identity: await identity(), gateway: gateway.url, peers: [one.url] });
    await two.poll();
    expect(Buffer.compare(await readFile(two.output), image)).toBe(0);
    const { peer, gateway: nearby, origin: far } = two.ledger().received;
    expect([peer > 0, peer + nearby > image.byteLength, far]).toEqual([true, true, 0]);
    expect(gateway.ledger().upstream.content).toBeLessThan(1.1 * image.byteLength);
    const output = join(folder, 'fetched');
    const { ledger } = await fetchRelease({ product: 'os', origin: origin.url, gateway: gateway.url, site: 'hall', identity: await identity(), trustedRoot, state: join(folder, 'fetch-state'), output, clock });
    expect([ledger.origin, Buffer.compare(await readFile(output), image)]).toEqual([0, 0]);
    expect([...one.errors, ...two.errors]).toEqual([]);
  });

  it('tells strangers nothing, at an agent, a gateway and an origin, and slows no one', async () => {
    const revoked = await identity();
    await fleet.revoke([(await credentialsOf(revoked)).holder.device], 'a test');
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }));
    const agent = await agentOf({ identity: await identity(), gateway: gateway.url });
    await agent.poll();
    const listed = await credentialsOf(await identity());
    const of = ({ client }: { readonly client: { readonly key: string; readonly cert: string } | undefined }): tls.ConnectionOptions => ({ key: client?.key, cert: client?.cert });
    const strangers: Readonly<Record<string, tls.ConnectionOptions | undefined>> = {
      'plain TCP': undefined,
      'no certificate': {},
      'another fleet': of(await makeMember(foreign, { role: 'agent', site: 'hall', products: ['os'] })),
      'an expired one': of(await makeMember(fleet, { role: 'agent', site: 'hall', products: 'all' }, Date.now() - CERTIFICATE_LIFE_MS - 60_000)),
      'a revoked one': of(await credentialsOf(revoked)),
    };
    // The gateway and the agent hear of the revocation as they talk; the origin looks every five seconds.
    await expect.poll(async () => {
      await agent.poll();
      return (await Promise.all([agent, gateway, origin].map(({ url }) => heard(url, strangers['a revoked one'], 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')))).join('');
    }, { interval: 200 }).toBe('');
    const paths = [`${API}/health`, '/metrics', `${API}/holdings`, wire.span(key, 0), wire.artifact(key), `${wire.metadata}/timestamp.json`, `${wire.metadata}/1.root.json`, wire.revocations, '/openapi.json', wire.uploads];
    for (const [host, { url }] of Object.entries({ agent, gateway, origin })) {
      for (const [name, options] of Object.entries(strangers)) {
        for (const path of paths) expect([host, name, path, await heard(url, options, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)]).toEqual([host, name, path, '']);
        for (const bad of ['BREW / HTCPCP/1.0\r\n\r\n', 'x'.repeat(40_000)]) expect([host, name, await heard(url, options, bad)]).toEqual([host, name, '']);
      }
      // The same is answered to a member.
      expect(await heard(url, of(listed), `GET ${wire.metadata}/timestamp.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  it('keeps products apart: who knows the root of an artifact has nothing of it', async () => {
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }));
    const agent = await agentOf({ identity: await identity(), gateway: gateway.url });
    await agent.poll();
    // This artifact belongs to os and to secret; maps has no part in it.
    const [maps, os] = [await clientWith(await identity({ products: ['maps'] })), await clientWith(await identity())];
    const status = (client: HttpClient, url: string): Promise<unknown> => client.request(url, 10_000_000).then((answer) => answer.status, (error: { readonly code: string }) => error.code);
    for (const path of [wire.span(key, 0), wire.page(key, key.root), wire.artifact(key), wire.holding(key)]) {
      expect([path, await status(maps, origin.url + path), await status(maps, gateway.url + path), await status(maps, agent.url + path)]).toEqual([path, 404, 404, expect.stringMatching(/^HTTP_/)]);
      expect([path, await status(os, origin.url + path), await status(os, gateway.url + path), await status(os, agent.url + path)]).toEqual([path, 200, 200, 200]);
    }
    for (const host of [origin, gateway]) {
      expect([await status(maps, `${host.url}${wire.metadata}/2.product-os.json`), await status(os, `${host.url}${wire.metadata}/2.product-os.json`)]).toEqual([404, expect.any(Number)]);
      expect(JSON.parse(Buffer.from((await maps.request(`${host.url}${API}/holdings`, 10_000)).body).toString())).toEqual({ instance: expect.any(String), role: host === origin ? 'origin' : 'gateway', artifacts: [] });
    }
    await expect(agentOf({ identity: await identity({ products: ['maps'] }) })).rejects.toMatchObject({ code: 'NOT_ENTITLED' });
    await expect(agentOf({ identity: await identity(), site: 'yard' })).rejects.toMatchObject({ code: 'WRONG_SITE' });
    await expect(gatewayOf(await identity())).rejects.toMatchObject({ code: 'NOT_A_GATEWAY' });
    const elsewhere = await clientWith(await identity({ site: 'yard' }));
    expect([await status(elsewhere, agent.url + wire.span(key, 0)), await status(elsewhere, origin.url + wire.span(key, 0))]).toEqual([expect.stringMatching(/^HTTP_/), 200]);
  });

  it('renews certificates by themselves: in time, after months, and with a clock that is not set', async () => {
    const directory = await identity();
    let today = Date.now();
    const credentials = await Credentials.open(nodeFiles, directory, () => today);
    expect(credentials.due).toBe(false);
    for (const at of [Date.now() + 0.75 * CERTIFICATE_LIFE_MS, Date.now() + 200 * 86_400_000, 0]) {
      today = at;
      const before = credentials.client.cert;
      expect(credentials.due).toBe(true);
      await renewDevice(credentials, origin.url, clock);
      expect(credentials.client.cert).not.toBe(before);
    }
    today = Date.now();
    expect([credentials.due, (await credentialsOf(directory)).client.cert]).toEqual([false, credentials.client.cert]);
    // An agent whose certificate has ended begins with that.
    const old = await identity();
    const text = await readFile(join(old, 'certificates.json'), 'utf8');
    const kept = JSON.parse(text) as Record<string, string>;
    const { holder } = await credentialsOf(old);
    const expired = await makeMember(fleet, holder, Date.now() - 2 * CERTIFICATE_LIFE_MS);
    await writeFile(join(old, 'certificates.json'), JSON.stringify({ ...kept, key: expired.client?.key, client: expired.client?.cert, server: expired.server.cert }));
    const agent = await agentOf({ identity: old });
    await agent.poll();
    expect(Buffer.compare(await readFile(agent.output), image)).toBe(0);
    // A stranger who answers in the origin's place, with certificates of another fleet, gets no renewal through.
    const { key: wrongKey, cert } = (await makeMember(foreign, { role: 'origin' })).server;
    let asked = '';
    const impostor = tls.createServer({ key: wrongKey, cert }, (socket) => socket.on('error', () => undefined).on('data', (bytes: Buffer) => {
      asked += bytes.toString('latin1');
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"ca":"x"}');
    })).listen(0, '127.0.0.1');
    closing.push(() => Promise.resolve(impostor.close()));
    await once(impostor, 'listening');
    const { port } = impostor.address() as net.AddressInfo;
    await expect(renewDevice(credentials, `https://127.0.0.1:${String(port)}`, clock)).rejects.toMatchObject({ code: 'WRONG_FLEET' });
    const { text: token } = fleet.newToken({ role: 'agent', site: 'hall', products: ['os'], uses: 1, lifeMs: 3_600_000, note: '' });
    await expect(enrol({ origin: `https://127.0.0.1:${String(port)}`, token, identity: join(folder, 'duped') })).rejects.toMatchObject({ code: 'WRONG_FLEET' });
    // It has heard the name of a token, and no secret.
    expect([asked.includes(token.split('.')[2] ?? ''), asked.includes(token.split('.')[3] ?? '')]).toEqual([true, false]);
  });

  it('renews by way of a gateway where the origin cannot be reached, and lets nobody guess there', async () => {
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }));
    const directory = await identity();
    const credentials = await credentialsOf(directory);
    const before = credentials.client.cert;
    await renewDevice(credentials, gateway.url, clock);
    expect(credentials.client.cert).not.toBe(before);
    // An agent whose certificate has ended, and whose origin is not there.
    const { holder } = credentials;
    const kept = JSON.parse(await readFile(join(directory, 'certificates.json'), 'utf8')) as Record<string, string>;
    const expired = await makeMember(fleet, holder, Date.now() - 2 * CERTIFICATE_LIFE_MS);
    await writeFile(join(directory, 'certificates.json'), JSON.stringify({ ...kept, key: expired.client?.key, client: expired.client?.cert, server: expired.server.cert }));
    const agent = await agentOf({ identity: directory, gateway: gateway.url, origin: 'https://127.0.0.1:1' });
    await agent.poll();
    expect(Buffer.compare(await readFile(agent.output), image)).toBe(0);

    // The key of another fleet's device: refused, and after some guesses not even asked for.
    const stranger = await fileIdentityKey(nodeFiles, join(folder, 'stranger.pem'));
    const bytes = spkiOf(newKeyPair().publicKey);
    const base64 = (of: Uint8Array): string => Buffer.from(of).toString('base64');
    const body = JSON.stringify({ identity: base64(stranger.publicKey), key: base64(bytes), proof: base64(await stranger.sign(statement('renew', fleet.authority.fleet, bytes))) });
    const answers: string[] = [];
    for (let guess = 0; guess < ENROL_REFUSED_MAX + 2; guess++) answers.push((await heard(gateway.url, {}, `POST ${wire.renew} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`)).slice(9, 12));
    expect(answers).toEqual([...Array.from({ length: ENROL_REFUSED_MAX }, () => '403'), '503', '503']);
  });

  it('spreads revocations through a gateway to agents, across restarts', async () => {
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }));
    const [good, bad] = [await identity(), await identity()];
    const { device } = (await credentialsOf(bad)).holder;
    const [one, two] = [await agentOf({ identity: good, gateway: gateway.url }), await agentOf({ identity: bad, gateway: gateway.url })];
    await Promise.all([one.poll(), two.poll()]);
    const client = await clientWith(bad);
    expect((await client.request(one.url + wire.page(key, key.root), 100_000)).status).toBe(200);
    await fleet.revoke([device], 'lost');
    await expect.poll(async () => {
      await one.poll();
      return client.request(one.url + wire.page(key, key.root), 100_000).then(() => 'served', () => 'cut');
    }, { interval: 200 }).toBe('cut');
    // It is that device that is out, and not the agent or the way there.
    expect((await (await clientWith(await identity())).request(one.url + wire.page(key, key.root), 100_000)).status).toBe(200);
    await one.close();
    expect((await credentialsOf(good)).revocations.has(device)).toBe(true);
    await expect(renewDevice(await credentialsOf(bad), origin.url, clock)).rejects.toMatchObject({ code: 'REFUSED' });
  });

  it('spreads revocations where there is no gateway, though the one that is out is the one that asks the origin for all', async () => {
    const members = await Promise.all([1, 2, 3].map(async () => identity({ site: 'yard' })));
    // They set out together, and so know each other.
    const agents = await Promise.all(members.map((each) => agentOf({ identity: each, pollMs: 3_000 })));
    const client = await clientWith(members[0] ?? '');
    const told = await Promise.all(agents.map(async ({ url }) => (JSON.parse(Buffer.from((await client.request(url + wire.instance, 1_000)).body).toString()) as { readonly instance: string }).instance));
    const { signed } = JSON.parse(Buffer.from((await client.request(`${origin.url}${wire.metadata}/timestamp.json`, 100_000)).body).toString()) as { readonly signed: { readonly version: number } };
    const out = told.findIndex((instance) => askedForNews(instance, told.filter((other) => other !== instance), signed.version).length === 0);
    await expect.poll(() => agents.map(({ ledger }) => ledger().received.written), { timeout: 60_000 }).toEqual(agents.map(() => image.byteLength));
    await fleet.revoke([(await credentialsOf(members[out] ?? '')).holder.device], 'lost');
    const lost = await clientWith(members[out] ?? '');
    for (const { url } of agents.filter((_each, at) => at !== out)) {
      await expect.poll(() => lost.request(url + wire.page(key, key.root), 100_000).then(() => 'served', () => 'cut'), { timeout: 60_000, interval: 200 }).toBe('cut');
      expect((await (await clientWith(await identity({ site: 'yard' }))).request(url + wire.page(key, key.root), 100_000)).status).toBe(200);
    }
  });

  it('goes on while the origin is away, for what the gateway has been told', async () => {
    const proxy = new TcpProxy();
    const through = (await proxy.start(origin.url)).replace('http:', 'https:');
    const gatewayIdentity = await identity({ role: 'gateway', products: 'all' });
    const gateway = await gatewayOf(gatewayIdentity, { origin: through });
    const first = await clientWith(await identity());
    expect((await first.request(gateway.url + wire.span(key, 0), 10_000_000)).status).toBe(200);
    await proxy.close();
    const second = await clientWith(await identity());
    expect((await second.request(gateway.url + wire.span(key, 0), 10_000_000)).status).toBe(200);
  });

  it('asks for news at a price that an idle site can pay', async () => {
    const proxy = new TcpProxy();
    closing.push(() => proxy.close());
    const through = (await proxy.start(origin.url)).replace('http:', 'https:');
    const gateway = await gatewayOf(await identity({ role: 'gateway', products: 'all' }), { origin: through });
    const client = await clientWith(await identity());
    const costs: number[] = [];
    for (let poll = 0; poll < 5; poll++) {
      // Minutes lie between two polls: no connection is kept for so long.
      proxy.cut();
      const before = proxy.sent + proxy.received;
      expect((await client.request(`${gateway.url}${wire.metadata}/timestamp.json`, 100_000)).status).toBe(200);
      costs.push(proxy.sent + proxy.received - before);
    }
    console.log(`bytes for a poll over TLS, handshake and all: ${costs.join(', ')}`);
    // 288 polls are a day at the default interval; a site is to cost 1 MB a day, of which packets' own heads take some 0.2 MB.
    expect(Math.max(...costs.slice(1))).toBeLessThan(2_600);
    // And each is one: a session taken up again, a question, an answer.
    expect(Math.min(...costs.slice(1))).toBeGreaterThan(1_000);
  });
});

describe('plain HTTP', () => {
  it('leaves this machine only when that was said', async () => {
    const open = { products: [{ product: 'os', output: join(folder, 'x') }], trustedRoot, state: join(folder, 'x-state'), version: '1' } as const;
    await expect(startAgent({ ...open, origin: 'http://127.0.0.1:1', listen: { host: '0.0.0.0', port: 0 } })).rejects.toMatchObject({ code: 'PLAIN_HTTP' });
    await expect(startAgent({ ...open, origin: 'http://192.0.2.1', listen: LISTEN })).rejects.toMatchObject({ code: 'PLAIN_HTTP' });
    await expect(fetchRelease({ product: 'os', origin: 'http://origin.example', trustedRoot, state: open.state, output: 'x' })).rejects.toMatchObject({ code: 'PLAIN_HTTP' });
    await expect(enrol({ origin: 'http://192.0.2.1', token: 'x', identity: open.state })).rejects.toMatchObject({ code: 'PLAIN_HTTP' });
  });
});
