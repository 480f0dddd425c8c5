import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HostileServer } from '../support/hostile-server.ts';
import { PATIENT, Processes } from '../support/processes.ts';
import type { Ended, Server, StartOptions } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
/** Some ten spans: hosts go away at the sixth request, when at most four are under way and two at least have been answered. */
const content = randomBytes(20 * MiB);
const digest = createHash('sha256').update(content).digest('hex');

const processes = new Processes();
const { folder } = processes;
const home = join(folder, 'home');
const relays: HostileServer[] = [];
let serial = 0;
/** Where it does not matter which. */
let shared: Server;

beforeAll(async () => {
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), content);
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1');
  shared = await newOrigin();
});
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.close();
});
afterAll(() => processes.close());

const newOrigin = (listen?: string): Promise<Server> => processes.serve(['origin', '--home', home], listen);

/** A relay in front of a host. `then` is called when the nth span is asked for, and that request gets no answer. */
async function relay(target: string, then: () => unknown, nth = 6): Promise<HostileServer> {
  let spans = 0;
  const server = await HostileServer.start(target, ({ path }) => {
    if (!path.includes('/spans/') || ++spans !== nth) return false;
    void then();
    return true;
  });
  relays.push(server);
  return server;
}

interface Fetched extends Ended {
  readonly output: string;
}

const fetch = (...args: readonly string[]): Promise<Fetched> => fetchAs({}, ...args);

async function fetchAs(options: StartOptions, ...args: readonly string[]): Promise<Fetched> {
  const output = join(folder, `out-${String(serial++)}`);
  const ended = await processes.run(['fetch', 'os', '--trust', join(home, 'trust', 'root.json'), '--state', `${output}-state`, '-o', output, '--json', ...args], undefined, options);
  if (ended.peak !== undefined) expect(ended.peak).toBeLessThan(256_000_000);
  return { ...ended, output };
}

async function isWhole({ code, errors, output }: { readonly code: number | null; readonly errors: string; readonly output: string }): Promise<void> {
  expect([code, errors]).toEqual([0, expect.not.stringContaining('wrong bytes')]);
  expect(createHash('sha256').update(await readFile(output)).digest('hex')).toBe(digest);
}

describe('a transfer goes on', () => {
  it('when its origin is killed in the middle and started again', async () => {
    let origin = await newOrigin();
    const before = origin;
    let back: Promise<void> | undefined;
    let asked: readonly string[] = [];
    let later = (): readonly string[] => [];
    const spans = (): string[] => front.asked.map(({ path }) => path).filter((path) => path.includes('/spans/'));
    const front = await relay(origin.url, () => {
      asked = spans();
      back = (async () => {
        await before.kill();
        // Nothing listens there while it is away.
        await front.down();
        // Whoever asked between the two got no answer.
        const silent = spans().length;
        origin = await newOrigin();
        front.target = origin.url;
        later = () => spans().slice(silent);
        await front.up();
      })();
    });
    const fetched = await fetch('--origin', front.url);
    await back;
    await isWhole(fetched);
    // The spans that were here before are not asked for again: ten or so, at most four under way.
    const again = later().filter((path) => asked.includes(path));
    expect(again.length).toBeLessThan(5);
    expect((fetched.last['ledger'] as { readonly written: number }).written).toBe(content.byteLength);
    await origin.stop();
  });

  it('from the origin when its gateway is killed', async () => {
    const upstream = await relay(shared.url, () => gateway.kill());
    const gateway = await processes.serve(['gateway', '--origin', upstream.url, '--cache', join(folder, `cache-${String(serial++)}`)]);
    const fetched = await fetch('--origin', shared.url, '--gateway', gateway.url);
    await isWhole(fetched);
    expect((fetched.last['ledger'] as { readonly origin: number }).origin).toBeGreaterThan(MiB);
  });

  it('from peers when its gateway is killed, and leaves the origin alone', async () => {
    const cache = join(folder, `cache-${String(serial++)}`);
    // A neighbour that has all of it: a host on the same files.
    const neighbour = await newOrigin();
    const heard = Promise.withResolvers<undefined>();
    const near = await HostileServer.start(neighbour.url, async ({ path }, honest, wire) => {
      if (!path.includes('/holdings/')) return false;
      const { status, headers, body } = await honest();
      wire.answer(status, { ...headers, 'transfer-encoding': undefined, connection: undefined, 'content-length': body.byteLength }, body);
      heard.resolve(undefined);
      return true;
    });
    relays.push(near);
    // Not before the device has heard what its neighbour holds: until then there is only the origin.
    const upstream = await relay(shared.url, () => heard.promise.then(() => gateway.kill()), 1);
    const gateway = await processes.serve(['gateway', '--origin', upstream.url, '--cache', cache]);
    const far = await HostileServer.start(shared.url);
    relays.push(far);
    const patient = { imports: [PATIENT] };
    const fetched = await fetchAs(patient, '--origin', far.url, '--gateway', gateway.url, '--peer', near.url);
    await isWhole(fetched);
    expect(far.asked.filter(({ path }) => path.includes('/spans/'))).toEqual([]);
    // What the killed gateway has in its cache is of use when it comes back.
    upstream.lie = () => false;
    const again = await processes.serve(['gateway', '--origin', upstream.url, '--cache', cache]);
    await isWhole(await fetchAs(patient, '--origin', far.url, '--gateway', again.url));
    expect(far.asked.filter(({ path }) => path.includes('/spans/'))).toEqual([]);
    await Promise.all([neighbour, again].map((each) => each.stop()));
  });

  it('when a peer is killed', async () => {
    const neighbour = await newOrigin();
    const front = await relay(neighbour.url, async () => {
      await neighbour.kill();
      await front.down();
    });
    const fetched = await fetch('--origin', shared.url, '--peer', front.url);
    await isWhole(fetched);
    const { peer, origin: far } = fetched.last['ledger'] as { readonly peer: number; readonly origin: number };
    expect(peer).toBeGreaterThan(MiB);
    expect(far).toBeGreaterThan(MiB);
  });
});

describe('two runs on one output', () => {
  it('are one run: the second says so at once, and nothing is left locked when the first is killed', async () => {
    const held = Promise.withResolvers<undefined>();
    // Gives two spans and keeps the device waiting for the rest.
    const slow = await HostileServer.start(shared.url, ({ path }) => {
      if (!path.includes('/spans/')) return false;
      held.resolve(undefined);
      return true;
    });
    relays.push(slow);
    const output = join(folder, 'shared');
    const args = (url: string, state: string): string[] => ['fetch', 'os', '--origin', url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, state), '-o', output, '--json'];
    const first = processes.start(args(slow.url, 'first'));
    await held.promise;
    const second = await processes.run(args(shared.url, 'second'));
    expect([second.code, second.last]).toEqual([1, expect.objectContaining({ error: 'SLOT_BUSY', ids: { path: output } })]);
    expect(existsSync(output)).toBe(false);
    first.child.kill('SIGKILL');
    await once(first.child, 'close');
    const third = await processes.run(args(shared.url, 'second'));
    await isWhole({ ...third, output });
  });

  it('are told so by Ctrl-C as well: it ends at once and keeps what has arrived', async () => {
    const output = join(folder, 'interrupted');
    let told = 0;
    const front = await relay(shared.url, () => {
      told = performance.now();
      device.child.kill('SIGINT');
    });
    const args = (url: string): string[] => ['fetch', 'os', '--origin', url, '--trust', join(home, 'trust', 'root.json'), '--state', `${output}-state`, '-o', output, '--json'];
    const device = processes.start(args(front.url));
    const ended = await device.ended;
    expect([ended.code, ended.last]).toEqual([1, expect.objectContaining({ ok: false, error: 'INTERRUPTED' })]);
    // What it was waiting for would have been given up after twenty seconds of silence.
    expect(performance.now() - told).toBeLessThan(15_000);
    expect(existsSync(output)).toBe(false);
    const again = await processes.run(args(shared.url));
    await isWhole({ ...again, output });
    expect((again.last['ledger'] as { readonly local: number }).local).toBeGreaterThan(0);
  });
});

// Each is a process that ends at once, so they run beside each other.
describe.concurrent('an output that cannot be one', () => {
  it.each([
    ['in a folder that is not there', 'BAD_OUTPUT', () => join(folder, 'no', 'such', 'folder', 'out')],
    ['that is a folder', 'BAD_OUTPUT', () => folder],
    // A rename over a device node would take the node away.
    ['that is a device', 'BAD_OUTPUT', () => '/dev/null'],
  ])('%s is refused before a byte of content is fetched', async (_name, error, path) => {
    const front = await HostileServer.start(shared.url);
    const ended = await processes.run(['fetch', 'os', '--origin', front.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `state-${String(serial++)}`), '-o', path(), '--json']);
    expect([ended.code, ended.last]).toEqual([1, expect.objectContaining({ error, ids: { path: path() } })]);
    expect(front.asked.filter(({ path: asked }) => asked.includes('/content/'))).toEqual([]);
    await front.close();
  });

  it.each([
    [['--origin', 'here'], 'BAD_URL', /"here"/],
    [['--origin', 'ftp://host/'], 'BAD_URL', /ftp/],
    [['--peer', 'neighbour:1'], 'BAD_URL', /neighbour:1/],
    [['--state', '/dev/null/state'], 'NOT_A_DIRECTORY', /\/dev\/null/],
    [['--trust', '/dev/null'], 'BAD_TRUST_ROOT', /root/],
    [['--base', '/no/such/base'], 'UNREADABLE', /\/no\/such\/base/],
  ])('and neither is %j', async (args, error, named) => {
    const output = join(folder, `out-${String(serial++)}`);
    const given = ['--origin', shared.url, '--trust', join(home, 'trust', 'root.json'), '--state', `${output}-state`].flatMap((each, at, all) => (at % 2 === 0 && !args.includes(each) ? [each, all[at + 1] ?? ''] : []));
    const ended = await processes.run(['fetch', 'os', ...given, ...args, '-o', output, '--json']);
    expect([ended.code, ended.last]).toEqual([1, expect.objectContaining({ ok: false, error, message: expect.stringMatching(named) })]);
    expect(ended.errors).not.toMatch(/^\s+at /m);
  });

  it('is wrong usage where a number is none', async () => {
    const gateway = ['gateway', '--origin', 'http://127.0.0.1:9', '--cache', join(folder, 'x')];
    const slips = [[...gateway, '--max-size', '10X'], [...gateway, '--max-size', '0'], [...gateway, '--poll', '-1'], ['publish', join(folder, 'image'), '--name', 'a', '--version', '1', '--level', '99']];
    await Promise.all(slips.map(async (args) => {
      const ended = await processes.run(args);
      expect([ended.code, ended.errors]).toEqual([2, expect.stringMatching(/give (bytes|a whole number)/)]);
    }));
  });

  it('is a taken port, which is named', async () => {
    const second = await processes.run(['origin', '--home', home, '--listen', new URL(shared.url).host, '--json']);
    expect([second.code, second.last]).toEqual([1, expect.objectContaining({ error: 'LISTEN', message: expect.stringContaining(new URL(shared.url).port) })]);
  });
});
