import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Json, Processes, Server } from '../../demo/processes.ts';
import { Pack } from './pack.ts';
import type { PackedAgent } from './pack.ts';
import type { Prepared } from './prepare.ts';
import type { Counters, TestBed } from './test-bed.ts';
import { usageOf } from './usage.ts';
import type { Usage } from './usage.ts';

const ORIGIN_PORT = 8470;
const GATEWAY_PORT = 8471;
const AGENT_PORT = 8472;
/** Where an agent listens whose neighbours are to reach a liar instead. */
const BEHIND_LIAR_PORT = 8473;

export interface SiteOptions {
  readonly bed: TestBed;
  readonly processes: Processes;
  readonly prepared: Prepared;
  readonly folder: string;
  /** Seconds between polls. */
  readonly poll: number;
  /** Agents in one process. Default 1: a process for each. */
  readonly each?: number;
}

/** Bytes that crossed the backhaul since the newest release came up: content by the origin's own count, all by the interface's. */
export interface Crossed extends Counters {
  readonly content: number;
}

/** One device: its process, which may die and be started again, and what it said. */
export class Device {
  readonly number: number;
  readonly output: string;
  readonly #start: () => Promise<Server>;
  #running: Server | undefined;
  readonly #installed = new Map<string, Json>();
  readonly #updating = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  /** Who lied, and how. */
  readonly lies = new Map<string, string>();
  #failure: Error | undefined;

  constructor(number: number, output: string, start: () => Promise<Server>) {
    this.number = number;
    this.output = output;
    this.#start = start;
  }

  /** What its process has taken since it was started last. */
  async usage(): Promise<Usage | undefined> {
    return this.#running === undefined ? undefined : usageOf(this.#running.pid);
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  get runs(): boolean {
    return this.#running !== undefined;
  }

  async start(): Promise<void> {
    const server = await this.#start();
    this.#running = server;
    void this.#listen(server);
  }

  /** As a power cut would. */
  async kill(): Promise<void> {
    const server = this.#running;
    this.#running = undefined;
    await server?.kill();
  }

  async stop(): Promise<void> {
    const server = this.#running;
    this.#running = undefined;
    await server?.stop();
  }

  halt(on: boolean): void {
    this.#running?.halt(on);
  }

  /** What it said when it had installed `version`, as soon as it has. */
  async installed(version: string): Promise<Json> {
    for (;;) {
      const said = this.#installed.get(version);
      if (said !== undefined) return said;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Returns when it sets out for `version`. */
  async updating(version: string): Promise<void> {
    while (!this.#updating.has(version) && !this.#installed.has(version)) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** When it set out for `version`. */
  setOut(version: string): number | undefined {
    return this.#updating.get(version);
  }

  has(version: string): boolean {
    return this.#installed.has(version);
  }

  async #listen(server: Server): Promise<void> {
    try {
      for (;;) {
        const line = await server.next();
        if (line['event'] === 'installed') this.#installed.set(String(line['version']), line);
        if (line['event'] === 'updating') this.#updating.set(String(line['version']), performance.now());
        if (line['event'] === 'lie') this.lies.set(String(line['source']), `${String(line['code'])}: ${String(line['message'])}`);
        for (const wake of this.#waiting) wake();
        this.#waiting.clear();
      }
    } catch (error) {
      // Killed by us, or ended by itself: then nobody is to wait for it.
      if (this.#running !== server) return;
      this.#failure = error as Error;
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    }
  }
}

/** A site in a test bed: an origin that moves on from one prepared home to the next, devices, perhaps a gateway. */
export class Site {
  readonly devices: Device[] = [];
  readonly #options: SiteOptions;
  #origin: Server | undefined;
  #gateway: Server | undefined;
  readonly #packs = new Map<number, Pack>();
  #before: Counters = { down: 0, up: 0 };

  constructor(options: SiteOptions) {
    this.#options = options;
  }

  get originUrl(): string {
    return `${this.#scheme}://${this.#options.bed.originAddress}:${String(ORIGIN_PORT)}`;
  }

  get #scheme(): string {
    return this.#options.prepared.identities === undefined ? 'http' : 'https';
  }

  /** Puts the origin where it stands after `published` publications. Whatever crosses is counted from here on. */
  async publish(published: number, more: readonly string[] = []): Promise<void> {
    const { bed, prepared, processes } = this.#options;
    await this.#origin?.stop();
    this.#origin = await processes.serveAt({ prefix: bed.origin, listen: `${bed.originAddress}:${String(ORIGIN_PORT)}` }, 'origin', '--home', prepared.home(published), ...more, ...(prepared.identities === undefined ? ['--insecure-http'] : []));
    this.#before = bed.backhaul;
  }

  async stopOrigin(): Promise<void> {
    await this.#origin?.stop();
    this.#origin = undefined;
  }

  async startGateway(): Promise<void> {
    const { bed, folder, prepared, processes } = this.#options;
    const host = bed.address(bed.devices);
    this.#gateway = await processes.serveAt({ prefix: bed.device(bed.devices), listen: `${host}:${String(GATEWAY_PORT)}` }, 'gateway', '--origin', this.originUrl, '--cache', join(folder, 'gateway'), '--poll', '1', '--mdns', host, ...this.#identity(prepared.identities?.gateway));
  }

  async stopGateway(): Promise<void> {
    await this.#gateway?.stop();
    this.#gateway = undefined;
  }

  /** A device with a copy of `file` in its place, or with nothing. `liar`: neighbours reach it through one. */
  async addDevice(number: number, file: string | undefined, more: readonly string[] = [], liar = false): Promise<Device> {
    const { bed, each = 1, poll, prepared, processes } = this.#options;
    const place = this.#placeOf(number);
    await mkdir(place, { recursive: true });
    const output = join(place, 'firmware');
    if (file !== undefined) await copyFile(file, output);
    const address = bed.address(number);
    if (each > 1) {
      if (more.length > 0 || liar) throw new Error('only what all devices do alike goes with several in a process');
      const packed = new Device(number, output, () => this.#pack(number - (number % each), each).server(number));
      this.devices[number] = packed;
      return packed;
    }
    const port = liar ? BEHIND_LIAR_PORT : AGENT_PORT;
    const device = new Device(number, output, () => processes.serveAt(
      { prefix: bed.device(number), listen: `${address}:${String(port)}` }, 'agent', `firmware=${output}`, '--origin', this.originUrl, '--trust', prepared.trust, '--state', join(place, 'state'),
      '--poll', String(poll), '--mdns', address, ...(liar ? ['--advertise', this.urlOf(number)] : []), ...more, ...this.#identity(prepared.identities?.device(number)),
    ));
    this.devices[number] = device;
    return device;
  }

  #placeOf(number: number): string {
    return join(this.#options.folder, `device-${String(number)}`);
  }

  #pack(first: number, each: number): Pack {
    const { bed, poll, prepared } = this.#options;
    const known = this.#packs.get(first);
    if (known !== undefined) return known;
    const agents = Array.from({ length: Math.min(each, bed.devices - first) }, (_, at): PackedAgent => {
      const [device, place] = [first + at, this.#placeOf(first + at)];
      const identity = prepared.identities?.device(device);
      return { device, output: join(place, 'firmware'), trust: prepared.trust, address: bed.address(device), port: AGENT_PORT, poll, origin: this.originUrl, state: join(place, 'state'), ...(identity === undefined ? {} : { identity }) };
    });
    const pack = new Pack(agents, bed.device(first));
    this.#packs.set(first, pack);
    return pack;
  }

  /** Ends at once what `Processes` does not know of. */
  kill(): void {
    for (const pack of this.#packs.values()) pack.kill();
  }

  urlOf(number: number): string {
    return `${this.#scheme}://${this.#options.bed.address(number)}:${String(AGENT_PORT)}`;
  }

  behindLiar(number: number): string {
    return `${this.#scheme}://${this.#options.bed.address(number)}:${String(BEHIND_LIAR_PORT)}`;
  }

  halt(on: boolean): void {
    for (const device of this.devices) device.halt(on);
  }

  /** What has crossed since the last publication. */
  async crossed(): Promise<Crossed> {
    const { bed } = this.#options;
    const { down, up } = bed.backhaul;
    const text = await this.metrics(bed.origin, this.originUrl);
    const sent = Number(/^shoal_http_sent_bytes_total\{plane="content"\} (\S+)$/m.exec(text)?.[1] ?? 0);
    // What the origin had handed to its kernel for a device that died never left it.
    return { content: Math.min(sent, down - this.#before.down), down: down - this.#before.down, up: up - this.#before.up };
  }

  metrics(prefix: readonly string[], url: string): Promise<string> {
    return this.#options.processes.fetchIn(prefix, `${url}/metrics`, this.#options.prepared.identities?.operator);
  }

  /** What the origin answers for `path`. */
  fetch(path: string): Promise<string> {
    const { bed, prepared, processes } = this.#options;
    return processes.fetchIn(bed.origin, `${this.originUrl}${path}`, prepared.identities?.operator);
  }

  /** The status of a plain URL, asked from the origin's own host. */
  status(url: string): number {
    const [command = '', ...args] = [...this.#options.bed.origin, 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', url];
    return Number(spawnSync(command, args, { encoding: 'utf8' }).stdout);
  }

  /** Requests for the timestamp that the origin has answered; for a root that is not there yet it answers 404. */
  async requests(): Promise<number> {
    const text = await this.metrics(this.#options.bed.origin, this.originUrl);
    return [...text.matchAll(/^shoal_http_requests_total\{[^}]*metadata\/:file[^}]*status="(?:200|304)"[^}]*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Renews the certificates of a device. */
  async renew(device: number): Promise<void> {
    const { bed, prepared, processes } = this.#options;
    await processes.runIn(bed.device(device), 'renew', '--identity', prepared.identities?.device(device) ?? '', '--origin', this.originUrl);
  }

  /** Of the devices `among`, the one that the origin has most to send to just now. */
  fetching(among: readonly Device[]): Device | undefined {
    const { bed } = this.#options;
    const [command = '', ...args] = [...bed.origin, 'ss', '-tnH', 'state', 'established', 'sport', '=', `:${String(ORIGIN_PORT)}`];
    const waiting = new Map<string, number>();
    for (const line of spawnSync(command, args, { encoding: 'utf8' }).stdout.split('\n')) {
      const [, sendQueue = '0', , peer = ''] = line.trim().split(/\s+/);
      const address = peer.replace(/:\d+$/, '');
      waiting.set(address, (waiting.get(address) ?? 0) + Number(sendQueue));
    }
    const queued = (device: Device): number => waiting.get(bed.address(device.number)) ?? 0;
    return among.filter((device) => queued(device) > 0).toSorted((a, b) => queued(b) - queued(a))[0];
  }

  /** Throws unless every one of `devices` has what was published last. */
  async check(devices: readonly Device[]): Promise<void> {
    const expected = await sha256(this.#options.prepared.set.target);
    for (const { number, output } of devices) if ((await sha256(output)) !== expected) throw new Error(`device ${String(number)} has other bytes than were published`);
  }

  async stop(): Promise<void> {
    this.halt(false);
    await Promise.all(this.devices.map((device) => device.stop()));
    await this.stopGateway();
    await this.stopOrigin();
  }

  #identity(path: string | undefined): readonly string[] {
    return path === undefined ? ['--insecure-http'] : ['--identity', path];
  }
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
