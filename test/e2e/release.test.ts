import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../support/random.ts';
import { serve, shoalAlone as shoal } from '../support/shoal.ts';
import type { Server } from '../support/shoal.ts';

const MiB = 1024 * 1024;
let folder: string;
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-e2e-'));
});
afterAll(async () => {
  for (const server of servers) await server.kill('SIGTERM');
  await rm(folder, { recursive: true });
});

async function start(...args: readonly string[]): Promise<string> {
  const server = await serve(args);
  servers.unshift(server);
  return server.url;
}

describe('from a publisher to a device, every role a process', () => {
  it('publishes, serves through a gateway, fetches, updates and refuses to go back', async () => {
    const [server, offline] = [join(folder, 'server'), join(folder, 'offline')];
    expect(shoal('init', '--home', server, '--offline', offline).code).toBe(0);
    const trust = join(server, 'trust', 'root.json');
    const first = randomBytes(3 * MiB);
    const second = Buffer.concat([first.subarray(0, 2 * MiB), randomBytes(200_000), first.subarray(2 * MiB)]);
    const image = join(folder, 'image');

    const release = async (version: string, content: Uint8Array): Promise<void> => {
      await writeFile(image, content);
      const staging = join(folder, `staging-${version}`);
      expect(shoal('publish', image, '--name', 'os', '--version', version, '--home', offline, '--staging', staging, '--level', '3', '--json')).toMatchObject({ code: 0, last: { published: false, complete: true } });
      expect(shoal('accept', staging, '--home', server, '--json')).toMatchObject({ code: 0, last: { changed: true } });
    };
    await release('1', first);
    const origin = await start('origin', '--home', server);
    const gateway = await start('gateway', '--origin', origin, '--cache', join(folder, 'cache'), '--poll', '0');

    const device = (wanted: string, output: string, ...more: readonly string[]): ReturnType<typeof shoal> =>
      shoal('fetch', wanted, '--origin', origin, '--gateway', gateway, '--trust', trust, '--state', join(folder, 'state'), '-o', join(folder, output), '--json', ...more);
    expect(device('os', 'one')).toMatchObject({ code: 0, last: { version: '1', ledger: { origin: 0, written: first.byteLength } } });
    expect(Buffer.compare(await readFile(join(folder, 'one')), first)).toBe(0);

    await release('2', second);
    const update = device('os', 'two', '--base', join(folder, 'one'));
    expect(update).toMatchObject({ code: 0, last: { version: '2' } });
    expect(Buffer.compare(await readFile(join(folder, 'two')), second)).toBe(0);
    // 200,000 new bytes, the chunks they cut (256 KiB each at most), pages and heads.
    expect((update.last['ledger'] as { readonly gateway: number }).gateway).toBeLessThan(0.8 * MiB);

    expect(device('os@1', 'back')).toMatchObject({ code: 1, last: { ok: false, error: 'SEQUENCE_ROLLBACK' } });
    expect(device('nothing', 'none')).toMatchObject({ code: 1, last: { error: 'NO_SUCH_RELEASE' } });
  });

  it('answers wrong usage with 2 and a sentence, and never with a stack trace', () => {
    for (const args of [['fetch'], ['frobnicate'], ['gateway', '--listen', 'x'], ['publish']]) {
      const { code, errors } = shoal(...args);
      expect([args, code]).toEqual([args, 2]);
      expect(errors).toMatch(/^error: /m);
      expect(errors).not.toMatch(/^\s+at /m);
    }
    const absent = shoal('publish', '/nowhere/image', '--name', 'os', '--version', '1', '--home', join(folder, 'no-home'));
    expect(absent.code).toBe(1);
    expect(absent.errors).toMatch(/^shoal: /);
    expect(absent.errors).not.toMatch(/^\s+at /m);
  });
});
