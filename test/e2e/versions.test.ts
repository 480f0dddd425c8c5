import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { Processes as Agents } from '../../demo/processes.ts';
import type { Server as AgentProcess } from '../../demo/processes.ts';
import type { Ledger } from '../../src/exchange/ledger.ts';
import { rebuilt } from '../support/delta-pair.ts';
import { PATIENT, Processes } from '../support/processes.ts';
import type { Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';
import { TamperingProxy } from '../support/tampering-proxy.ts';

const MiB = 1024 * 1024;
const SIZE = 12 * MiB;

// Published once; each test has devices, a proxy and what is between them of its own.
const processes = new Processes();
const { folder } = processes;
const home = join(folder, 'home');
let agents: Agents;
let proxy: TamperingProxy;
let url: string;
let origin: Server;
/** Of the deltas to the last version. */
let deltaBytes: readonly number[];
/** Of the test: devices of another one are of another site. */
let serial = 0;
const gateways: Server[] = [];

/** Three older versions and a new one: each a little further from it, all with changes everywhere. */
function versions(): readonly Buffer[] {
  const first = randomBytes(SIZE);
  const second = rebuilt(first, 3_000, 5);
  const third = rebuilt(second, 3_000, 1_201);
  return [first, second, third, rebuilt(third, 6_000, 2_302)];
}

const all = versions();
const newest = createHash('sha256').update(all.at(-1) ?? '').digest('hex');

beforeAll(async () => {
  await processes.must('init', '--home', home);
  for (const [at, content] of all.entries()) {
    const version = String(at + 1);
    const path = join(folder, `version-${version}`);
    await writeFile(path, content);
    const from = at < all.length - 1 ? 'none' : all.slice(0, -1).map((_, older) => String(older + 1)).join(',');
    const { deltas } = await processes.must('publish', path, '--name', 'os', '--version', version, '--home', home, '--level', '1', '--deltas-from', from);
    deltaBytes = (deltas as readonly { readonly bytes: number }[]).map(({ bytes }) => bytes);
  }
  origin = await processes.serve(['origin', '--home', home]);
});
beforeEach(async () => {
  serial++;
  agents = new Agents();
  proxy = new TamperingProxy();
  url = await proxy.start(origin.url);
});
afterEach(async () => {
  agents.kill();
  for (const gateway of gateways.splice(0)) await gateway.kill();
  await proxy.close();
});
afterAll(() => processes.close());

/** A device that has one of the older versions in its place. */
async function device(name: string, content: Uint8Array, ...more: readonly string[]): Promise<AgentProcess> {
  const output = join(folder, name);
  await writeFile(output, content);
  return agents.serve('agent', `os=${output}`, '--origin', url, '--trust', join(home, 'trust', 'root.json'), '--state', `${output}-state`, '--poll', '3600', '--site', `site-${String(serial)}`, ...more);
}

async function newGateway(): Promise<Server> {
  const gateway = await processes.serve(['gateway', '--origin', url, '--cache', join(folder, `cache-${String(serial)}`)]);
  gateways.push(gateway);
  return gateway;
}

async function installed(agent: AgentProcess): Promise<Ledger> {
  for (;;) {
    const line = await agent.next();
    if (line['event'] === 'installed') return line['ledger'] as Ledger;
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const contentIn = (seen: readonly string[]): readonly string[] => seen.filter((path) => path.includes('/spans/'));

describe('agents with different older versions', () => {
  it('update with deltas through a gateway, and nobody fetches content from the origin', async () => {
    const gateway = await newGateway();
    // Patient ones: whether the machine is late is not what this is about.
    vi.stubEnv('NODE_OPTIONS', `--import ${PATIENT}`);
    const devices = await Promise.all([0, 1, 2, 2].map((version, at) => device(`device-${String(at)}`, all[version] ?? new Uint8Array(), '--gateway', gateway.url)));
    vi.unstubAllEnvs();
    const ledgers = await Promise.all(devices.map(installed));
    for (const at of devices.keys()) expect(sha256(await readFile(join(folder, `device-${String(at)}`)))).toBe(newest);
    expect(contentIn(proxy.seen)).toEqual([]);
    for (const { origin, deltaFrom } of ledgers) expect([origin, deltaFrom.origin]).toEqual([0, 0]);
    // All deltas together at most: how many are needed depends on who has set out when.
    const crossed = proxy.seen.filter((path) => path.includes('/deltas/') && path.includes('/content/')).length;
    expect(crossed).toBeGreaterThan(0);
    expect(ledgers.reduce((sum, ledger) => sum + ledger.delta, 0)).toBeLessThan(4 * deltaBytes.reduce((sum, bytes) => sum + bytes + 20_000, 0));
  });

  it('take no payload that somebody on the way has changed, and update once nobody does', async () => {
    proxy.tamper = (passing, response) => {
      if (!passing.path.includes('/content/') || !passing.path.includes('/deltas/')) return false;
      passing.body[passing.body.byteLength >> 1] = (passing.body[passing.body.byteLength >> 1] ?? 0) ^ 1;
      response.writeHead(200, passing.headers).end(passing.body);
      return true;
    };
    const gateway = await newGateway();
    const one = await device('changed-payload', all[2] ?? new Uint8Array(), '--gateway', gateway.url);
    // Neither the gateway nor the device takes what is not what its id says.
    await expect.poll(() => proxy.seen.filter((path) => path.includes('/deltas/')).length).toBeGreaterThan(0);
    proxy.tamper = () => false;
    const again = await processes.run(['fetch', 'os', '--origin', url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'state'), '-o', join(folder, 'fetched'), '--base', join(folder, 'version-3'), '--json']);
    expect(again.code).toBe(0);
    expect(sha256(await readFile(join(folder, 'fetched')))).toBe(newest);
    await one.stop();
  });

  it('do without a manifest that somebody on the way has changed', async () => {
    proxy.tamper = (passing, response) => {
      if (!passing.path.startsWith('/v1/tuf/targets/deltas/')) return false;
      passing.body[60] = (passing.body[60] ?? 0) ^ 1;
      response.writeHead(200, passing.headers).end(passing.body);
      return true;
    };
    const one = await device('changed-manifest', all[2] ?? new Uint8Array());
    const ledger = await installed(one);
    expect(sha256(await readFile(join(folder, 'changed-manifest')))).toBe(newest);
    expect(ledger.delta).toBe(0);
    expect(ledger.origin).toBeGreaterThan(SIZE / 2);
  });

  it('use what is good of a base that has drifted, and none of one that is something else of the same size', async () => {
    const drifted = Buffer.from(all[2] ?? new Uint8Array());
    drifted.fill(7, 2 * MiB, 2 * MiB + 100);
    const fetched = async (name: string, base: Uint8Array): Promise<Ledger> => {
      await writeFile(join(folder, `${name}-base`), base);
      const { code, errors, last } = await processes.run(['fetch', 'os', '--origin', url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `${name}-state`), '-o', join(folder, name), '--base', join(folder, `${name}-base`), '--json']);
      expect([code, errors]).toEqual([0, expect.any(String)]);
      expect(sha256(await readFile(join(folder, name)))).toBe(newest);
      return last['ledger'] as Ledger;
    };
    // All older versions have one size: of the listed deltas the smallest is tried.
    const smallest = Math.min(...deltaBytes);
    const some = await fetched('some', drifted);
    expect(some.delta).toBeGreaterThan(0);
    expect(some.delta).toBeLessThan(smallest + 20_000);
    expect(some.origin).toBeLessThan(8.5 * MiB);
    const none = await fetched('none', randomBytes(SIZE));
    expect(none.delta).toBeLessThan(smallest);
    expect(none.origin).toBeGreaterThan(SIZE * 0.9);
  });
});
