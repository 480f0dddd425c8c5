import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { Bitmap } from '../../src/core/bitmap.ts';
import { CERTIFICATE_LIFE_MS, HANDSHAKES_PER_NETWORK, HANDSHAKES_PER_SECOND, HANDSHAKE_BURST, SERVE_MAX_CONNECTIONS_PER_DEVICE, SERVE_MAX_STRANGERS_PER_NETWORK } from '../../src/core/limits.ts';
import type { Run } from '../../src/core/runs.ts';
import { HEADER_RUNS, wire } from '../../src/core/wire.ts';
import { HttpClient } from '../../src/exchange/http.ts';
import type { Fleet } from '../../src/identity/fleet.ts';
import { mayHave } from '../../src/identity/holder.ts';
import { FleetClient } from '../../src/identity/tls.ts';
import type { Member } from '../../src/identity/tls.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { Access } from '../../src/serve/access.ts';
import type { Surface, SurfaceOptions } from '../../src/serve/surface.ts';
import { PeerRegistry } from '../../src/serve/peers.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { makeSample, publishSample } from '../support/artifact.ts';
import type { Sample } from '../support/artifact.ts';
import { clientOf, makeFleet, makeMember } from '../support/fleet-tls.ts';
import type { TestMember } from '../support/fleet-tls.ts';
import { livedClock } from '../support/lived-clock.ts';

/** A part of a delta to the sample. */
const DELTA = Buffer.from('a payload');
let folder: string;
let fleet: Fleet;
let stranger: Fleet;
let sample: Sample;
const surfaces: Surface[] = [];
const clients: HttpClient[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-access-'));
  fleet = await makeFleet(join(folder, 'fleet'));
  stranger = await makeFleet(join(folder, 'stranger'));
  sample = await makeSample(300_000);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const surface of surfaces.splice(0)) await surface.close(0);
});
afterAll(async () => {
  fleet.close();
  stranger.close();
  await rm(folder, { recursive: true });
});

/** A host that has an artifact of the product os, and admits whoever has to do with os at its site. */
async function host(member: TestMember, more: Partial<Access> = {}, options: Partial<SurfaceOptions> = {}): Promise<{ readonly url: string; readonly surface: Surface }> {
  const store = new MemoryStore();
  await publishSample(store, sample);
  const batch = await store.begin();
  await batch.putObject('delta', chunkIdOf(DELTA), DELTA, sample.key.root);
  await batch.commit([]);
  const surface = await createSurface({
    role: 'agent', version: '1', content: new StoreContent(store, () => 0), peers: new PeerRegistry(() => 0), ...options,
    access: {
      member,
      admits: (caller) => mayHave(caller, ['os']),
      uses: (root) => Promise.resolve(root === sample.key.root ? [{ namespace: 'default', product: 'os' }] : []),
      ...more,
    },
  });
  surfaces.push(surface);
  return { url: await surface.listen('127.0.0.1', 0), surface };
}

function talk(member: Member): HttpClient {
  const client = clientOf(member);
  clients.push(client);
  return client;
}

const device = (products: readonly string[] | 'all' = ['os'], more: Parameters<typeof makeMember>[1] = { role: 'agent' }): Promise<TestMember> => makeMember(fleet, { site: 'hall', products, ...more });
const status = async (client: HttpClient, url: string): Promise<number | string> => client.request(url, 1_000_000, { timeoutMs: 5_000 }).then((answer) => answer.status, (error: { readonly code: string }) => error.code);

/** All that comes back from a TLS listener for what is sent to it. */
async function raw(url: string, options: tls.ConnectionOptions, request: string): Promise<string> {
  const { port } = new URL(url);
  const socket = tls.connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false, ...options });
  let heard = '';
  socket.on('data', (bytes: Buffer) => { heard += bytes.toString('latin1'); });
  socket.on('error', () => undefined);
  socket.write(request);
  await new Promise((resolve) => socket.once('close', resolve));
  return heard;
}

describe('a listener with certificates of the fleet', () => {
  it('serves devices of the product, over sessions that are taken up again, and others nothing of it', async () => {
    const { url, surface } = await host(await device());
    expect(url).toMatch(/^https:/);
    const [one, other, every] = [talk(await device()), talk(await device(['maps', 'os2'])), talk(await device('all'))];
    const path = url + wire.span(sample.key, 0);
    const { body, status: code } = await one.request(path, 10_000_000);
    expect([code, Buffer.compare(body, sample.spans[0]?.bytes ?? Buffer.alloc(0))]).toEqual([200, 0]);
    expect(await status(every, path)).toBe(200);
    // Another client of the same device goes on with the session of the first, and proves as much.
    const [again, session] = [await device(), { reused: 0 }];
    const connect = new FleetClient(again).optionsFor('neighbour');
    for (let turn = 0; turn < 3; turn++) {
      const client = new HttpClient({ tls: (origin) => {
        const { verify, ...options } = connect(origin);
        return { ...options, verify: (socket) => {
          if (socket.isSessionReused()) session.reused++;
          return verify?.(socket);
        } };
      } });
      expect(await status(client, path)).toBe(200);
      client.close();
    }
    expect(session.reused).toBe(2);
    expect(await status(one, url + wire.span({ ...sample.key, root: 'a'.repeat(64) as never }, 0))).toBe(404);
    // Of the right fleet, but with nothing to do with what is here: not even HTTP.
    expect(await status(other, path)).toMatch(/^HTTP_/);
    expect(surface.metrics.totals.requests).toBe(6);
    // With a gateway, which admits all products, the same device is told that there is no such thing.
    const gateway = await host(await makeMember(fleet, { role: 'gateway', products: 'all' }), { admits: () => true });
    for (const asked of [wire.span(sample.key, 0), wire.page(sample.key, sample.key.root), wire.artifact(sample.key), wire.holding(sample.key), wire.delta(sample.key, chunkIdOf(DELTA))]) expect([asked, await status(other, gateway.url + asked), await status(one, gateway.url + asked)]).toEqual([asked, 404, 200]);
    expect(JSON.parse(Buffer.from((await other.request(`${gateway.url}/v1/holdings`, 10_000)).body).toString())).toEqual({ instance: expect.any(String), role: 'agent', artifacts: [] });
    for (const kept of ['/metrics', '/v1/health', '/openapi.json']) expect([kept, await status(one, gateway.url + kept)]).toEqual([kept, 404]);
    expect(await status(talk(await device([], { role: 'operator' })), `${gateway.url}/metrics`)).toBe(200);
  });

  it('gives a member of another product nothing of deltas, their manifests and bases, and of the list of neighbours no roots', async () => {
    const [base, held] = [chunkIdOf(Buffer.from('a base')), new Bitmap(5)];
    const inner = new StoreContent(new MemoryStore(), () => 0);
    const known = { key: sample.key, size: 300_000, spans: new Bitmap(1), base, bringing: new Set([0]), release: { product: 'os', version: '7' } };
    const content: ContentProvider = {
      holdings: () => Promise.resolve([known]),
      holding: () => Promise.resolve(known),
      page: (key, id) => inner.page(key, id),
      delta: () => Promise.resolve(DELTA),
      deltaHolding: () => Promise.resolve(held),
      span: (key, span, positions, accept) => inner.span(key, span, positions, accept),
    };
    const metadata = { metadata: () => Promise.resolve(Buffer.from('{}')), target: () => Promise.resolve(Buffer.from('{}')) };
    const { url } = await host(await makeMember(fleet, { role: 'gateway', products: 'all' }), { admits: () => true }, { content, metadata });
    const [one, other] = [talk(await device()), talk(await device(['maps', 'os2']))];
    const put = { method: 'PUT', headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify({ url: 'https://10.0.0.1:1', roots: [sample.key.root] })) } as const;
    expect((await one.request(`${url}${wire.peers('hall')}/i1`, 10_000, put)).status).toBe(204);
    const hash = 'a'.repeat(64);
    const own = [
      wire.holding(sample.key), wire.deltaHolding(sample.key, base), wire.delta(sample.key, chunkIdOf(DELTA)),
      `${wire.metadata}/3.product-os.json`, `${wire.targets}/products/os/${hash}.7.json`, `${wire.targets}/deltas/${base}/${hash}.${sample.key.root}.json`,
    ];
    for (const path of own) expect([path, await status(one, url + path), await status(other, url + path)]).toEqual([path, 200, 404]);
    const read = async (client: HttpClient, path: string): Promise<string> => JSON.stringify(await client.request(url + path, 100_000).then(({ body, headers }) => [Buffer.from(body).toString('latin1'), ...headers]));
    for (const path of [wire.peers('hall'), '/v1/holdings', wire.instance]) {
      const [mine, theirs] = [await read(one, path), await read(other, path)];
      if (path !== wire.instance) expect(mine).toContain(sample.key.root);
      for (const word of [sample.key.root, base, 'os', '"7"']) expect([path, theirs.includes(word)]).toEqual([path, false]);
    }
  });

  it('tells strangers nothing: without a certificate, with one of another fleet, one that has ended, one that was revoked', async () => {
    const member = await device();
    const { url, surface } = await host(member);
    const revoked = await device();
    member.revocations.adopt(fleet.authority.revocations([{ device: revoked.holder.device, until: Date.now() + 1e9 }], 0, Date.now()));
    const material = (who: TestMember): tls.ConnectionOptions => ({ key: who.client?.key, cert: who.client?.cert });
    const expired = await makeMember(fleet, { role: 'agent', site: 'hall', products: ['os'] }, Date.now() - CERTIFICATE_LIFE_MS - 1000);
    const listening = await device();
    const cases: Readonly<Record<string, tls.ConnectionOptions>> = {
      none: {},
      foreign: material(await makeMember(stranger, { role: 'agent', site: 'hall', products: ['os'] })),
      expired: material(expired),
      revoked: material(revoked),
      product: material(await device(['maps'])),
      // What a listener shows is no good to ask with.
      'server certificate': { key: listening.server.key, cert: listening.server.cert },
      'TLS 1.2': { ...material(await device()), maxVersion: 'TLSv1.2' },
    };
    const request = `GET ${wire.span(sample.key, 0)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    for (const [name, options] of Object.entries(cases)) expect([name, await raw(url, options, request)]).toEqual([name, '']);
    expect(await raw(url, material(await device()), request)).toMatch(/^HTTP\/1\.1 200 /);
    // Plain HTTP to a TLS port, and bytes that are nothing.
    for (const sent of [request, '\0\0\0\0']) {
      const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
      let heard = '';
      socket.on('data', (bytes: Buffer) => { heard += bytes.toString('latin1'); });
      socket.on('error', () => undefined);
      socket.end(sent);
      await new Promise((resolve) => socket.once('close', resolve));
      expect(heard).not.toMatch(/HTTP|os|hall|1\.0/);
    }
    expect(surface.metrics.totals.requests).toBe(1);
  });

  it('keeps to that where it lets strangers in to enrol: also when they take a session up again', async () => {
    const { url, surface } = await host(await makeMember(fleet, { role: 'origin', products: 'all' }), { open: ['/v1/fleet/enroll'], admits: () => true });
    const port = Number(new URL(url).port);
    const foreign = await makeMember(stranger, { role: 'agent', site: 'hall', products: 'all' });
    for (const certificate of [{}, { key: foreign.client?.key, cert: foreign.client?.cert }]) {
      let session: Buffer | undefined;
      const reused: boolean[] = [];
      for (let turn = 0; turn < 3; turn++) {
        // What is asked on an open path may be answered; what is asked next, on the same connection, is not.
        for (const path of ['/v1/fleet/enroll', wire.span(sample.key, 0), '/v1/fleet/enroll2', '/v1/fleet/../holdings', '/metrics']) {
          const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...certificate, ...(session === undefined ? {} : { session }) });
          socket.on('session', (next) => { session = next; }).on('error', () => undefined);
          let heard = '';
          socket.on('data', (bytes: Buffer) => { heard += bytes.toString('latin1'); });
          socket.once('secureConnect', () => reused.push(socket.isSessionReused()));
          socket.write(`GET /v1/fleet/enroll HTTP/1.1\r\nHost: x\r\n\r\nGET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
          await new Promise((resolve) => socket.once('close', resolve));
          const answers = heard.split('HTTP/1.1 ').length - 1;
          expect([path, path === '/v1/fleet/enroll' ? answers === 2 : answers <= 1, heard.replaceAll(/HTTP\/1\.1 404.*?\r\n\r\n\{"error":"NOT_FOUND","message":"what you ask for is not here"\}/gs, '')]).toEqual([path, true, '']);
        }
      }
      expect(reused.filter(Boolean).length).toBeGreaterThan(5);
    }
    expect(surface.metrics.totals.content).toBe(0);
  });

  it('lets neither Node nor the framework answer a stranger by themselves, nor say when somebody was revoked', async () => {
    const { url } = await host(await makeMember(fleet, { role: 'origin', products: 'all' }), { open: [wire.enrol, `${wire.uploads}/`], admits: () => true });
    const foreign = await makeMember(stranger, { role: 'agent', site: 'hall', products: 'all' });
    const end = 'Connection: close\r\n\r\n';
    const asked = [
      `GET /metrics HTTP/1.1\r\n${end}`, // Node answers 400 for want of a Host
      `POST /metrics HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n${end}`,
      `POST /metrics HTTP/1.1\r\nHost: x\r\nExpect: something\r\nContent-Length: 5\r\n${end}`,
      `GET /%zz HTTP/1.1\r\nHost: x\r\n${end}`, // What the framework cannot decode
      `GET /v1/sites/${'a'.repeat(9_000)}/peers HTTP/1.1\r\nHost: x\r\n${end}`, // and what is too long for it
      `GET ${wire.enrol}/x HTTP/1.1\r\nHost: x\r\n${end}`,
      `GET ${wire.enrol}/../../holdings HTTP/1.1\r\nHost: x\r\n${end}`,
    ];
    for (const certificate of [{}, { key: foreign.client?.key, cert: foreign.client?.cert }]) {
      for (const request of asked) expect([request, await raw(url, certificate, request)]).toEqual([request, '']);
      for (const path of [wire.enrol, `${wire.uploads}/%zz`]) {
        const answer = await raw(url, certificate, `GET ${path} HTTP/1.1\r\nHost: x\r\n${end}`);
        expect(answer).toMatch(/^HTTP\/1\.1 40[04] .*"error":"(?:NOT_FOUND|BAD_PATH)"/s);
        expect(answer).not.toMatch(/FST|shoal-revocations/i);
      }
    }
    // A member is told what is wrong, in the form that all errors have; what it expects beyond "100-continue" is passed over.
    const { client } = await device();
    const member = (request: string): Promise<string> => raw(url, { key: client?.key, cert: client?.cert }, request);
    for (const request of asked.slice(3, 5)) expect(await member(request)).toMatch(/^HTTP\/1\.1 400 .*"error":"BAD_PATH"/s);
    expect(await member(asked[0] ?? '')).toMatch(/^HTTP\/1\.1 400 .*"error":"BAD_REQUEST"/s);
    expect(await member(`GET ${wire.instance} HTTP/1.1\r\nHost: x\r\nExpect: something\r\n${end}`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await member(`GET ${wire.instance} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${end}`)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  });

  it('shows a certificate that names neither site nor product', async () => {
    const { url } = await host(await device(['os', 'secret-product']));
    const socket = tls.connect({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    const shown = socket.getPeerX509Certificate();
    expect(shown?.subjectAltName).toMatch(/^URI:shoal:\/\/[0-9a-f]{16}\/agent\/([0-9a-f]{32}), DNS:\1\.shoal$/);
    expect(shown?.raw.toString('latin1')).not.toMatch(/secret|hall/);
    socket.destroy();
  });

  it('cuts a device that is revoked or whose certificate ends while it is connected, and takes up renewed ones', async () => {
    let now = Date.now();
    const member = await makeMember(fleet, { role: 'agent', site: 'hall', products: ['os'] }, now, () => now);
    const { url } = await host(member);
    const path = url + wire.page(sample.key, sample.key.root);
    const [one, two] = [await device(), await device()];
    const [first, second] = [talk(one), talk(two)];
    expect([await status(first, path), await status(second, path)]).toEqual([200, 200]);
    member.revocations.adopt(fleet.authority.revocations([{ device: one.holder.device, until: now + 1e9 }], 0, now));
    expect([await status(first, path), await status(second, path)]).toEqual([expect.stringMatching(/^HTTP_/), 200]);
    // Certificates were issued since the test began, seconds ago.
    now += CERTIFICATE_LIFE_MS + 60_000;
    expect(await status(second, path)).toMatch(/^HTTP_/);
    now = Date.now();
    await member.renew(now - 3_600_000);
    await two.renew(now - 3_600_000);
    expect(await status(second, path)).toBe(200);
  });

  it('lets clients see through a host that is not what it was named as', async () => {
    const { url } = await host(await device());
    const named = clientOf(await device(), 'host');
    clients.push(named);
    expect(await status(named, url)).toBe('HTTP_CONNECT');
    const foreign = await host(await makeMember(stranger, { role: 'gateway', products: 'all' }), { admits: () => true });
    expect(await status(named, foreign.url)).toBe('HTTP_CONNECT');
    const revoked = await device();
    const other = await host(revoked);
    const knowing = await device();
    knowing.revocations.adopt(fleet.authority.revocations([{ device: revoked.holder.device, until: Date.now() + 1e9 }], 0, Date.now()));
    expect(await status(talk(knowing), other.url + wire.page(sample.key, sample.key.root))).toBe('HTTP_CONNECT');
  });

  it('keeps sites apart, and what one device announced from others', async () => {
    const { url } = await host(await makeMember(fleet, { role: 'gateway', products: 'all' }), { admits: () => true });
    const [one, two, elsewhere] = [talk(await device()), talk(await device()), talk(await device(['os'], { role: 'agent', site: 'yard' }))];
    const announce = async (client: HttpClient, site: string, at: string): Promise<number> => (await client.request(`${url}${wire.peers(site)}/i1`, 10_000, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify({ url: at, roots: [] })) })).status;
    expect(await announce(one, 'hall', 'https://10.0.0.1:1')).toBe(204);
    expect(await announce(two, 'hall', 'https://10.0.0.2:1')).toBe(403);
    expect(await announce(elsewhere, 'hall', 'https://10.0.0.3:1')).toBe(403);
    expect(await status(elsewhere, url + wire.peers('hall'))).toBe(404);
    expect(Buffer.from((await two.request(url + wire.peers('hall'), 10_000)).body).toString()).toContain('10.0.0.1');
  });

  it('notes what a device runs under its own name and of its own products, and of others only from gateways', async () => {
    const noted: string[] = [];
    const runs = { note: (name: string, said: readonly Run[]) => { noted.push(`${name} ${said.map(({ product, sequence }) => `${product}=${String(sequence)}`).join(',')}`); } };
    const metadata = { metadata: () => Promise.resolve(Buffer.from('{}')), target: () => Promise.resolve(undefined) };
    const { url } = await host(await makeMember(fleet, { role: 'origin', products: 'all' }), { admits: () => true }, { runs, metadata });
    const [one, gateway] = [await device(['os']), await makeMember(fleet, { role: 'gateway', products: 'all' })];
    const poll = async (member: Member, said: string, file = 'timestamp.json'): Promise<number> => (await talk(member).request(`${url}${wire.metadata}/${file}`, 10_000, { headers: { [HEADER_RUNS]: said } })).status;
    // A device that calls itself by another name, and runs what it cannot have.
    expect(await poll(one, 'somebody os=4,maps=9')).toBe(200);
    expect(await poll(one, 'nonsense')).toBe(200);
    expect(await poll(one, 'x os=5', '1.root.json')).toBe(200);
    expect(noted).toEqual([`${one.holder.device} os=4`]);
    const pass = async (member: Member, body: unknown): Promise<number> => (await talk(member).request(url + wire.runs, 10_000, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) })).status;
    expect(await pass(one, { devices: [['abc', [['os', 1]]]] })).toBe(404);
    expect(await pass(gateway, { devices: [['abc', [['os', 1], ['maps', 2]]], ['../x', [['os', 1]]], ['def', [['..', 1]]]] })).toBe(204);
    for (const bad of [{}, { devices: [['abc', [['os', -1]]]] }, { devices: [['abc', [['os', 1.5]]]] }, { devices: 5 }, { devices: Array.from({ length: 600 }, () => ['a', []]) }]) expect(await pass(gateway, bad), JSON.stringify(bad).slice(0, 60)).toBe(400);
    expect(noted.slice(1)).toEqual(['abc os=1,maps=2']);
  });

  it('passes on the revocation list, and says its number with every answer of the control plane', async () => {
    const member = await device();
    const { url } = await host(member);
    const client = talk(await device());
    expect(await status(client, url + wire.revocations)).toBe(404);
    const list = fleet.authority.revocations([], 0, 7);
    member.revocations.adopt(list);
    const answer = await client.request(url + wire.revocations, 10_000);
    expect([answer.headers.get('shoal-revocations'), Buffer.from(answer.body)]).toEqual(['7', Buffer.from(list)]);
    expect(await status(client, url + wire.uses(sample.key.root))).toBe(404);
    const gateway = talk(await device('all', { role: 'gateway' }));
    expect(JSON.parse(Buffer.from((await gateway.request(url + wire.uses(sample.key.root), 10_000)).body).toString())).toEqual({ uses: [{ namespace: 'default', product: 'os' }] });
  });

  it('leaves connections for others when a device, or strangers who may enrol, hold many', async () => {
    const { url } = await host(await makeMember(fleet, { role: 'origin', products: 'all' }), { open: ['/v1/fleet/enroll'], admits: () => true }, { limits: { requestMs: 300_000 } });
    const greedy = await device();
    const held = async (count: number, options: tls.ConnectionOptions): Promise<readonly tls.TLSSocket[]> => {
      const sockets: tls.TLSSocket[] = [];
      // A few at a time: more would be too many handshakes.
      while (sockets.length < count) sockets.push(...(await Promise.all(Array.from({ length: 8 }, async () => {
        const socket = tls.connect({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false, ...options });
        socket.on('error', () => undefined);
        await once(socket, 'secureConnect');
        return socket;
      }))));
      return sockets;
    };
    const open = (sockets: readonly tls.TLSSocket[]): number => sockets.filter(({ readyState }) => readyState === 'open').length;
    const members = await held(SERVE_MAX_CONNECTIONS_PER_DEVICE + 8, { key: greedy.client?.key, cert: greedy.client?.cert });
    await expect.poll(() => open(members)).toBe(SERVE_MAX_CONNECTIONS_PER_DEVICE);
    const strangers = await held(SERVE_MAX_STRANGERS_PER_NETWORK + 8, {});
    await expect.poll(() => open(strangers)).toBe(SERVE_MAX_STRANGERS_PER_NETWORK);
    expect(await status(talk(await device()), url + wire.page(sample.key, sample.key.root))).toBe(200);
    for (const socket of [...members, ...strangers]) socket.destroy();
  });

  it('is not slowed by those who begin handshakes and go no further', async () => {
    const { url } = await host(await device());
    const path = url + wire.page(sample.key, sample.key.root);
    const client = talk(await device());
    expect(await status(client, path)).toBe(200);
    client.close();
    const idle = await Promise.all(Array.from({ length: 4 * HANDSHAKES_PER_NETWORK }, async () => {
      const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    }));
    // A member came from there before: the flood from the same address does not shut it out. A handshake takes some
    // milliseconds; ten seconds would be its limit, and `status` waits for five.
    expect(await status(talk(await device()), path)).toBe(200);
    for (const socket of idle) socket.destroy();
  });

  it('does so many handshakes with a network of strangers and no more, while members are served as before', async () => {
    const { url } = await host(await device());
    const path = url + wire.page(sample.key, sample.key.root);
    const member = await device();
    const lived = livedClock();
    const turn = async (): Promise<number> => {
      const client = talk(member);
      const from = lived.now();
      expect(await status(client, path)).toBe(200);
      client.close();
      return lived.now() - from;
    };
    const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? NaN;
    const measured = async (): Promise<number> => {
      const times: number[] = [];
      for (let each = 0; each < 15; each++) times.push(await turn());
      return median(times);
    };
    const alone = await measured();
    let stop = false;
    let finished = 0;
    let cut = 0;
    const flood = Array.from({ length: 8 }, async () => {
      while (!stop) {
        const wire = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1', localAddress: '127.0.0.66' });
        wire.on('error', () => undefined);
        const socket = tls.connect({ socket: wire, rejectUnauthorized: false });
        let shook = false;
        socket.once('secureConnect', () => { shook = true; }).on('error', () => undefined);
        await new Promise((resolve) => socket.once('close', resolve));
        if (shook) finished++;
        else cut++;
      }
    });
    const from = systemClock.now();
    const flooded = await measured();
    await expect.poll(() => cut).toBeGreaterThan(200);
    const seconds = (systemClock.now() - from) / 1000;
    stop = true;
    await Promise.all(flood);
    expect(finished).toBeLessThanOrEqual(HANDSHAKE_BURST + HANDSHAKES_PER_SECOND * (seconds + 2));
    // Flood, listener and members share this process, so the bound is wide: without a limit it grows with the flood.
    expect(flooded).toBeLessThan(20 * alone + 250);
    console.log(`a request with its handshake: ${alone.toFixed(1)} ms alone, ${flooded.toFixed(1)} ms under a flood (${String(finished)} strangers' handshakes finished, ${String(cut)} cut)`);
  });
});
