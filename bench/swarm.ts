// A site of many devices in network namespaces with shaped links: backhaul bytes and time against what is possible at all
import { existsSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Processes } from '../demo/processes.ts';
import { randomFrom } from '../test/support/random.ts';
import { COMPILED_SHOAL, compile } from './compiled.ts';
import { prepare } from './swarm/prepare.ts';
import type { Prepared } from './swarm/prepare.ts';
import { releasesFor } from './swarm/releases.ts';
import { stock } from './swarm/baselines.ts';
import { IDLE_POLL_S, WATCHED_S, idle } from './swarm/idle.ts';
import { rival } from './swarm/rival.ts';
import { strangers } from './swarm/strangers.ts';
import { churn, cut, gone, liars, mixed, power, update, withGateway } from './swarm/scenarios.ts';
import type { Measured, Setting } from './swarm/scenarios.ts';
import { Site } from './swarm/site.ts';
import { TestBed } from './swarm/test-bed.ts';

interface Scenario {
  readonly what: string;
  /** Which releases: the pair, a file that nothing compresses and nobody has anything of, or three older ones and the newest. */
  readonly set: 'pair' | 'random' | 'series';
  readonly run: (setting: Setting, leastSeconds: number) => Promise<Measured>;
  /** Most content over the backhaul, times that of one device alone. */
  readonly bytes?: number;
  /** Most time, times the least possible. */
  readonly time?: number;
  /** Seconds between polls. Default 1, and an eighth for each device where there are many: polling is work, too. */
  readonly poll?: number;
  /** What crossed while the LAN was cut may cross once more. */
  readonly twice?: boolean;
}

/** With the bars of what it must show. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  update: { what: 'all devices have the previous release; no gateway', set: 'pair', run: (setting) => update(setting), bytes: 1.05 },
  'update-gateway': { what: 'the same with a gateway', set: 'pair', run: withGateway, bytes: 1.02 },
  power: { what: 'the same without, all switched on at once', set: 'pair', run: power, bytes: 1.05 },
  time: { what: 'a release of SIZE MiB that nothing compresses and nobody has anything of', set: 'random', run: (setting) => update(setting), bytes: 1.05, time: 1.15 },
  mixed: { what: 'three older releases and two devices from the factory', set: 'series', run: mixed, bytes: 1.1, poll: 40 },
  gone: { what: 'half of them update, then the origin is gone and the others are switched on', set: 'pair', run: gone, bytes: 1.05 },
  churn: { what: 'as time; a third killed, half of them back, whoever fetches killed every 4 s', set: 'random', run: churn, bytes: 1.25 },
  cut: { what: 'as time; the LAN falls in two for 20 s', set: 'random', run: cut, bytes: 1.05, twice: true },
  liars: { what: 'as time; two of the devices lie', set: 'random', run: liars, bytes: 1.15 },
  idle: { what: 'nothing happens: bytes a day, from polls that come faster (see bench/swarm/idle.ts)', set: 'pair', run: (setting) => idle(setting, 1_000_000, Number(values.watched)), poll: IDLE_POLL_S },
  strangers: { what: 'as time, with --tls, while strangers connect to everybody all the time', set: 'random', run: (setting) => strangers(setting), bytes: 1.05 },
  rival: { what: 'as time, while somebody else needs the line as well', set: 'random', run: (setting) => rival(setting, false), bytes: 1.05 },
  'rival-gentle': { what: 'the same with --gentle', set: 'random', run: (setting) => rival(setting, true), bytes: 1.05 },
  'time-gentle': { what: 'as time, with --gentle', set: 'random', run: (setting) => update(setting, ['--gentle']), bytes: 1.05 },
  curl: { what: 'for comparison: every device fetches what "time" does with curl', set: 'random', run: (setting) => stock('curl', setting) },
  aria2: { what: 'the same as a torrent with web seed and tracker, by aria2', set: 'random', run: (setting) => stock('aria2', setting) },
  transmission: { what: 'the same by transmission', set: 'random', run: (setting) => stock('transmission', setting) },
  'liars-update': { what: 'as update; two of the devices lie', set: 'pair', run: liars, bytes: 1.15 },
};

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '16' },
    backhaul: { type: 'string', default: '16' },
    lan: { type: 'string', default: '200' },
    each: { type: 'string', default: '1' },
    size: { type: 'string', default: '64' },
    scenario: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
    seed: { type: 'string', default: '1' },
    watched: { type: 'string', default: String(WATCHED_S) },
    tls: { type: 'boolean', default: false },
    node: { type: 'boolean', default: false },
    from: { type: 'string' },
    to: { type: 'string' },
    data: { type: 'string' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error(`npm run bench -- swarm [--devices N] [--backhaul MBIT] [--lan MBIT] [--each N] [--size MIB] [--scenario LIST] [--tls] [--node | --from FILE --to FILE]
                       [--data DIR] [--seed N] [--watched S] [--json] [--check]

Real agents in network namespaces of their own, on a LAN behind a slow line to the origin (tc tbf). Needs root and iproute2.
${Object.entries(SCENARIOS).map(([name, { what }]) => `  ${name.padEnd(15)} ${what}`).join('\n')}

With --each several agents share a process, and their host's line: 200 processes start for minutes on two processors.
With --tls every host is enrolled and talks mutual TLS; without, plain HTTP. The releases are two of esbuild-wasm, with --node two of
Node.js. An idle site is watched for S seconds, ${String(WATCHED_S)} if not said otherwise, and a day made of its polls. --data keeps releases and prepared homes for the next run. --check exits 1 above the bars.

Example: npm run bench -- swarm --scenario churn,cut --data /var/tmp/swarm --check`);
  process.exit(0);
}

const DEVICES = Number(values.devices);
const EACH = Number(values.each);
const MBIT = { backhaul: Number(values.backhaul), lan: Number(values.lan) };

interface Result extends Measured {
  readonly scenario: string;
  readonly least: number;
  readonly leastSeconds: number;
}

/** Kumar and Ross, 2006, all in the smallest form a device can use: the line to the site, a device's own line, and all uploads together. */
function leastSecondsFor(least: number): number {
  const bits = least * 8;
  return Math.max(bits / (MBIT.backhaul * 1e6), bits / (MBIT.lan * 1e6), (DEVICES * bits) / ((MBIT.backhaul + DEVICES * MBIT.lan) * 1e6));
}

async function one(name: string, scenario: Scenario, folder: string, processes: Processes, prepared: Prepared): Promise<Result> {
  const bed = new TestBed({ devices: DEVICES, backhaulMbit: MBIT.backhaul, lanMbit: MBIT.lan * EACH, each: EACH });
  const site = new Site({ bed, processes, prepared, folder, poll: scenario.poll ?? Math.max(1, DEVICES / 8), each: EACH });
  const leastSeconds = leastSecondsFor(prepared.least);
  takeDown = () => {
    processes.kill();
    site.kill();
    bed.remove();
  };
  try {
    const measured = await scenario.run({ bed, site, processes, prepared, devices: DEVICES, folder, random: randomFrom(Number(values.seed)) }, leastSeconds);
    return { scenario: name, least: prepared.least, leastSeconds, ...measured };
  } finally {
    takeDown();
  }
}

function failuresOf({ scenario: name, content, least, leastSeconds, seconds, failures, notes }: Result): readonly string[] {
  const { bytes, time, twice }: Partial<Scenario> = SCENARIOS[name] ?? {};
  const most = least * (bytes ?? Infinity) + (twice === true ? Number(notes['crossed while cut']) / 2 : 0);
  return [
    ...failures.map((failure) => `${name}: ${failure}`),
    ...(content <= most ? [] : [`${name}: ${(content / least).toFixed(3)} times the content of one device, not ${(most / least).toFixed(3)}`]),
    ...(time === undefined || seconds <= leastSeconds * time ? [] : [`${name}: ${(seconds / leastSeconds).toFixed(2)} times the least time, not ${String(time)}`]),
  ];
}

async function main(folder: string, processes: Processes): Promise<void> {
  const missing = TestBed.missing;
  if (missing !== undefined) throw new Error(missing);
  compile();
  const data = values.data ?? join(folder, 'data');
  await mkdir(data, { recursive: true });
  // Many devices start on a few processors: nobody compiles what another one has.
  process.env['NODE_COMPILE_CACHE'] = join(data, 'compile-cache');
  const results: Result[] = [];
  for (const name of values.scenario.split(',')) {
    const scenario = SCENARIOS[name];
    if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
    const set = await releasesFor(scenario.set, { data, size: Number(values.size), node: values.node, from: values.from, to: values.to });
    const prepared = await prepare(processes, join(data, `${set.name}${values.tls ? `-tls-${String(DEVICES)}` : ''}`), set, values.tls ? DEVICES : undefined);
    const place = join(folder, name);
    await mkdir(place);
    const result = await one(name, scenario, place, processes, prepared);
    await rm(place, { recursive: true, force: true, maxRetries: 5 });
    const { least, leastSeconds, content, interfaceBytes, seconds, notes } = result;
    console.error(`${name}: ${String(content)} bytes of content over the backhaul, ${(content / least).toFixed(3)} x ${String(least)}; ${seconds.toFixed(1)} s, ${(seconds / leastSeconds).toFixed(2)} x ${leastSeconds.toFixed(1)}; interface ${String(interfaceBytes.down)} down, ${String(interfaceBytes.up)} up; ${Object.entries(notes).map(([what, value]) => `${what} ${String(value)}`).join(', ')}; target ${((await stat(set.target)).size / 1e6).toFixed(1)} MB`);
    results.push(result);
  }
  console.error(`${String(DEVICES)} devices, backhaul ${values.backhaul} Mbit/s, LAN ${values.lan} Mbit/s each, ${values.tls ? 'mutual TLS' : 'plain HTTP'}, ${String(availableParallelism())} cores for all of them`);
  console.table(results.map(({ scenario, content, least, interfaceBytes, seconds, leastSeconds }) => ({
    scenario, 'content over backhaul': content, 'one device alone': least, ratio: round(content / least, 3), 'interface down': interfaceBytes.down, 'interface up': interfaceBytes.up,
    seconds: round(seconds, 1), 'least seconds': round(leastSeconds, 1), 'time ratio': round(seconds / leastSeconds, 2),
  })));
  const failures = results.flatMap(failuresOf);
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ devices: DEVICES, mbit: MBIT, results, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
const folder = await mkdtemp(join(existsSync('/var/tmp') ? '/var/tmp' : tmpdir(), 'shoal-bench-swarm-'));
const processes = new Processes(COMPILED_SHOAL);
/** Takes down what would outlive this process: namespaces, and what runs in them. */
let takeDown = (): void => { processes.kill(); };
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => {
  takeDown();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.exit(130);
});
try {
  await main(folder, processes);
} finally {
  processes.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
