import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

export interface TestBedOptions {
  readonly devices: number;
  /** Of the line between the site and the origin, each way, Mbit/s. */
  readonly backhaulMbit: number;
  /** Of every device's own line to the LAN, each way, Mbit/s. */
  readonly lanMbit: number;
  /** Devices that share a host, each with an address of its own, and so a line to the LAN. Default 1. */
  readonly each?: number;
}

/** Bytes on the site's side of the backhaul, heads of packets included, as the kernel counts them. */
export interface Counters {
  readonly down: number;
  readonly up: number;
}

/** What a queue may hold before packets are dropped: 50 ms, but never less than two segments as the kernel hands them over. */
function shape(mbit: number): readonly string[] {
  const burst = Math.max(130_000, (mbit * 1e6) / 8 / 100);
  return ['root', 'tbf', 'rate', `${String(mbit)}mbit`, 'burst', String(Math.round(burst)), 'latency', '50ms'];
}

/**
 * The kernel remembers at which station of a link an address is, for all namespaces together no more than so many: with 50 devices that
 * know each other the table is full, and they cannot reach each other, as on no real LAN. Each of the three bounds is put back at the end.
 */
const NEIGHBOURS = ['gc_thresh3', 'gc_thresh2', 'gc_thresh1'].map((name) => `/proc/sys/net/ipv4/neigh/default/${name}`);

/**
 * A site on this machine: every host a network namespace of its own, devices on one bridge behind a router, the origin beyond
 * a slow line. Needs root and iproute2. Nothing of it reaches any other network.
 */
export class TestBed {
  readonly #prefix = `shoal${String(process.pid)}`;
  readonly #names: string[] = [];
  readonly #bounds = new Map<string, string>();
  #removed = false;
  readonly devices: number;
  readonly backhaulMbit: number;
  readonly #each: number;

  constructor({ devices, backhaulMbit, lanMbit, each = 1 }: TestBedOptions) {
    if (!(devices >= 1 && devices <= 250)) throw new Error('1 to 250 devices');
    this.devices = devices;
    this.backhaulMbit = backhaulMbit;
    this.#each = each;
    for (const path of NEIGHBOURS) {
      const before = readFileSync(path, 'utf8').trim();
      const needed = 2 * (devices + 3) ** 2;
      if (Number(before) >= needed) continue;
      this.#bounds.set(path, before);
      writeFileSync(path, String(needed));
    }
    const origin = this.#host('o');
    const router = this.#host('r');
    this.#ip('link', 'add', 'back', 'netns', router, 'type', 'veth', 'peer', 'name', 'back', 'netns', origin);
    this.#in(origin, 'ip', 'addr', 'add', '10.78.0.1/24', 'dev', 'back');
    this.#in(router, 'ip', 'addr', 'add', '10.78.0.2/24', 'dev', 'back');
    for (const host of [origin, router]) {
      this.#in(host, 'ip', 'link', 'set', 'back', 'up');
      this.#in(host, 'tc', 'qdisc', 'add', 'dev', 'back', ...shape(backhaulMbit));
    }
    this.#in(origin, 'ip', 'route', 'add', '10.77.0.0/16', 'via', '10.78.0.2');
    this.#in(router, 'ip', 'link', 'add', 'lan', 'type', 'bridge', 'mcast_snooping', '0');
    this.#in(router, 'ip', 'addr', 'add', '10.77.0.1/16', 'dev', 'lan');
    this.#in(router, 'ip', 'link', 'set', 'lan', 'up');
    this.#in(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    // One more than there are devices: the last is the gateway's.
    for (let device = 0; device <= devices; device++) {
      if (device % each !== 0 && device !== devices) {
        this.#in(this.#hostOf(device), 'ip', 'addr', 'add', `${this.address(device)}/16`, 'dev', 'eth');
        continue;
      }
      const host = this.#host(this.#hostName(device));
      const port = `p${String(device)}`;
      this.#ip('link', 'add', port, 'netns', router, 'type', 'veth', 'peer', 'name', 'eth', 'netns', host);
      this.#in(router, 'ip', 'link', 'set', port, 'master', 'lan', 'up');
      this.#in(router, 'tc', 'qdisc', 'add', 'dev', port, ...shape(lanMbit));
      this.#in(host, 'ip', 'addr', 'add', `${this.address(device)}/16`, 'dev', 'eth');
      this.#in(host, 'ip', 'link', 'set', 'eth', 'up');
      this.#in(host, 'tc', 'qdisc', 'add', 'dev', 'eth', ...shape(lanMbit));
      this.#in(host, 'ip', 'route', 'add', 'default', 'via', '10.77.0.1');
    }
  }

  static get missing(): string | undefined {
    if (process.getuid?.() !== 0) return 'network namespaces need root';
    return ['ip', 'tc'].every((command) => spawnSync(command, ['-V']).status === 0) ? undefined : 'ip and tc (iproute2) are not installed';
  }

  readonly originAddress = '10.78.0.1';
  /** What a command line on the origin's host begins with. */
  get origin(): readonly string[] {
    return this.#enter(this.#name('o'));
  }

  /** The same for a device; number `devices` is the gateway's host. */
  device(number: number): readonly string[] {
    return this.#enter(this.#hostOf(number));
  }

  /** The gateway's host is nobody else's. */
  #hostName(device: number): string {
    return device === this.devices ? 'g' : `d${String(device - (device % this.#each))}`;
  }

  #hostOf(device: number): string {
    return this.#name(this.#hostName(device));
  }

  address(device: number): string {
    return `10.77.${String(this.#half(device))}.${String(device + 2)}`;
  }

  #half(device: number): 1 | 2 {
    return device < this.devices / 2 ? 1 : 2;
  }

  get backhaul(): Counters {
    const read = (what: string): number => Number(this.#in(this.#name('r'), 'cat', `/sys/class/net/back/statistics/${what}_bytes`));
    return { down: read('rx'), up: read('tx') };
  }

  /**
   * Cuts the LAN in two, silently: what one half sends to the other goes to a station that is not there; both still reach the
   * router. Heals with false. Discovery still hears across the cut, so that members are known who cannot be reached: the harder case.
   */
  cut(apart: boolean): void {
    const devices = Array.from({ length: this.devices }, (_, device) => device);
    for (const device of devices) {
      const others = devices.filter((other) => this.#half(other) !== this.#half(device));
      const lines = others.map((other) => (apart ? `neigh replace ${this.address(other)} lladdr 02:00:00:00:00:01 nud permanent dev eth` : `neigh del ${this.address(other)} dev eth`));
      this.#run('ip', ['-n', this.#hostOf(device), '-batch', '-'], `${lines.join('\n')}\n`);
    }
  }

  get removed(): boolean {
    return this.#removed;
  }

  /** Takes it all down. Processes in it are to have ended. */
  remove(): void {
    this.#removed = true;
    for (const [path, before] of [...this.#bounds].reverse()) writeFileSync(path, before);
    this.#bounds.clear();
    for (const name of this.#names) spawnSync('ip', ['netns', 'del', name]);
  }

  #name(host: string): string {
    return `${this.#prefix}${host}`;
  }

  #host(host: string): string {
    const name = this.#name(host);
    this.#ip('netns', 'add', name);
    this.#names.push(name);
    this.#in(name, 'ip', 'link', 'set', 'lo', 'up');
    return name;
  }

  #enter(name: string): readonly string[] {
    return ['ip', 'netns', 'exec', name];
  }

  #ip(...args: readonly string[]): void {
    this.#run('ip', args);
  }

  #in(name: string, command: string, ...args: readonly string[]): string {
    return this.#run('ip', ['netns', 'exec', name, command, ...args]);
  }

  #run(command: string, args: readonly string[], input = ''): string {
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', input });
    if (status === 0) return stdout;
    this.remove();
    throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  }
}
