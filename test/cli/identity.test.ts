import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mdnsOf } from '../../src/cli/serve.ts';
import { randomBytes } from '../support/random.ts';
import { serve, shoal } from '../support/shoal.ts';
import type { Ran, Server } from '../support/shoal.ts';

let folder: string;
let home: string;
let origin: Server;
const image = randomBytes(1_500_000);
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-identity-'));
  home = join(folder, 'home');
  expect(shoal('init', '--home', home, '--json')).toMatchObject({ code: 0, last: { fleet: expect.stringMatching(/^[0-9a-f]{16}$/) as string } });
  await writeFile(join(folder, 'image'), image);
  expect(shoal('publish', join(folder, 'image'), '--name', 'os', '--version', '1', '--home', home, '--level', '1').code).toBe(0);
  origin = await serve(['origin', '--home', home, '--tls']);
  servers.push(origin);
});
afterAll(async () => {
  for (const server of servers.reverse()) await server.kill('SIGTERM');
  await rm(folder, { recursive: true });
});

/** Makes a token and turns it into an identity. */
function enrolled(name: string, ...scope: readonly string[]): string {
  const made = shoal('token', '--home', home, ...scope);
  expect([made.code, made.output]).toEqual([0, expect.stringMatching(/^shoal1\.[A-Za-z0-9_.-]+\n$/)]);
  const directory = join(folder, name);
  expect(shoal('enroll', '--origin', origin.url, '--token', made.output.trim(), '--identity', directory, '--json')).toMatchObject({ code: 0, last: { ok: true } });
  return directory;
}

const fetched = (identity: string, ...more: readonly string[]): Ran =>
  shoal('fetch', 'os', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, 'state'), '-o', join(folder, 'out'), '--identity', identity, '--json', ...more);

it('uses multicast DNS where neighbours prove who they are and can reach it, and wherever it was told to', () => {
  const [inside, outside] = [{ host: '127.0.0.1' }, { host: '0.0.0.0' }];
  expect(mdnsOf({ listen: outside })).toEqual({});
  expect(mdnsOf({ listen: outside, identity: 'x' })).toEqual({ mdns: { optional: true } });
  expect(mdnsOf({ listen: outside, identity: 'x', mdns: false })).toEqual({});
  expect(mdnsOf({ listen: inside, identity: 'x' })).toEqual({});
  expect(mdnsOf({ listen: inside, mdns: true })).toEqual({ mdns: {} });
  expect(mdnsOf({ listen: inside, mdns: '10.0.0.1' })).toEqual({ mdns: { interface: '10.0.0.1' } });
});

describe('a fleet on the command line', () => {
  it('enrols, fetches over TLS through a gateway, lists, audits, renews, revokes', async () => {
    const gateway = await serve(['gateway', '--origin', origin.url, '--cache', join(folder, 'cache'), '--poll', '0', '--identity', enrolled('gateway', '--role', 'gateway')]);
    servers.push(gateway);
    const device = enrolled('device', '--products', 'os', '--site', 'hall-7', '--note', 'a test');
    expect((await stat(join(device, 'identity.key.pem'))).mode & 0o077).toBe(0);
    expect((await stat(join(device, 'certificates.json'))).mode & 0o077).toBe(0);
    expect(fetched(device, '--gateway', gateway.url)).toMatchObject({ code: 0, last: { ok: true, ledger: { origin: 0 } } });
    expect(Buffer.compare(await readFile(join(folder, 'out')), image)).toBe(0);
    expect(fetched(enrolled('other', '--products', 'maps'))).toMatchObject({ code: 1, last: { error: 'NOT_ENTITLED' } });

    const listed = shoal('devices', '--home', home, '--json').last['devices'] as readonly { readonly device: string; readonly role: string; readonly products: unknown }[];
    expect(listed.map(({ role, products }) => [role, products])).toEqual([['gateway', 'all'], ['agent', ['os']], ['agent', ['maps']]]);
    expect(shoal('renew', '--identity', device, '--json')).toMatchObject({ code: 0, last: { device: listed[1]?.device, site: 'hall-7' } });
    expect((shoal('devices', '--tokens', '--home', home, '--json').last['tokens'] as readonly { readonly note: string; readonly uses: number }[]).map(({ note, uses }) => [note, uses])).toEqual([['', 0], ['a test', 0], ['', 0]]);

    expect(shoal('revoke', listed[1]?.device ?? '', '--reason', 'stolen', '--home', home, '--json')).toMatchObject({ code: 0, last: { revoked: [listed[1]?.device] } });
    await expect.poll(() => fetched(device).last['error'], { interval: 500 }).toMatch(/^HTTP_/);
    // It alone: whoever is not out is served as before.
    expect(fetched(enrolled('another', '--products', 'os', '--site', 'hall-7')).code).toBe(0);
    expect(fetched(device).errors).toContain(`shoal renew --identity ${device}`);
    expect(shoal('renew', '--identity', device, '--json')).toMatchObject({ code: 1, last: { error: 'REFUSED' } });
    const audit = shoal('devices', '--audit', '--home', home);
    expect(audit.output).toMatch(/revoked +[0-9a-f]{32} {2}stolen\n.*refused +[0-9a-f]{32} {2}127\.0\.0\.1 {2}renewal: revoked/s);
    // What is at rest or in a log opens nothing.
    expect(audit.output).not.toContain('shoal1.');
  });

  it('gives operators files that curl and Prometheus take, and them alone the metrics', async () => {
    const operator = enrolled('operator', '--role', 'operator');
    const [ca, cert, key] = await Promise.all(['ca.pem', 'operator.pem', 'operator.key.pem'].map((name) => readFile(join(operator, name))));
    // As curl and Prometheus do, which look whether the certificate has the name that they expect.
    const metrics = (url: string, servername?: string): Promise<string> => new Promise((resolve, reject) => {
      https.get({ host: '127.0.0.1', port: new URL(url).port, path: '/metrics', ca, cert, key, agent: false, ...(servername === undefined ? {} : { servername }) }, (answer) => {
        let heard = '';
        answer.setEncoding('utf8').on('data', (part: string) => { heard += part; }).on('end', () => { resolve(heard); });
      }).on('error', reject);
    });
    expect(await metrics(origin.url)).toContain('shoal_http_requests_total');
    // A gateway or agent is at whatever address it is, and known by its device.
    const identity = enrolled('measured', '--role', 'gateway');
    const { device } = shoal('renew', '--identity', identity, '--json').last as { readonly device: string };
    const gateway = await serve(['gateway', '--origin', origin.url, '--cache', join(folder, 'measured-cache'), '--identity', identity]);
    servers.push(gateway);
    expect(await metrics(gateway.url, `${device}.shoal`)).toContain('shoal_http_requests_total');
    await expect(metrics(gateway.url, `${'0'.repeat(32)}.shoal`)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  it('says what is wrong, with exit codes', async () => {
    const cases: readonly (readonly [string[], number, string?])[] = [
      [['token', '--home', home], 2],
      [['token', '--products', 'os', '--expires', 'soon', '--home', home], 2],
      [['token', '--products', '../x', '--home', home, '--json'], 1, 'BAD_NAME'],
      [['enroll', '--origin', origin.url, '--identity', join(folder, 'none'), '--json'], 2, 'BAD_USAGE'],
      [['enroll', '--origin', origin.url, '--token', 'shoal1.x', '--identity', join(folder, 'none'), '--json'], 1, 'BAD_TOKEN'],
      [['enroll', '--origin', 'http://192.0.2.1', '--token', 'shoal1.x', '--identity', join(folder, 'none'), '--json'], 1, 'PLAIN_HTTP'],
      [['revoke', '--home', home, '--json'], 2, 'BAD_USAGE'],
      [['revoke', 'f'.repeat(32), '--home', home, '--json'], 1, 'NO_SUCH_DEVICE'],
      [['revoke', '--token', 'AAAAAAAAAAA', '--home', home, '--json'], 1, 'NO_SUCH_TOKEN'],
      [['devices', '--home', folder, '--json'], 1, 'NO_FLEET'],
      [['renew', '--identity', join(folder, 'none'), '--json'], 1, 'NOT_ENROLLED'],
      [['agent', 'os=x', '--origin', origin.url, '--trust', join(home, 'trust', 'root.json'), '--listen', '0.0.0.0:0', '--json'], 1, 'PLAIN_HTTP'],
      [['gateway', '--origin', origin.url, '--cache', join(folder, 'c'), '--listen', '0.0.0.0:0', '--json'], 1, 'PLAIN_HTTP'],
    ];
    for (const [args, code, error] of cases) {
      const ran = shoal(...args);
      expect([args, ran.code, ran.last['error']]).toEqual([args, code, error]);
      expect(ran.errors).not.toMatch(/^\s+at /m);
    }
    // Nothing is made for an authority that is none: the same command, mended, then works.
    for (const [ca, key] of [[join(folder, 'image'), join(folder, 'image')], [join(home, 'fleet', 'issuer.pem'), join(folder, 'image')]]) {
      expect(shoal('init', '--home', join(folder, 'own'), '--fleet-ca', ca ?? '', '--fleet-key', key ?? '', '--json')).toMatchObject({ code: 1, last: { error: 'BAD_AUTHORITY', message: expect.stringContaining(ca ?? '') as string } });
    }
    const own = shoal('init', '--home', join(folder, 'own'), '--fleet-ca', join(home, 'fleet', 'issuer.pem'), '--fleet-key', join(home, 'fleet', 'issuer.key.pem'), '--json');
    expect(own.code).toBe(0);
    expect(await readFile(join(folder, 'own', 'fleet', 'ca.pem'), 'utf8')).toBe(await readFile(join(home, 'fleet', 'ca.pem'), 'utf8'));
  });
});
