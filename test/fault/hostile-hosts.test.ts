import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostileServer } from '../support/hostile-server.ts';
import type { Asked, Lie } from '../support/hostile-server.ts';
import { LastingDevice, MOST_MEMORY } from '../support/lasting-device.ts';
import { LIES, SLOW_LIES } from '../support/lies.ts';
import { Processes } from '../support/processes.ts';
import type { Ended, Server } from '../support/processes.ts';
import { randomBytes } from '../support/random.ts';

const MiB = 1024 * 1024;
// Some spans that compress and some that do not, so that every coding is on the wire; five or six of them, a second connection's worth.
const content = Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(2 * MiB, 'a line of text that repeats\n'), randomBytes(2 * MiB)]);
const digest = createHash('sha256').update(content).digest('hex');

const processes = new Processes();
const device = new LastingDevice();
const { folder } = processes;
const hostile: HostileServer[] = [];
let origin: Server;
let serial = 0;

beforeAll(async () => {
  const home = join(folder, 'home');
  await processes.must('init', '--home', home);
  await writeFile(join(folder, 'image'), content);
  await processes.must('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '3');
  origin = await processes.serve(['origin', '--home', home]);
});
afterAll(async () => {
  for (const server of hostile) await server.close();
  device.close();
  await processes.close();
});

async function liar(lie: Lie): Promise<HostileServer> {
  const server = await HostileServer.start(origin.url, lie);
  hostile.push(server);
  return server;
}

/**
 * The origin, which says nothing of `part` before the peer was asked for it: a device does not wait long for peers to say what
 * they hold, and on a machine that is busy enough it would never ask this one.
 */
async function originAfter(peer: HostileServer, part: string): Promise<string> {
  const { url } = await liar(async ({ path }) => {
    if (path.includes(part)) await peer.wasAskedFor(part);
    return false;
  });
  return url;
}

interface Fetched extends Ended {
  readonly output: string;
}

async function fetch(...args: readonly string[]): Promise<Fetched> {
  return fetchBy(device, ...args);
}

/** By the process that all fetches share which come one after another, or by one of its own. */
async function fetchBy(runner: Pick<Processes, 'run'>, ...args: readonly string[]): Promise<Fetched> {
  const output = join(folder, `out-${String(serial++)}`);
  await writeFile(output, 'the version before');
  const ended = await runner.run(['fetch', 'os', '--trust', join(folder, 'home', 'trust', 'root.json'), '--state', `${output}-state`, '-o', output, '--json', ...args]);
  if (ended.peak !== undefined) expect(ended.peak).toBeLessThan(MOST_MEMORY);
  return { ...ended, output };
}

const sha256 = async (path: string): Promise<string> => createHash('sha256').update(await readFile(path)).digest('hex');
const onSpans = (lie: Lie): Lie => (asked, honest, wire) => (asked.path.includes('/spans/') ? lie(asked, honest, wire) : false);
const onPages = (lie: Lie): Lie => (asked, honest, wire) => (asked.path.includes('/pages/') ? lie(asked, honest, wire) : false);
const onHoldings = (lie: Lie): Lie => (asked, honest, wire) => (asked.path.includes('/holdings/') ? lie(asked, honest, wire) : false);
const notPassed = ({ asked }: HostileServer, part: string): readonly Asked[] => asked.filter(({ path }) => path.includes(part));

describe('a peer that, asked for a span,', () => {
  it.each(Object.entries(LIES))('%s costs a device little and changes nothing', async (_name, { code, lie }) => {
    const peer = await liar(onSpans(lie));
    const { code: exit, errors, output, last } = await fetch('--origin', await originAfter(peer, '/spans/'), '--peer', peer.url);
    expect([exit, errors]).toEqual([0, code === undefined ? expect.not.stringContaining('wrong bytes') : expect.stringContaining(`${peer.url} sent wrong bytes`)]);
    if (code !== undefined) expect(/\((\w+):/.exec(errors)?.[1]).toMatch(code);
    expect(await sha256(output)).toBe(digest);
    // It was believed once a connection, and not again: four connections at most are open to one host.
    if (code !== undefined) expect(notPassed(peer, '/spans/').length).toBeLessThanOrEqual(4);
    expect(last).toMatchObject({ ok: true, artifacts: [{ sha256: digest }] });
  });
});

describe('a peer that, asked for an index page,', () => {
  // The receiving code is the same as for spans: one lie of each kind.
  it.each(Object.entries(LIES).filter(([name]) => /bit|less|nothing|middle|never stops|other bytes|says nothing|always fails|redirects to a file|headers/.test(name)))('%s costs a device little and changes nothing', async (_name, { code, lie }) => {
    const peer = await liar(onPages(lie));
    const { code: exit, errors, output } = await fetch('--origin', await originAfter(peer, '/pages/'), '--peer', peer.url);
    expect([exit, errors]).toEqual([0, code === undefined ? expect.not.stringContaining('wrong bytes') : expect.stringContaining(`${peer.url} sent wrong bytes`)]);
    expect(await sha256(output)).toBe(digest);
  });
});

describe('a gateway that, asked for a span,', () => {
  it.each(Object.entries(LIES).filter(([name]) => /bomb|window|coding|flips|order|chunks$/.test(name)))('%s is left for the origin', async (_name, { code, lie }) => {
    const gateway = await liar(onSpans(lie));
    const { code: exit, errors, output } = await fetch('--origin', origin.url, '--gateway', gateway.url);
    expect([exit, errors]).toEqual([0, code === undefined ? expect.not.stringContaining('wrong bytes') : expect.stringContaining(`${gateway.url} sent wrong bytes`)]);
    expect(await sha256(output)).toBe(digest);
  });
});

describe('a peer that lies about what it holds:', () => {
  it.each([
    ...['flips a bit', 'sends less and says so', 'sends nothing', 'never stops, in chunks', 'promises a terabyte', 'hangs up at once', 'sends headers without end', 'redirects to a file'].map((name) => [name, LIES[name]?.lie ?? (() => false)] as const),
  ])('%s', async (_name, lie) => {
    const peer = await liar(onHoldings(lie));
    const { code, output } = await fetch('--origin', origin.url, '--peer', peer.url);
    expect(code).toBe(0);
    expect(await sha256(output)).toBe(digest);
  });

  it('claims everything and has nothing', async () => {
    const peer = await liar(onSpans((_, __, wire) => { wire.answer(404, {}, Buffer.from('{}')); return true; }));
    const { code, output } = await fetch('--origin', origin.url, '--peer', peer.url);
    expect(code).toBe(0);
    expect(await sha256(output)).toBe(digest);
  });
});

describe('an only source that', () => {
  it.each(Object.entries(LIES).filter(([, { code }]) => code !== undefined))('%s is named, and the output stays what it was', async (_name, { code, lie }) => {
    const only = await liar(onSpans(lie));
    const { code: exit, last, errors, output } = await fetch('--origin', only.url);
    expect(exit).toBe(1);
    expect(last).toMatchObject({ ok: false, error: 'NO_SOURCE', ids: { sources: only.url } });
    expect(errors).toContain(`${only.url} sent wrong bytes`);
    expect(/wrong bytes \((\w+)\)/.exec(String(last['message']))?.[1]).toMatch(code ?? /^$/);
    expect(errors).not.toMatch(/^\s+at /m);
    expect(await readFile(output, 'utf8')).toBe('the version before');
  });

  it.each(['flips a bit', 'sends less and says so', 'never stops, in chunks'])('%s in an index page is named, and the output stays what it was', async (name) => {
    const only = await liar(onPages(LIES[name]?.lie ?? (() => false)));
    const { code, last, errors, output } = await fetch('--origin', only.url);
    expect(code).toBe(1);
    expect(last).toMatchObject({ ok: false, error: 'NO_SOURCE' });
    expect(errors).toContain(`${only.url} sent wrong bytes`);
    expect(await readFile(output, 'utf8')).toBe('the version before');
    expect(existsSync(`${output}.tmp`)).toBe(false);
  });
});

// These wait for real time to pass, next to each other: who is held up by one of these hosts waits for hours.
describe.concurrent('a host that', () => {
  for (const [name, lie] of Object.entries(SLOW_LIES)) {
    for (const [kind, on, part] of [['span', onSpans, '/spans/'], ['index page', onPages, '/pages/']] as const) {
      it(`${name}, asked for a ${kind} as a peer, holds nobody up`, async ({ expect: check }) => {
        const peer = await liar(on(lie));
        const { code, output, errors } = await fetchBy(processes, '--origin', await originAfter(peer, part), '--peer', peer.url);
        check([code, errors]).toEqual([0, check.not.stringContaining('wrong bytes')]);
        check(await sha256(output)).toBe(digest);
      });
    }
  }
});
