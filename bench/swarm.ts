// A site of many devices in network namespaces with shaped links: backhaul bytes and time against what is possible at all
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Processes } from '../demo/processes.ts';
import type { Server } from '../demo/processes.ts';
import { releases } from '../demo/releases.ts';
import { COMPILED_SHOAL, compile } from './compiled.ts';
import { TestBed } from './swarm/test-bed.ts';
import type { Counters } from './swarm/test-bed.ts';
import { writeRandom } from './swarm/random-file.ts';

/** The bars: content over the backhaul against the least any member could fetch, without and with a gateway; time against the least possible. */
const BAR = { alone: 1.05, gateway: 1.02, time: 1.15 };
const PORT = 8470;

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '16' },
    backhaul: { type: 'string', default: '16' },
    lan: { type: 'string', default: '200' },
    size: { type: 'string', default: '64' },
    scenario: { type: 'string', default: 'update,update-gateway,time' },
    tls: { type: 'boolean', default: false },
    from: { type: 'string' },
    to: { type: 'string' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error(`npm run bench -- swarm [--devices N] [--backhaul MBIT] [--lan MBIT] [--size MIB] [--scenario LIST] [--tls] [--from FILE --to FILE] [--json] [--check]

Real agents in network namespaces of their own, on a LAN behind a slow line to the origin (tc tbf). Needs root and iproute2.
  update          all devices have the previous release; no gateway
  update-gateway  the same with a gateway
  time            a release of SIZE MiB that nothing compresses and nobody has anything of; no gateway
With --tls every host is enrolled and talks mutual TLS; without, plain HTTP.
Without --from and --to the releases are two of esbuild-wasm. --check exits 1 above the bars.`);
  process.exit(0);
}

const DEVICES = Number(values.devices);
const MBIT = { backhaul: Number(values.backhaul), lan: Number(values.lan) };

interface Result {
  readonly scenario: string;
  readonly content: number;
  readonly least: number;
  readonly interfaceBytes: Counters;
  readonly seconds: number;
  readonly leastSeconds: number;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  const stream = createReadStream(path);
  stream.on('data', (bytes) => hash.update(bytes));
  await once(stream, 'end');
  return hash.digest('hex');
}

/** Bytes of the content plane that a host has sent, by its own count. */
async function sent(processes: Processes, prefix: readonly string[], url: string, operator: string | undefined): Promise<number> {
  const text = await processes.fetchIn(prefix, `${url}/metrics`, operator);
  return Number(/^shoal_http_sent_bytes_total\{plane="content"\} (\S+)$/m.exec(text)?.[1] ?? 0);
}

async function installed(agent: Server, version: string): Promise<void> {
  for (;;) {
    const line = await agent.next();
    if (line['event'] === 'installed' && line['version'] === version) return;
  }
}

interface Scenario {
  readonly name: string;
  readonly gateway: boolean;
  readonly base: string | undefined;
  readonly target: string;
}

async function run(bed: TestBed, processes: Processes, folder: string, { name, gateway, base, target }: Scenario): Promise<Result> {
  const home = join(folder, 'home');
  await processes.run('init', '--home', home);
  const publish = async (path: string, version: string): Promise<void> => {
    await processes.run('publish', path, '--name', 'firmware', '--version', version, '--home', home, '--level', '19');
  };
  // Nobody is to wait for a first release.
  const first = join(folder, 'first');
  if (base === undefined) await writeRandom(first, 1);
  await publish(base ?? first, '1');
  const trust = join(home, 'trust', 'root.json');
  const origin = await processes.serveAt({ prefix: bed.origin, listen: `${bed.originAddress}:${String(PORT)}` }, 'origin', '--home', home, ...(values.tls ? [] : ['--insecure-http']));
  /** What a host is told to talk by: its identity, or that it has none. */
  const identity = async (prefix: readonly string[], place: string, ...scope: readonly string[]): Promise<readonly string[]> => {
    if (!values.tls) return ['--insecure-http'];
    const { token } = await processes.run('token', '--home', home, ...scope);
    await processes.runIn(prefix, 'enroll', '--origin', origin.url, '--token', String(token), '--identity', place);
    return ['--identity', place];
  };
  const asDevice = ['--products', 'firmware', '--site', 'bed'];
  const [, operator] = values.tls ? await identity(bed.origin, join(folder, 'operator'), '--role', 'operator') : [];
  const host = bed.address(bed.devices);
  const gate = gateway ? await processes.serveAt({ prefix: bed.device(bed.devices), listen: `${host}:8471` }, 'gateway', '--origin', origin.url, '--cache', join(folder, 'gateway'), '--poll', '1', '--mdns', host, ...(await identity(bed.device(bed.devices), join(folder, 'gateway-identity'), '--role', 'gateway', '--site', 'bed'))) : undefined;
  const agents: Server[] = [];
  for (let device = 0; device < DEVICES; device++) {
    const place = join(folder, `device-${String(device)}`);
    await mkdir(place);
    const output = join(place, 'firmware');
    await copyFile(base ?? first, output);
    const address = bed.address(device);
    agents.push(await processes.serveAt({ prefix: bed.device(device), listen: `${address}:8472` }, 'agent', `firmware=${output}`, '--origin', origin.url, '--trust', trust, '--state', join(place, 'state'), '--poll', '1', '--mdns', address, ...(await identity(bed.device(device), join(place, 'identity'), ...asDevice))));
  }
  await Promise.all(agents.map((agent) => installed(agent, '1')));
  const before = { content: await sent(processes, bed.origin, origin.url, operator), wire: bed.backhaul };
  await publish(target, '2');
  const published = performance.now();
  await Promise.all(agents.map((agent) => installed(agent, '2')));
  const seconds = (performance.now() - published) / 1000;
  const wire = bed.backhaul;
  const content = (await sent(processes, bed.origin, origin.url, operator)) - before.content;
  const expected = await sha256(target);
  for (let device = 0; device < DEVICES; device++) if ((await sha256(join(folder, `device-${String(device)}`, 'firmware'))) !== expected) throw new Error(`device ${String(device)} has other bytes than were published`);
  // One device that nobody helps, afterwards: what any one of them needs.
  await Promise.all(agents.map((agent) => agent.stop()));
  await gate?.stop();
  const loneBefore = await sent(processes, bed.origin, origin.url, operator);
  await processes.runIn(bed.device(0), 'fetch', 'firmware', '--origin', origin.url, '--trust', trust, '--state', join(folder, 'lone'), '-o', join(folder, 'lone-output'), ...(await identity(bed.device(0), join(folder, 'lone-identity'), ...asDevice)), ...(base === undefined ? [] : ['--base', base]));
  const least = (await sent(processes, bed.origin, origin.url, operator)) - loneBefore;
  await origin.stop();
  // Kumar and Ross, 2006, all in the smallest form a device can use: the line to the site, a device's own line, and all uploads together.
  const bits = least * 8;
  const leastSeconds = Math.max(bits / (MBIT.backhaul * 1e6), bits / (MBIT.lan * 1e6), (DEVICES * bits) / ((MBIT.backhaul + DEVICES * MBIT.lan) * 1e6));
  return { scenario: name, content, least, interfaceBytes: { down: wire.down - before.wire.down, up: wire.up - before.wire.up }, seconds, leastSeconds };
}

async function main(folder: string, processes: Processes): Promise<void> {
  const missing = TestBed.missing;
  if (missing !== undefined) throw new Error(missing);
  compile();
  const [old, next] = releases;
  const pair = { base: values.from ?? old?.path ?? '', target: values.to ?? next?.path ?? '' };
  const results: Result[] = [];
  for (const name of values.scenario.split(',')) {
    const place = join(folder, name);
    await mkdir(place);
    let scenario: Scenario;
    if (name === 'time') {
      const target = join(place, 'target');
      await writeRandom(target, Number(values.size));
      scenario = { name, gateway: false, base: undefined, target };
    } else scenario = { name, gateway: name === 'update-gateway', ...pair };
    const bed = new TestBed({ devices: DEVICES, backhaulMbit: MBIT.backhaul, lanMbit: MBIT.lan });
    try {
      results.push(await run(bed, processes, place, scenario));
    } finally {
      processes.kill();
      bed.remove();
      await rm(place, { recursive: true, force: true, maxRetries: 5 });
    }
  }
  const size = async (path: string): Promise<string> => `${((await stat(path)).size / 1e6).toFixed(1)} MB`;
  console.error(`${String(DEVICES)} devices, backhaul ${values.backhaul} Mbit/s, LAN ${values.lan} Mbit/s each, ${String(availableParallelism())} cores for all of them; update: ${await size(pair.base)} to ${await size(pair.target)}, time: ${values.size} MiB`);
  console.table(results.map(({ scenario, content, least, interfaceBytes, seconds, leastSeconds }) => ({
    scenario, 'content over backhaul': content, 'one device alone': least, ratio: round(content / least, 3), 'interface down': interfaceBytes.down, 'interface up': interfaceBytes.up,
    seconds: round(seconds, 1), 'least seconds': round(leastSeconds, 1), 'time ratio': round(seconds / leastSeconds, 2),
  })));
  const failures = results.flatMap(({ scenario, content, least, seconds, leastSeconds }) => {
    const most = scenario === 'update-gateway' ? BAR.gateway : BAR.alone;
    return [
      ...(content <= least * most ? [] : [`${scenario}: ${(content / least).toFixed(3)} times the content of one device, not ${String(most)}`]),
      ...(scenario !== 'time' || seconds <= leastSeconds * BAR.time ? [] : [`time: ${(seconds / leastSeconds).toFixed(2)} times the least, not ${String(BAR.time)}`]),
    ];
  });
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ devices: DEVICES, mbit: MBIT, results, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-swarm-'));
const processes = new Processes(COMPILED_SHOAL);
process.once('SIGINT', () => { processes.kill(); });
try {
  await main(folder, processes);
} finally {
  processes.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
