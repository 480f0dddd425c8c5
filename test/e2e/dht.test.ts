import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Processes } from '../support/processes.ts';
import type { Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';

/**
 * A site without tracker and multicast: agents know an origin that is gone, the fleet's secret, and where one node was. Real
 * processes on loopback, with certificates of a fleet: who is found has to be a member. An image of some spans: 2.5 MB.
 */
const processes = new Processes();
const image = randomBytes(2_500_000);
const at = (...path: readonly string[]): string => join(processes.folder, ...path);

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

interface Running extends Server {
  readonly dht: string;
}

let origin: Server & { readonly dht: string };

async function agent(name: string, ...nodes: readonly string[]): Promise<Running> {
  const dht = `127.0.0.1:${String(await freeUdpPort())}`;
  await mkdir(at(name), { recursive: true });
  const server = await processes.serve([
    'agent', `os=${at(name, 'image')}`, '--origin', origin.url, '--trust', at('home', 'trust', 'root.json'), '--state', at(name, 'state'), '--identity', at(`identity-${name}`), '--poll', '1',
    '--dht', dht, '--dht-secret', at('secret'), ...nodes.flatMap((node) => ['--dht-node', node]),
  ]);
  return { ...server, dht };
}

/** Whether an agent has the image whole. */
async function has(name: string): Promise<boolean> {
  const bytes = await readFile(at(name, 'image')).catch(() => undefined);
  return bytes !== undefined && Buffer.compare(bytes, image) === 0;
}

beforeAll(async () => {
  await writeFile(at('image'), image);
  await processes.must('init', '--home', at('home'));
  await processes.must('publish', at('image'), '--name', 'os', '--version', '1', '--home', at('home'), '--level', '1');
  const started = processes.start(['origin', '--home', at('home'), '--listen', '127.0.0.1:0', '--tls', '--dht', '127.0.0.1:0', '--dht-secret', at('secret')]);
  const { url, dhtPort } = (await started.ready) as { readonly url: string; readonly dhtPort: number };
  const stop = async (): Promise<Awaited<ReturnType<Server['stop']>>> => {
    started.child.kill('SIGTERM');
    return started.ended;
  };
  origin = { url, pid: started.child.pid ?? 0, dht: `127.0.0.1:${String(dhtPort)}`, stop, kill: async () => { started.child.kill('SIGKILL'); await started.ended; } };
  const { token } = await processes.must('token', '--products', 'os', '--site', 'hall-7', '--uses', '3', '--home', at('home'));
  await Promise.all(['first', 'second', 'third'].map((name) => processes.must('enroll', '--origin', url, '--token', String(token), '--identity', at(`identity-${name}`))));
});
afterAll(() => processes.close());

it('brings a release to devices that find each other by the hash table alone, with the origin gone', async () => {
  const first = await agent('first', origin.dht);
  await expect.poll(() => has('first')).toBe(true);
  const second = await agent('second', origin.dht);
  await expect.poll(() => has('second')).toBe(true);
  // The origin made the secret, for others to be given; with it gone the others are a hash table of their own.
  expect((await readFile(at('secret'), 'utf8')).length).toBeGreaterThan(40);
  await origin.kill();
  const third = await agent('third', first.dht);
  await expect.poll(() => has('third')).toBe(true);
  // Started again with no node named: it remembers some.
  await third.stop();
  await writeFile(at('third', 'image'), 'damaged');
  const again = await agent('third');
  await expect.poll(() => has('third')).toBe(true);
  const { last } = await again.stop();
  expect(last).toMatchObject({ ledger: { received: { origin: 0, gateway: 0 } } });
  expect((last as { readonly ledger: { readonly received: { readonly peer: number } } }).ledger.received.peer).toBeGreaterThan(1_000_000);
  await Promise.all([first.stop(), second.stop()]);
});

it('is off by default, and asks for what it needs', async () => {
  const common = ['agent', `os=${at('x')}`, '--origin', origin.url, '--trust', at('home', 'trust', 'root.json'), '--state', at('x-state'), '--listen', '127.0.0.1:0'];
  await writeFile(at('short'), 'too short');
  const wrong = [['--dht', '127.0.0.1:0'], ['--dht-node', '127.0.0.1:1'], ['--dht', '127.0.0.1:0', '--dht-secret', at('short')]];
  expect(await Promise.all(wrong.map(async (args) => (await processes.run([...common, ...args])).code))).toEqual([2, 2, 2]);
});
