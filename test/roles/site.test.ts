import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/roles/agent/agent.ts';
import type { Agent, AgentOptions } from '../../src/roles/agent/types.ts';
import { SiteWatch } from '../../src/roles/site.ts';
import type { SiteOptions, SiteView } from '../../src/roles/site.ts';
import { startFleet } from '../support/fleet.ts';
import type { Fleet } from '../support/fleet.ts';
import { livedClock } from '../support/lived-clock.ts';
import { randomBytes } from '../support/random.ts';
import { ask } from '../support/raw-http.ts';
import { shoal } from '../support/shoal.ts';

const SHOAL = fileURLToPath(new URL('../../bin/shoal.mjs', import.meta.url));
const MiB = 1024 * 1024;
let fleet: Fleet;
const clock = livedClock();
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  fleet = await startFleet();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await fleet.close();
});

async function agent(name: string, more: Partial<AgentOptions> = {}): Promise<Agent> {
  const made = await startAgent({
    products: [{ product: 'os', output: join(fleet.folder, name) }], origin: fleet.origin, trustedRoot: fleet.trustedRoot, state: join(fleet.folder, `${name}-state`), version: '0',
    listen: { host: '127.0.0.1', port: 0 }, pollMs: 3_600_000, clock, ...more,
  });
  closing.push(() => made.close());
  return made;
}

async function look(options: SiteOptions): Promise<SiteView> {
  const watch = await SiteWatch.open({ clock, ...options });
  try {
    return await watch.look();
  } finally {
    await watch.close();
  }
}

describe('a look at a site', () => {
  it('shows who is there, what each holds of which release, and where it came from', async () => {
    const image = randomBytes(3 * MiB);
    const { artifacts } = await fleet.publish('os', '1', { image });
    const one = await agent('one');
    await one.poll();
    const two = await agent('two');
    await two.poll();
    // Both announced themselves at the origin; either of them, or the origin, leads to the other.
    const view = await look({ hosts: [fleet.origin] });
    expect(view.site).toBe('default');
    const devices = view.hosts.filter(({ role }) => role === 'agent');
    expect(devices.map(({ url }) => url).sort()).toEqual([one.url, two.url].sort());
    for (const { artifacts: held } of devices) expect(held).toMatchObject([{ root: artifacts[0]?.root, size: image.byteLength, product: 'os', version: '1', held: held[0]?.spans }]);
    expect(view.hosts.filter(({ role }) => role === 'origin')).toHaveLength(1);
    // Random bytes: what the two fetched is at least twice the image.
    expect((view.received['origin'] ?? 0) + (view.received['peer'] ?? 0)).toBeGreaterThan(2 * image.byteLength);
    expect((await look({ hosts: [two.url] })).hosts.map(({ url }) => url).sort()).toEqual([one.url, two.url].sort());

    const metrics = (await ask(one.url, '/metrics')).body.toString();
    const spans = String(devices[0]?.artifacts[0]?.spans);
    for (const line of [`shoal_spans{product="os",version="1"} ${spans}`, `shoal_held_spans{product="os",version="1"} ${spans}`, 'shoal_bringing_spans 0', 'shoal_neighbours{role="gateway"} 0']) expect(metrics).toContain(line);
  });

  it('lists one that listens on all addresses at one that others can use', async () => {
    await fleet.publish('os', '1', { image: randomBytes(10_000) });
    const one = await agent('one', { listen: { host: '0.0.0.0', port: 0 }, insecureHttp: true });
    await one.poll();
    const { hostname, port } = new URL(one.url);
    expect(hostname).toBe('0.0.0.0');
    const outside = Object.values(networkInterfaces()).flat().find((each) => each?.internal === false && each.family === 'IPv4')?.address ?? '127.0.0.1';
    const { peers } = JSON.parse((await ask(fleet.origin, '/v1/sites/default/peers')).body.toString()) as { readonly peers: readonly { readonly url: string }[] };
    expect(peers.map(({ url }) => url)).toEqual([`http://${outside}:${port}`]);
  });

  it('says of a host that does not answer why, and goes on', async () => {
    const one = await agent('one');
    const { hosts } = await look({ hosts: ['http://127.0.0.1:1', one.url] });
    expect(hosts).toHaveLength(2);
    expect(hosts.find(({ url }) => url === 'http://127.0.0.1:1')?.problem).toMatch(/connect|refused/i);
    expect(hosts.find(({ url }) => url === one.url)).toMatchObject({ role: 'agent', artifacts: [] });
  });

  it('believes nothing strange', async () => {
    const one = await agent('one');
    fleet.proxy.tamper = ({ path }, response) => {
      const said = path.endsWith('/peers') ? { peers: ['x', { url: 'file:///etc/passwd' }, { url: 'ftp://x' }, { url: one.url }, null] }
        : path.endsWith('/holdings') ? { role: '\x1b[2J', received: { origin: -1, 'a b': 2, peer: 7 }, artifacts: [{ root: 7 }, null, { namespace: 'n', root: 'r', size: 1, spans: 1, held: 1, product: '\n' }, ...[{ base: {} }, { base: '\x1b[2J' }, { working: 'yes' }, { bringing: ['7'] }].map((more) => ({ namespace: 'n', root: 'r', size: 1, spans: 2, held: 1, ...more }))] } : undefined;
      if (said === undefined) return false;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
      return true;
    };
    const { hosts } = await look({ hosts: [fleet.origin] });
    expect(hosts.map(({ url }) => url).sort()).toEqual([fleet.origin, one.url].sort());
    expect(hosts.find(({ url }) => url === fleet.origin)).toEqual({ url: fleet.origin, artifacts: [], received: { peer: 7 } });
  });
});

describe('shoal site', () => {
  it('is a command with sentences and JSON', () => {
    const url = 'http://127.0.0.1:1';
    expect(shoal('site')).toMatchObject({ code: 2 });
    const dead = shoal('site', url, '--json');
    expect(dead).toMatchObject({ code: 1, last: { ok: false, site: 'default', hosts: [{ url }] } });
    expect(dead.errors).toContain(`  ${url}  cannot be reached: `);
    expect(shoal('site', 'http://10.0.0.1:8472').errors).toContain('--insecure-http');
  });

  it('ends when it is told to, however long it is until the next look', async () => {
    const child = spawn(process.execPath, [SHOAL, 'site', 'http://127.0.0.1:1', '--watch', '3600'], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(child, 'exit');
    await once(child.stderr, 'data');
    child.kill('SIGINT');
    // A minute is far above what ending takes, and far below an hour.
    const [code, signal] = (await Promise.race([ended, new Promise((_resolve, reject) => setTimeout(() => { child.kill('SIGKILL'); reject(new Error('it goes on')); }, 60_000).unref())])) as [number | null, string | null];
    expect([code, signal]).toEqual([0, null]);
  });
});
