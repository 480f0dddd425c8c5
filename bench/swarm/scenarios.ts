import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Processes } from '../../demo/processes.ts';
import { Line } from './line.ts';
import type { Device, Site } from './site.ts';
import type { Prepared } from './prepare.ts';
import type { TestBed } from './test-bed.ts';
import { machine } from './usage.ts';
import type { Usage } from './usage.ts';

export interface Setting {
  readonly bed: TestBed;
  readonly site: Site;
  readonly prepared: Prepared;
  readonly processes: Processes;
  readonly devices: number;
  /** For files. */
  readonly folder: string;
  readonly random: () => number;
}

export interface Measured {
  readonly content: number;
  readonly interfaceBytes: { readonly down: number; readonly up: number };
  readonly seconds: number;
  readonly ledgers: readonly unknown[];
  /** What there is to say besides, for people. */
  readonly notes: Readonly<Record<string, string | number>>;
  /** What does not hold, in sentences. */
  readonly failures: readonly string[];
}

const all = (devices: number): readonly number[] => Array.from({ length: devices }, (_, at) => at);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Brings up a device for every older release: number `n` has release `n % older`. They know each other and have nothing to do. */
export async function settled({ site, prepared, devices }: Setting, more: readonly string[] = [], liars = 0): Promise<void> {
  const { older } = prepared.set;
  const mixed = older.length > 1;
  for (const [at, file] of older.entries()) {
    await site.publish(at + 1);
    const group: Device[] = [];
    for (const number of all(devices)) if (number % older.length === at && site.devices[number] === undefined) group.push(await site.addDevice(number, file, more, number >= devices - liars));
    await startAll(group);
    await Promise.all(group.map((device) => device.installed(String(at + 1))));
    if (mixed) await Promise.all(group.map((device) => device.stop()));
  }
  if (!mixed) return;
  // They come back while nobody tells them of the releases in between, and look again when their time has come.
  await site.stopOrigin();
  await startAll(site.devices);
}

/** Some at a time: starting is work for the processor, and they are not to time out meanwhile. */
async function startAll(devices: readonly Device[], at = 6): Promise<void> {
  for (let begin = 0; begin < devices.length; begin += at) await Promise.all(devices.slice(begin, begin + at).map((device) => device.start()));
}

/** When an update began, and what processors had done by then. */
interface Begin {
  readonly at: number;
  readonly busy: number;
  readonly idle: number;
  readonly taken: number;
  readonly seconds: number;
  readonly line: Line;
}

/** The last publication, which all that run hear of at the same moment; returns when. */
export async function release({ bed, site, prepared }: Setting): Promise<Begin> {
  site.halt(true);
  await site.publish(prepared.set.older.length + 1);
  const begin = await beginning(bed, site.devices);
  site.halt(false);
  return begin;
}

/** Of every process once: several devices may share one. */
async function usagesOf(devices: readonly Device[]): Promise<readonly Usage[]> {
  const one = new Map(devices.map((device) => [device.pid ?? device, device]));
  return (await Promise.all([...one.values()].map((device) => device.usage()))).flatMap((usage) => usage ?? []);
}

async function beginning(bed: TestBed, devices: readonly Device[]): Promise<Begin> {
  const seconds = (await usagesOf(devices)).reduce((sum, usage) => sum + usage.seconds, 0);
  return { at: performance.now(), ...(await machine()), seconds, line: new Line(bed) };
}

/** What devices and processors had to do: where the processors are full, they are what was measured. */
async function effort(since: Begin, devices: readonly Device[]): Promise<Measured['notes']> {
  const [usages, { busy, idle, taken }] = [await usagesOf(devices), await machine()];
  const spent = usages.reduce((sum, { seconds }) => sum + seconds, 0) - since.seconds;
  const whole = Math.max(0.01, busy - since.busy + idle - since.idle + taken - since.taken);
  const share = (part: number): string => `${((100 * part) / whole).toFixed(0)} %`;
  const most = (of: (usage: (typeof usages)[number]) => number): number => Math.max(0, ...usages.map(of));
  return {
    'processors busy': share(busy - since.busy),
    'taken by the host': share(taken - since.taken),
    'devices took, s': spent.toFixed(1),
    'largest process, MiB': Math.round(most(({ peak }) => peak) / 2 ** 20),
    'a device, MiB': Math.round(usages.reduce((sum, { peak }) => sum + peak, 0) / devices.length / 2 ** 20),
    'most connections of a host': most(({ connections }) => connections),
    'most open files': most(({ open }) => open),
  };
}

const version = ({ prepared }: Setting): string => String(prepared.set.older.length + 1);

export async function measured(setting: Setting, since: Begin, devices: readonly Device[], notes: Measured['notes'] = {}, failures: readonly string[] = []): Promise<Measured> {
  const seconds = (performance.now() - since.at) / 1000;
  const { content, down, up } = await setting.site.crossed();
  const [used, crossedAt] = [since.line.used, since.line.stop()];
  const took = await effort(since, devices);
  const setOut = devices.flatMap((device) => device.setOut(version(setting)) ?? []).map((at) => (at - since.at) / 1000);
  await setting.site.check(devices);
  return { content, interfaceBytes: { down, up }, seconds, notes: { ...notes, 'set out after, s': `${Math.min(...setOut).toFixed(1)} to ${Math.max(...setOut).toFixed(1)}`, 'crossed after, s': crossedAt, 'line used, %': used, ...took }, failures, ledgers: await Promise.all(devices.map(async (device) => (await device.installed(version(setting)))['ledger'])) };
}

/** Everybody updates. */
export async function update(setting: Setting, more: readonly string[] = []): Promise<Measured> {
  await settled(setting, more);
  return updated(setting);
}

/** The same of a site that is there already. */
export async function updated(setting: Setting): Promise<Measured> {
  const since = await release(setting);
  const said = await Promise.all(setting.site.devices.map((device) => device.installed(version(setting))));
  const shares = said.map((line) => {
    const { origin, deltaFrom } = line['ledger'] as { readonly origin: number; readonly deltaFrom: { readonly origin: number } };
    return origin + deltaFrom.origin;
  });
  const sum = shares.reduce((total, each) => total + each, 0);
  return measured(setting, since, setting.site.devices, { bringers: shares.filter((each) => each > sum / 100).length, 'busiest brought': `${((Math.max(...shares) / sum) * 100).toFixed(0)} %` });
}

/** With a gateway, which nobody was told of. */
export async function withGateway(setting: Setting): Promise<Measured> {
  await setting.site.publish(1);
  await setting.site.startGateway();
  return update(setting);
}

/** All are switched on at once, and find a release that is out already. */
export async function power(setting: Setting): Promise<Measured> {
  const { site } = setting;
  await settled(setting);
  await Promise.all(site.devices.map((device) => device.stop()));
  await site.publish(setting.prepared.set.older.length + 1);
  const since = { ...(await beginning(setting.bed, [])), at: performance.now() };
  await startAll(site.devices, site.devices.length);
  await Promise.all(site.devices.map((device) => device.installed(version(setting))));
  return measured(setting, since, site.devices);
}

/** Three older releases, and two devices that have nothing at all. */
export async function mixed(setting: Setting): Promise<Measured> {
  const { devices, prepared, site } = setting;
  const fresh = 2;
  for (let number = devices - fresh; number < devices; number++) await site.addDevice(number, undefined);
  await settled({ ...setting, devices: devices - fresh });
  await pause(5_000);
  await site.publish(prepared.set.older.length + 1);
  await Promise.race(site.devices.map((device) => device.updating(version(setting))));
  const since = await beginning(setting.bed, site.devices);
  await Promise.all(site.devices.map((device) => device.installed(version(setting))));
  return measured(setting, since, site.devices, { versions: prepared.set.older.length, factory: fresh });
}

/** Half of them update; then the origin is gone, and the others are switched on: everything comes from neighbours. */
export async function gone(setting: Setting): Promise<Measured> {
  const { devices, prepared, site } = setting;
  await settled(setting);
  const [first, second] = [site.devices.slice(0, Math.ceil(devices / 2)), site.devices.slice(Math.ceil(devices / 2))];
  await Promise.all(second.map((device) => device.stop()));
  const since = await release(setting);
  await Promise.all(first.map((device) => device.installed(version(setting))));
  const crossed = await site.crossed();
  since.line.stop();
  await site.stopOrigin();
  await startAll(second);
  const said = await Promise.all(second.map((device) => device.installed(version(setting))));
  const seconds = (performance.now() - since.at) / 1000;
  await site.check(site.devices);
  const ledgers = said.map((line) => line['ledger'] as { readonly delta: number; readonly origin: number });
  const without = prepared.set.deltas ? ledgers.filter(({ delta }) => delta === 0).length : 0;
  return { content: crossed.content, interfaceBytes: { down: crossed.down, up: crossed.up }, seconds, notes: { 'without the origin': second.length, 'without a delta': without }, ledgers, failures: without === 0 ? [] : [`${String(without)} devices got no delta from their neighbours`] };
}

/** A third is killed at random, half of them come back; and whoever fetches is killed every few seconds, and comes back. */
export async function churn(setting: Setting, least: number): Promise<Measured> {
  const { random, site } = setting;
  await settled(setting);
  const since = await release(setting);
  const gone = new Set<Device>();
  const events: Promise<void>[] = [];
  let [over, kills, fetchers] = [false, 0, 0];
  const third = [...site.devices].sort(() => random() - 0.5).slice(0, Math.round(site.devices.length / 3));
  for (const [at, device] of third.entries()) {
    const comesBack = at % 2 === 0;
    events.push((async () => {
      await pause(random() * least * 1000 * 0.9);
      if (over) return;
      kills++;
      await device.kill();
      if (!comesBack) gone.add(device);
      else {
        await pause(2_000 + random() * 4_000);
        await device.start();
      }
    })());
  }
  events.push((async () => {
    for (;;) {
      await pause(4_000);
      if (over) return;
      const victim = site.fetching(site.devices.filter((device) => device.runs && !third.includes(device)));
      if (victim === undefined) continue;
      fetchers++;
      await victim.kill();
      events.push(pause(3_000).then(() => victim.start()));
    }
  })());
  await Promise.all(site.devices.map(async (device) => {
    while (!device.has(version(setting)) && !gone.has(device)) await Promise.race([device.installed(version(setting)), pause(500)]);
  }));
  over = true;
  const result = await measured(setting, since, site.devices.filter((device) => device.has(version(setting))));
  await Promise.all(events);
  const survivors = site.devices.filter((device) => !gone.has(device));
  return { ...result, notes: { ...result.notes, killed: kills, 'killed while fetching': fetchers, 'gone for good': gone.size }, failures: survivors.filter((device) => !device.has(version(setting))).map(({ number }) => `device ${String(number)} did not finish`) };
}

/** The LAN falls in two for twenty seconds in the middle of it. */
export async function cut(setting: Setting): Promise<Measured> {
  const { bed, site } = setting;
  await settled(setting);
  const since = await release(setting);
  await pause(4_000);
  const before = await site.crossed();
  bed.cut(true);
  await pause(20_000);
  const after = await site.crossed();
  bed.cut(false);
  await Promise.all(site.devices.map((device) => device.installed(version(setting))));
  return measured(setting, since, site.devices, { 'crossed while cut': after.content - before.content });
}

/** Two of them send wrong bytes to whoever asks; one of these says that it has everything, and may be passed over before anybody takes anything from it. */
export async function liars(setting: Setting): Promise<Measured> {
  const { bed, devices, prepared, site } = setting;
  const programs = [devices - 2, devices - 1].map((number) => {
    const [command = '', ...args] = [...bed.device(number), process.execPath, new URL('liar.ts', import.meta.url).pathname, '--listen', new URL(site.urlOf(number)).host, '--agent', site.behindLiar(number), ...(prepared.identities === undefined ? [] : ['--identity', prepared.identities.device(number)]), ...(number === devices - 1 ? ['--boast'] : [])];
    return spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  });
  const end = (): void => {
    for (const program of programs) program.kill('SIGKILL');
  };
  // Also when the benchmark is interrupted.
  process.once('exit', end);
  try {
    await Promise.all(programs.map(({ stdout }) => once(stdout, 'data')));
    await settled(setting, [], 2);
    const honest = site.devices.slice(0, devices - 2);
    const since = await release(setting);
    await Promise.all(honest.map((device) => device.installed(version(setting))));
    const result = await measured(setting, since, honest);
    const urls = [site.urlOf(devices - 2), site.urlOf(devices - 1)];
    const caught = urls.map((url) => honest.filter(({ lies }) => lies.has(url)).length);
    const wronged = honest.flatMap(({ number, lies }) => [...lies].filter(([url]) => !urls.includes(url)).map(([url, why]) => `device ${String(number)} took ${url} for a liar, which it is not (${why})`));
    // They are members like all others, and cross the backhaul for what nobody lets them bring any more. Over TLS they tell nobody how much that was.
    const brought = await Promise.all((prepared.identities === undefined ? [devices - 2, devices - 1] : []).map(async (number) => Number(/^shoal_received_bytes\{source="origin"\} (\d+)$/m.exec(await site.metrics(bed.device(number), site.behindLiar(number)))?.[1] ?? 0)));
    return { ...result, notes: { ...result.notes, 'caught by': caught.join(' and '), ...(brought.length === 0 ? {} : { 'liars brought': brought.join(' and '), 'without that': result.content - brought.reduce((sum, each) => sum + each, 0) }) }, failures: [...wronged, ...((caught[0] ?? 0) > 0 ? [] : [`nobody caught ${urls[0] ?? ''}, which sends wrong bytes`])] };
  } finally {
    process.off('exit', end);
    end();
  }
}
