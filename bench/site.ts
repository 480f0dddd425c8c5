// What a site of eight devices and a gateway costs the backhaul: an update against one device alone, and an idle hour
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Processes } from '../demo/processes.ts';
import type { Json, Server } from '../demo/processes.ts';
import { releases } from '../demo/releases.ts';
import { GATEWAY_POLL_MS } from '../src/core/limits.ts';
import { Relay, onTheInterface, since } from './site/relay.ts';

/** The bars: content over the backhaul against what one device alone needs; bytes of an idle hour. */
const BAR = { content: 1.05, idleBytes: 100_000 };

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '8' },
    polls: { type: 'string', default: '10' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.error('npm run bench -- site [--devices N] [--polls N] [--json] [--check]\n\nEvery byte between the site and the origin passes a counting relay. --check fails above the bars.\nWith --scenario it is "npm run bench -- swarm": devices in network namespaces with shaped links, as that one\'s --help says.');
  process.exit(0);
}
const DEVICES = Number(values.devices);

interface Ledger {
  readonly origin: number;
  readonly gateway: number;
  readonly peer: number;
  readonly control: number;
}

async function installed(agent: Server, version: string): Promise<Ledger> {
  for (;;) {
    const line = await agent.next();
    if (line['event'] === 'installed' && line['version'] === version) return line['ledger'] as Ledger;
  }
}

const sha256 = async (path: string): Promise<string> => createHash('sha256').update(await readFile(path)).digest('hex');

/** Content bytes that a running gateway has received from its origin, as it counts them itself. */
async function received(gateway: Server): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  const bytes = /^shoal_upstream_received_bytes\{plane="content"\} (\S+)$/m.exec(text)?.[1];
  if (bytes === undefined) throw new Error('the gateway does not say what it received');
  return Number(bytes);
}

interface Update {
  /** Content bytes over the backhaul, as the gateway and the devices count them. */
  readonly content: number;
  /** Everything that crossed the relay from publishing to the last device. */
  readonly total: ReturnType<typeof since>;
  readonly ledgers: readonly Ledger[];
}

interface Site {
  readonly origin: Server;
  readonly relay: Relay;
  readonly gateway: Server;
  readonly agents: readonly Server[];
}

/** Everyone asks for news every second instead of every five minutes. */
async function start(processes: Processes, folder: string, home: string): Promise<Site> {
  const origin = await processes.serve('origin', '--home', home);
  const relay = await Relay.start(origin.url);
  const gateway = await processes.serve('gateway', '--origin', relay.url, '--cache', join(folder, 'gateway'), '--poll', '1');
  const agents = await Promise.all(Array.from({ length: DEVICES }, (_, device) => {
    const place = join(folder, `device-${String(device)}`);
    return processes.serve('agent', `esbuild=${place}.wasm`, '--origin', relay.url, '--gateway', gateway.url, '--trust', join(home, 'trust', 'root.json'), '--state', place, '--poll', '1');
  }));
  return { origin, relay, gateway, agents };
}

async function stop({ origin, relay, gateway, agents }: Site): Promise<void> {
  await Promise.all(agents.map((agent) => agent.stop()));
  await gateway.stop();
  await relay.close();
  await origin.stop();
}

/** The whole site takes the newest release. */
async function update({ relay, gateway, agents }: Site, folder: string, release: { readonly version: string; readonly path: string }, publish: () => Promise<unknown>): Promise<Update> {
  // Before it is published: a device may ask the moment it is. The polls meanwhile count as well.
  const [crossed, before] = [relay.crossed, await received(gateway)];
  await publish();
  const ledgers = await Promise.all(agents.map((agent) => installed(agent, release.version)));
  const total = since(relay.crossed, crossed);
  const expected = await sha256(release.path);
  for (const device of agents.keys()) if ((await sha256(join(folder, `device-${String(device)}.wasm`))) !== expected) throw new Error(`device ${String(device)} has other bytes than were published`);
  const direct = ledgers.reduce((sum, { origin }) => sum + origin, 0);
  return { content: direct + (await received(gateway)) - before, total, ledgers };
}

/** One device without anybody near it updates from the first release to the second. */
async function alone(processes: Processes, folder: string, home: string, base: string): Promise<{ readonly content: number; readonly total: ReturnType<typeof since> }> {
  const origin = await processes.serve('origin', '--home', home);
  const relay = await Relay.start(origin.url);
  const before = relay.crossed;
  const { ledger } = (await processes.run('fetch', 'esbuild', '--origin', relay.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'alone'), '-o', join(folder, 'alone.wasm'), '--base', base)) as unknown as { readonly ledger: Ledger };
  const total = since(relay.crossed, before);
  await relay.close();
  await origin.stop();
  return { content: ledger.origin, total };
}

/**
 * An idle site: agents and gateway ask once a second instead of every five minutes; what that costs is counted for a number
 * of polls and taken to an hour at the default. A connection is opened for every poll, as it would be after five minutes.
 */
async function idle(relay: Relay): Promise<{ readonly bytes: number; readonly measuredSeconds: number; readonly measured: ReturnType<typeof since> }> {
  // What follows the update is not idle yet.
  await delay(3_000);
  const [before, began] = [relay.crossed, performance.now()];
  await delay(Number(values.polls) * 1_000);
  const [measured, seconds] = [since(relay.crossed, before), (performance.now() - began) / 1000];
  const polls = seconds;
  const hourly = 3_600_000 / GATEWAY_POLL_MS;
  const perPoll = onTheInterface({ ...measured, connections: Math.max(measured.connections, polls) }) / polls;
  return { bytes: Math.round(perPoll * hourly), measuredSeconds: seconds, measured };
}

async function main(processes: Processes, folder: string): Promise<void> {
  const home = join(folder, 'home');
  await processes.run('init', '--home', home);
  const [first, second] = releases;
  if (first === undefined || second === undefined) return;
  // Content alone: how a site shares what it lacks. What deltas save on top is another question.
  const publish = ({ path, version }: typeof first) => (): Promise<Json> => processes.run('publish', path, '--name', 'esbuild', '--version', version, '--home', home, '--deltas-from', 'none');
  await publish(first)();
  const site = await start(processes, folder, home);
  await update(site, folder, first, () => Promise.resolve());
  const whole = await update(site, folder, second, publish(second));
  const quiet = await idle(site.relay);
  await stop(site);
  const single = await alone(processes, folder, home, first.path);
  const { size } = await stat(releases[1]?.path ?? '');
  const ratio = whole.content / single.content;
  const total = onTheInterface(whole.total);
  console.error(`esbuild ${releases.map(({ version }) => version).join(' to ')}, ${String(size)} bytes, ${String(DEVICES)} devices behind one gateway`);
  console.table([
    { what: 'content over the backhaul', bytes: whole.content, 'one device alone': single.content, ratio: Number(ratio.toFixed(3)) },
    { what: 'everything on the interface', bytes: total, 'one device alone': onTheInterface(single.total), ratio: Number((total / onTheInterface(single.total)).toFixed(3)) },
    { what: 'beside content', bytes: total - whole.content, 'one device alone': onTheInterface(single.total) - single.content },
    { what: `idle hour, asking every ${String(GATEWAY_POLL_MS / 60_000)} minutes`, bytes: quiet.bytes },
  ]);
  const sum = (pick: (ledger: Ledger) => number): number => whole.ledgers.reduce((all, ledger) => all + pick(ledger), 0);
  console.error(`Devices received ${String(sum(({ peer }) => peer))} bytes from each other, ${String(sum(({ gateway }) => gateway))} from the gateway, ${String(sum(({ origin }) => origin))} from the origin.`);
  const failures = [
    ...(ratio <= BAR.content ? [] : [`${ratio.toFixed(3)} times the content of one device, not ${String(BAR.content)}`]),
    ...(quiet.bytes < BAR.idleBytes ? [] : [`an idle hour costs ${String(quiet.bytes)} bytes, not ${String(BAR.idleBytes)}`]),
  ];
  for (const failure of failures) console.error(`below the bar: ${failure}`);
  if (values.json) console.log(JSON.stringify({ devices: DEVICES, whole, single, ratio, interfaceBytes: total, idle: quiet, failures }));
  if (values.check && failures.length > 0) process.exitCode = 1;
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-site-'));
const processes = new Processes();
const cleanUp = async (): Promise<void> => {
  processes.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void cleanUp().then(() => process.exit(130)));
try {
  await main(processes, folder);
} finally {
  await cleanUp();
}
