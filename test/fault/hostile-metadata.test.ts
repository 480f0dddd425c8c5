import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wire as paths } from '../../src/core/wire.ts';
import { RepositoryFiles } from '../../src/trust/repository/files.ts';
import { initHome } from '../../src/trust/repository/init.ts';
import { renewOnline } from '../../src/trust/repository/online.ts';
import type { TrustHome } from '../../src/trust/repository/home.ts';
import { HostileServer } from '../support/hostile-server.ts';
import type { Lie } from '../support/hostile-server.ts';
import { LastingDevice, MOST_MEMORY } from '../support/lasting-device.ts';
import { Processes } from '../support/processes.ts';
import type { Ended, Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';
import { Calendar, DAY, release, testHome } from '../support/trust-homes.ts';

const content = randomBytes(300_000);
const digest = createHash('sha256').update(content).digest('hex');

const processes = new Processes();
/** For all fetches that come one after another. */
const device = new LastingDevice();
const { folder } = processes;
const home = join(folder, 'home');
const trust = join(home, 'trust', 'root.json');
const hostile: HostileServer[] = [];
let origin: Server;
let serial = 0;
/** Genuine files of the state before the newest release, and of another fleet. */
const old = new Map<string, Buffer>();
let stranger: TrustHome;

beforeAll(async () => {
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), randomBytes(1000));
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '3');
  for (const name of await readdir(join(home, 'metadata'))) old.set(name, await readFile(join(home, 'metadata', name)));
  await writeFile(join(folder, 'image'), content);
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '2', '--home', home, '--level', '3');
  origin = await processes.serve(['origin', '--home', home]);
  stranger = await aged(0);
});
afterAll(async () => {
  for (const server of hostile) await server.close();
  device.close();
  await processes.close();
});

/** A repository whose last signature is `days` old, with one release that nobody can fetch: it is refused before. */
async function aged(days: number, more: Parameters<typeof release>[3] = {}): Promise<TrustHome> {
  const calendar = new Calendar();
  calendar.ms = Date.now() - days * DAY;
  const made = testHome(join(folder, `home-${String(serial++)}`), calendar);
  await initHome(made);
  await release(made, 'os', '2', more);
  return made;
}

async function liar(lie: Lie): Promise<HostileServer> {
  const server = await HostileServer.start(origin.url, lie);
  hostile.push(server);
  return server;
}

/** Serves another repository in the place of the origin's. */
function showing(repository: TrustHome): Lie {
  const files = new RepositoryFiles(repository);
  return async ({ path }, _, wire) => {
    if (!path.startsWith('/v1/tuf/')) return false;
    const bytes = path.startsWith(paths.metadata) ? await files.metadata(path.slice(paths.metadata.length + 1)) : await files.target(path.slice(paths.targets.length + 1));
    wire.answer(bytes === undefined ? 404 : 200, {}, bytes ?? Buffer.alloc(0));
    return true;
  };
}

/** Changes the files whose path contains `part`; undefined takes them away. */
function changing(part: string, change: (bytes: Buffer) => Uint8Array | undefined): Lie {
  return async ({ path }, honest, wire) => {
    if (!path.startsWith('/v1/tuf/') || !path.includes(part)) return false;
    const bytes = change((await honest()).body);
    wire.answer(bytes === undefined ? 404 : 200, {}, bytes ?? Buffer.alloc(0));
    return true;
  };
}

function endless(part: string): Lie {
  const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, ' '), Buffer.from('\r\n')]);
  return ({ path }, _, wire) => {
    if (!path.startsWith('/v1/tuf/') || !path.includes(part)) return false;
    wire.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    wire.endless(() => piece);
    return true;
  };
}

const flip = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.byteLength >> 1] = (copy[copy.byteLength >> 1] ?? 0) ^ 1;
  return copy;
};
const newerVersion = (bytes: Buffer): Buffer => Buffer.from(bytes.toString('utf8').replace(/"version": ?(\d+)/, (_, version: string) => `"version": ${String(Number(version) + 1)}`));

/** What a host can do with trust files that a device recognises whoever else there is. */
const LIES: Readonly<Record<string, readonly [code: RegExp, lie: () => Lie]>> = {
  'shows another fleet': [/^TUF_SIGNATURE$/, () => showing(stranger)],
  'shows timestamps it changed': [/^TUF_SIGNATURE$/, () => changing('timestamp', newerVersion)],
  'mixes an older snapshot in': [/^TUF_MIX_AND_MATCH$|^TUF_LENGTH$|^TUF_HASH$/, () => changing('.snapshot', () => [...old].find(([name]) => name.endsWith('.snapshot.json'))?.[1])],
  'mixes an older product in': [/^TUF_MIX_AND_MATCH$|^TUF_LENGTH$|^TUF_HASH$|^TUF_ENDLESS$/, () => changing('product-os', () => [...old].find(([name]) => name.includes('product-os'))?.[1])],
  'damages the snapshot': [/^TUF_HASH$/, () => changing('.snapshot', flip)],
  'damages the targets': [/^TUF_HASH$/, () => changing('.targets', flip)],
  'damages the manifest': [/^TUF_HASH$/, () => changing('.latest', flip)],
  'cuts the snapshot': [/^TUF_LENGTH$/, () => changing('.snapshot', (bytes) => bytes.subarray(0, -10))],
  'cuts the manifest': [/^TUF_LENGTH$/, () => changing('.latest', (bytes) => bytes.subarray(0, -10))],
  'lengthens the manifest': [/^TUF_ENDLESS$/, () => changing('.latest', (bytes) => Buffer.concat([bytes, bytes]))],
  'has no timestamp': [/^TUF_MISSING$/, () => changing('timestamp', () => undefined)],
  'has no manifest': [/^TUF_MISSING$/, () => changing('.latest', () => undefined)],
  'sends a page for people': [/^TUF_MALFORMED$/, () => changing('timestamp', () => Buffer.from('<html><h1>Please log in</h1></html>'))],
  'sends half a million brackets as a root': [/^TUF_MALFORMED$/, () => changing('2.root.json', () => Buffer.alloc(499_000, '['))],
  'sends a root without end': [/^TUF_ENDLESS$/, () => endless('2.root.json')],
  'sends a timestamp without end': [/^TUF_ENDLESS$/, () => endless('timestamp')],
  'sends a snapshot without end': [/^TUF_ENDLESS$/, () => endless('.snapshot')],
  'sends targets without end': [/^TUF_ENDLESS$/, () => endless('.targets')],
  'sends a product without end': [/^TUF_ENDLESS$/, () => endless('product-os')],
  'sends a manifest without end': [/^TUF_ENDLESS$/, () => endless('.latest')],
};

interface Fetched extends Ended {
  readonly output: string;
}

async function fetch(options: { readonly state?: string; readonly root?: string; readonly wanted?: string; readonly args: readonly string[] }, runner: Pick<Processes, 'run'> = device): Promise<Fetched> {
  const output = join(folder, `out-${String(serial++)}`);
  await writeFile(output, 'the version before');
  const { wanted = 'os', root = trust, state = `${output}-state`, args } = options;
  const ended = await runner.run(['fetch', wanted, '--trust', root, '--state', state, '-o', output, '--json', ...args]);
  if (ended.peak !== undefined) expect(ended.peak).toBeLessThan(MOST_MEMORY);
  return { ...ended, output };
}

async function isRefused(fetched: Fetched, code: RegExp, culprit: string): Promise<void> {
  expect([fetched.code, fetched.errors]).toEqual([1, expect.stringMatching(/^shoal: /)]);
  expect(String(fetched.last['error'])).toMatch(code);
  expect(String(fetched.last['message'])).toContain(culprit);
  expect(fetched.errors).not.toMatch(/^\s+at /m);
  expect(await readFile(fetched.output, 'utf8')).toBe('the version before');
  expect(existsSync(join(folder, `.${basename(fetched.output)}.shoal-partial`))).toBe(false);
}

async function isFetched({ code, errors, output }: Fetched): Promise<void> {
  expect([code, errors]).toEqual([0, expect.any(String)]);
  expect(createHash('sha256').update(await readFile(output)).digest('hex')).toBe(digest);
}

describe('an origin that', () => {
  it.each(Object.entries(LIES))('%s is refused by name', async (_name, [code, lie]) => {
    const { url } = await liar(lie());
    await isRefused(await fetch({ args: ['--origin', url] }), code, url);
  });

  it('shows a device an older state than it has seen is refused by name', async () => {
    const state = join(folder, 'seen');
    await isFetched(await fetch({ state, args: ['--origin', origin.url] }));
    const { url } = await liar(changing('timestamp', () => old.get('timestamp.json')));
    await isRefused(await fetch({ state, args: ['--origin', url] }), /^TUF_ROLLBACK$/, url);
    await isRefused(await fetch({ state, wanted: 'os@1', args: ['--origin', origin.url] }), /^SEQUENCE_ROLLBACK$/, 'os 1');
    await isFetched(await fetch({ state, args: ['--origin', url, '--gateway', origin.url] }));
  });

  it('keeps news from devices is refused when its signatures end, and names the time', async () => {
    // Timestamps are good for a day.
    const frozen = await aged(2);
    const { url } = await liar(showing(frozen));
    const today = (): string => new Date().toISOString().slice(0, 10);
    const before = today();
    const fetched = await fetch({ root: frozen.paths.trustRoot, args: ['--origin', url] });
    await isRefused(fetched, /^TUF_FREEZE$/, url);
    // Midnight may have been in between.
    expect([before, today()].some((day) => fetched.errors.includes(day)), fetched.errors).toBe(true);
    // A root is good for a year; online signatures are new.
    const expired = await aged(400);
    await renewOnline({ ...expired, now: () => new Date() });
    const server = await liar(showing(expired));
    await isRefused(await fetch({ root: expired.paths.trustRoot, args: ['--origin', server.url] }), /^TUF_EXPIRED$/, server.url);
  });

  it.each([
    ['WRONG_HARDWARE', { hardware: ['board-7'] }, ['--hardware', 'board-1'], 'board-7'],
    ['WRONG_HARDWARE', { hardware: ['board-7'] }, [], 'unknown hardware'],
    ['UNKNOWN_FEATURE', { requiredFeatures: ['teleport'] }, [], 'teleport'],
    ['SOURCE_TOO_OLD', { minimumSource: 1 }, [], 'sequence 1'],
  ])('has a genuine release that is not for this device: %s', async (code, more, args, named) => {
    const unfit = await aged(0, more);
    const { url } = await liar(showing(unfit));
    await isRefused(await fetch({ root: unfit.paths.trustRoot, args: ['--origin', url, ...args] }), new RegExp(`^${code}$`), named);
  });
});

describe('a gateway that', () => {
  it.each(Object.entries(LIES))('%s does not keep a device from its release', async (_name, [, lie]) => {
    const { url } = await liar(lie());
    await isFetched(await fetch({ args: ['--origin', origin.url, '--gateway', url] }));
  });

  it('lies is named beside an origin that is gone', async () => {
    const { url } = await liar(changing('timestamp', newerVersion));
    const gone = 'http://127.0.0.1:9';
    const fetched = await fetch({ args: ['--origin', gone, '--gateway', url] });
    await isRefused(fetched, /^TUF_SIGNATURE$/, url);
    expect(fetched.errors).toContain(gone);
  });

  it('has not heard of a new version yet does not hide it', async () => {
    const behind = await liar((asked, honest, wire) => {
      const name = asked.path.slice(paths.metadata.length + 1);
      const bytes = asked.path.startsWith(paths.metadata) ? old.get(name) : undefined;
      if (bytes === undefined) return false;
      wire.answer(200, {}, bytes);
      return true;
    });
    await isFetched(await fetch({ wanted: 'os@2', args: ['--origin', origin.url, '--gateway', behind.url] }));
  });
});

// Waits for real time-outs (20 s of silence, 30 s for one file), next to each other.
describe.concurrent('trust files that never come', () => {
  const silent: Lie = ({ path }) => path.startsWith('/v1/tuf/');
  const dripping: Lie = ({ path }, _, wire) => {
    if (!path.startsWith('/v1/tuf/')) return false;
    wire.raw('HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n');
    wire.drip(Buffer.alloc(9000, 'x'), 1500);
    return true;
  };
  for (const [name, lie] of [['silent', silent], ['dripping', dripping]] as const) {
    it(`from a ${name} gateway come from the origin`, async () => {
      const { url } = await liar(lie);
      await isFetched(await fetch({ args: ['--origin', origin.url, '--gateway', url] }, processes));
    });
    it(`from a ${name} origin are given up, and it is named`, async () => {
      const { url } = await liar(lie);
      await isRefused(await fetch({ args: ['--origin', url] }, processes), /^HTTP_STALLED$|^HTTP_TIMEOUT$|^TUF_TIMEOUT$/, url);
    });
  }
});
