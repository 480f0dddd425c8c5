import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serve, shoal } from '../support/shoal.ts';
import type { Server } from '../support/shoal.ts';

let folder: string;
let origin: Server | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-keys-'));
});
afterAll(async () => {
  await origin?.kill('SIGTERM');
  await rm(folder, { recursive: true });
});

describe('keys, each command a process', () => {
  it('gives a second person a say, follows a change of online keys, and brings offline homes up to date', async () => {
    const [server, first, second] = [join(folder, 'server'), join(folder, 'first'), join(folder, 'second')];
    const at = (name: string): string => join(folder, name);
    const ok = (...args: readonly string[]): Record<string, unknown> => {
      const { code, last, errors } = shoal(...args, '--json');
      expect([args, code, errors]).toEqual([args, 0, errors]);
      return last;
    };
    ok('init', '--home', server, '--offline', first);
    const trust = join(server, 'trust', 'root.json');
    const image = at('image');
    await writeFile(image, 'a small artifact');
    ok('publish', image, '--name', 'os', '--version', '1', '--home', first, '--staging', at('s1'));
    ok('accept', at('s1'), '--home', server);
    origin = await serve(['origin', '--home', server]);

    // A second key holder of targets: two of two from now on.
    ok('join', '--origin', origin.url, '--trust', trust, '--home', second);
    expect(shoal('join', '--origin', origin.url, '--trust', trust, '--home', second)).toMatchObject({ code: 1, errors: expect.stringContaining('a Shoal home already') });
    ok('keygen', 'targets', '--home', second, '--out', at('targets.pub'));
    expect(ok('rotate', 'targets', '--home', first, '--keep', '--key', at('targets.pub'), '--threshold', '2', '--staging', at('r1'))).toMatchObject({ complete: false, published: false });
    expect(shoal('accept', at('r1'), '--home', server, '--json')).toMatchObject({ code: 1, last: { error: 'STAGING_SIGNATURE' } });
    const signed = shoal('sign', at('r1'), '--home', second, '--json');
    expect(signed).toMatchObject({ code: 0, last: { complete: true } });
    expect(signed.errors).toContain('targets: 2 of 2 keys');
    ok('accept', at('r1'), '--home', server);

    // A new product needs both now; the second home learns first that the world has moved on.
    expect(ok('publish', image, '--name', 'app', '--version', '1', '--home', first, '--staging', at('s2'))).toMatchObject({ complete: false });
    ok('sync', '--origin', origin.url, '--home', second);
    expect(ok('sign', at('s2'), '--home', second)).toMatchObject({ complete: true });
    expect(ok('accept', at('s2'), '--home', server)).toMatchObject({ changed: true, releases: [{ product: 'app', version: '1' }] });

    // Online keys are made where they are used; only their public halves travel.
    expect(shoal('keygen', 'timestamp', '--home', first, '--out', at('t.pub'), '--json')).toMatchObject({ code: 1, last: { error: 'ONLINE_KEY_ELSEWHERE' } });
    expect(shoal('keygen', 'root', '--home', server, '--out', at('x.pub'), '--json')).toMatchObject({ code: 1, last: { error: 'OFFLINE_KEY_ON_SERVER' } });
    ok('keygen', 'timestamp', '--home', server, '--out', at('t.pub'));
    ok('rotate', 'timestamp', '--key', at('t.pub'), '--home', first, '--staging', at('r2'));
    ok('accept', at('r2'), '--home', server);
    ok('fetch', 'app', '--origin', origin.url, '--trust', trust, '--state', at('state'), '-o', at('got'));

    // Signatures are renewed with the keys that are there.
    expect(ok('rotate', '--renew', 'root', 'product-os', '--home', first, '--staging', at('r3'))).toMatchObject({ complete: true });
    ok('accept', at('r3'), '--home', server);
    expect(ok('sync', '--origin', origin.url, '--home', second)).toMatchObject({ updated: expect.arrayContaining(['root', 'product-os']), ahead: [] });
    ok('fetch', 'os', '--origin', origin.url, '--trust', trust, '--state', at('state'), '-o', at('got-os'));

    for (const command of ['gc', 'verify']) expect(shoal(command, '--home', first, '--json')).toMatchObject({ code: 1, last: { error: 'NOT_A_SERVER' } });
    await writeFile(at('bad.pub'), '{"keytype":"rsa"}');
    expect(shoal('rotate', 'targets', '--key', at('bad.pub'), '--home', first, '--json')).toMatchObject({ code: 1, last: { error: 'BAD_KEY' } });
    expect(shoal('rotate', 'nobody', '--home', first, '--json')).toMatchObject({ code: 1, last: { error: 'BAD_ROLE' } });
    expect(shoal('rotate', '--renew', 'root', '--keep', '--home', first, '--json')).toMatchObject({ code: 2, last: { error: 'BAD_USAGE' } });
  });

  it('takes a rotation at once in a whole home', () => {
    const home = join(folder, 'whole');
    expect(shoal('init', '--home', home).code).toBe(0);
    expect(shoal('rotate', 'timestamp', 'snapshot', '--home', home, '--json')).toMatchObject({ code: 0, last: { complete: true, published: true } });
    expect(shoal('inspect', home, '--json')).toMatchObject({ code: 0, last: { roles: [{ role: 'root', version: 2 }, {}, {}, {}, {}] } });
  });
});
