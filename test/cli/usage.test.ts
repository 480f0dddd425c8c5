import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../support/random.ts';
import { shoal, shoalBeside } from '../support/shoal.ts';

const folder = mkdtempSync(join(tmpdir(), 'shoal-usage-'));
afterAll(() => { rmSync(folder, { recursive: true }); });

it('a word that is no command is named', () => {
  const { code, errors } = shoal('pubish', 'image');
  expect([code, errors]).toEqual([2, 'error: there is no command "pubish": "shoal --help" lists those there are\n']);
});

it('inspect says that a file is not there, also where there is no home', () => {
  const { code, last, errors } = shoal('inspect', join(folder, 'image'), '--home', join(folder, 'nothing'), '--json');
  expect([code, last['error'], errors]).toEqual([1, 'NO_HOME', expect.stringContaining(`there is no file ${join(folder, 'image')}`)]);
});

it('what is no URL of a host is named', () => {
  for (const url of ['here', 'ftp://host']) {
    const { code, last, errors } = shoal('site', url, '--json');
    expect([code, last['error'], errors]).toEqual([1, 'BAD_URL', expect.stringContaining(`"${url}" is not the URL of a host`)]);
  }
});

it('names that cannot be are refused before a file is looked at', () => {
  const home = join(folder, 'home');
  expect(shoal('init', '--home', home).code).toBe(0);
  // The file is not there: who looked at it first would say so.
  for (const [product, version, named] of [['o s', '1', '"o s"'], ['os', '../1', '"../1"'], ['os', 'latest', '"latest"']] as const) {
    const { code, last, errors } = shoal('publish', join(folder, 'absent'), '--name', product, '--version', version, '--home', home, '--json');
    expect([code, last['error'], errors]).toEqual([1, 'BAD_NAME', expect.stringContaining(named)]);
    expect(errors).not.toMatch(/^\s+at /m);
  }
  // Neither are two files of one name.
  const twice = shoal('publish', join(folder, 'absent'), join(folder, 'elsewhere', 'absent'), '--name', 'os', '--version', '1', '--home', home, '--json');
  expect([twice.code, twice.last['error'], twice.errors]).toEqual([1, 'BAD_NAME', expect.stringContaining('two files of this release are called absent')]);
  // What is not there cannot be taken back, and leaves nothing behind.
  const keys = readdirSync(join(home, 'keys', 'offline'));
  expect(shoal('retire', 'nothing@1', '--home', home, '--json')).toMatchObject({ code: 1, last: { error: 'NO_SUCH_RELEASE' } });
  expect(readdirSync(join(home, 'keys', 'offline'))).toEqual(keys);
});

it('limits that are none are refused, and say how they are written', () => {
  const needed = ['--origin', 'http://127.0.0.1:1', '--trust', 'absent', '--upload-limit'];
  const { code, errors } = shoal('agent', 'os=x', ...needed, '5Q');
  expect([code, errors]).toEqual([2, expect.stringContaining('500K,22:00-06:00=4M')]);
  // One that can be held gets as far as what is not there.
  expect(shoal('agent', 'os=x', ...needed, '500K,22:00-06:00=none').code).toBe(1);
});

it('a delta is never written over what it is made from, nor where nothing can be', () => {
  const [old, newer] = [join(folder, 'old'), join(folder, 'newer')];
  writeFileSync(old, randomBytes(50_000));
  writeFileSync(newer, randomBytes(50_000));
  const before = [readFileSync(old), readFileSync(newer)];
  symlinkSync(old, join(folder, 'also-old'));
  for (const output of [old, newer, join(folder, 'also-old'), folder, join(folder, 'nowhere', 'delta')]) {
    for (const format of ['shoal', 'bsdiff40']) {
      expect([output, shoal('diff', old, newer, output, '--format', format, '--json')]).toMatchObject([output, { code: 1, last: { error: 'BAD_OUTPUT' } }]);
    }
  }
  const delta = join(folder, 'delta');
  expect(shoal('diff', old, newer, delta).code).toBe(0);
  expect(shoal('patch', old, delta, delta, '--json')).toMatchObject({ code: 1, last: { error: 'BAD_OUTPUT' } });
  expect([readFileSync(old), readFileSync(newer)]).toEqual(before);
  // The old file may become the new one.
  expect(shoal('patch', old, delta, old).code).toBe(0);
  expect(readFileSync(old)).toEqual(before[1]);
});

it('what cannot be read is named, and why', () => {
  const needed = ['--origin', 'http://127.0.0.1:1', '-o', join(folder, 'x'), '--json'];
  expect(shoal('fetch', 'os', '--trust', folder, ...needed)).toMatchObject({ code: 1, last: { error: 'UNREADABLE', message: `cannot read the trust root: ${folder} is a directory` } });
  expect(shoal('diff', join(folder, 'absent'), folder, join(folder, 'd'), '--json')).toMatchObject({ code: 1, last: { error: 'UNREADABLE', message: `${join(folder, 'absent')} does not exist` } });
  expect(shoal('init', '--home', '/proc/absent', '--json')).toMatchObject({ code: 1, last: { message: '/proc/absent cannot be made: there is no place for it' } });
  expect(shoal('diff', 'a', 'b', 'c', '--memory', '9999999999999999G').code).toBe(2);
});

describe('a server that cannot do what it was told', () => {
  const taken = createServer();
  let listen: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    listen = `127.0.0.1:${String((taken.address() as AddressInfo).port)}`;
  });
  afterAll(() => taken.close());

  const here = (name: string): string => join(folder, name);
  const agent = (...more: readonly string[]) => shoalBeside('agent', ...more, '--origin', 'http://127.0.0.1:1', '--trust', here(join('home', 'trust', 'root.json')), '--json');
  const gateway = (...more: readonly string[]) => shoalBeside('gateway', '--origin', 'http://127.0.0.1:1', ...more, '--json');

  it('says so and ends', async () => {
    // An address for documentation (RFC 5737), which no machine has.
    const mdns = ['--listen', '127.0.0.1:0', '--mdns', '192.0.2.1'];
    const ended = await Promise.all([
      gateway('--cache', here('cache-1'), '--listen', listen),
      agent('os=x', '--state', here('state-1'), '--listen', listen),
      gateway('--cache', here('cache-2'), ...mdns),
      agent('os=x', '--state', here('state-2'), ...mdns),
    ]);
    expect(ended.map(({ code, last }) => [code, last['error']])).toEqual([[1, 'LISTEN'], [1, 'LISTEN'], [1, 'DISCOVERY'], [1, 'DISCOVERY']]);
  });

  it('keeps no product twice, and no two in one place', async () => {
    expect(await agent('os=x', 'os=y')).toMatchObject({ code: 2, last: { error: 'BAD_USAGE', message: 'os is named twice' } });
    expect(await agent('os=x', 'maps=./x')).toMatchObject({ code: 2, last: { error: 'BAD_USAGE', message: './x is to hold two products' } });
  });
});

describe('a checkout whose dependencies were never installed', () => {
  const checkout = join(folder, 'checkout');
  const launcher = join(checkout, 'bin', 'shoal.mjs');
  beforeAll(() => {
    for (const part of ['bin', 'src']) cpSync(new URL(`../../${part}`, import.meta.url), join(checkout, part), { recursive: true });
  });

  it('says so', () => {
    const { status, stderr } = spawnSync(process.execPath, [launcher, 'init'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, `shoal: its dependencies are not installed: run \`npm ci\` in ${checkout}/\n`]);
  });

  it('says under a Node that is too old which one it needs', () => {
    const older = "data:text/javascript,Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } })";
    const { status, stderr } = spawnSync(process.execPath, ['--import', older, launcher, 'init'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^shoal: this is Node 20\.1\.0, and Shoal needs Node 24 or newer: [^\n]*npm ci[^\n]*\n$/)]);
  });
});
