import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serve, shoal, shoalBeside } from '../support/shoal.ts';
import type { Server } from '../support/shoal.ts';
import { freePort } from '../support/free-port.ts';
import { randomBytes } from '../support/random.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const MiB = 1024 * 1024;
let folder: string;
let origin: Server | undefined;
const line = new TcpProxy();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-upload-'));
});
afterAll(async () => {
  await line.close();
  await origin?.kill('SIGTERM');
  await rm(folder, { recursive: true });
});

async function packed(store: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(store)) bytes += (await stat(join(store, name))).size;
  return bytes;
}

describe('an upload between processes', () => {
  it('survives an origin that is killed in the middle of it and comes back', async () => {
    const [server, offline, out, token] = ['server', 'offline', 'out', 'upload.token'].map((name) => join(folder, name)) as [string, string, string, string];
    expect(shoal('init', '--home', server, '--offline', offline).code).toBe(0);
    const image = join(folder, 'image');
    const content = randomBytes(48 * MiB);
    await writeFile(image, content);
    expect(shoal('publish', image, '--name', 'os', '--version', '1', '--home', offline, '--staging', out, '--level', '1').code).toBe(0);
    const args = ['origin', '--home', server, '--upload-token', token];
    origin = await serve(args, await freePort());
    const { url } = origin;
    expect(((await stat(token)).mode & 0o777).toString(8)).toBe('600');

    // Half of it gets through before the origin is killed, however long that takes.
    const front = await line.start(url);
    let killed = false;
    line.bend = (bytes) => (killed || line.sent < 24 * MiB ? bytes : undefined);
    const uploading = shoalBeside('upload', out, front, '--token', token, '--json');
    const packs = join(server, 'store', 'packs');
    await expect.poll(() => packed(packs)).toBeGreaterThan(8 * MiB);
    await origin.kill('SIGKILL');
    killed = true;
    expect(await packed(packs)).toBeLessThan(48 * MiB);
    // Nothing of a half release is visible, to a server that comes back either.
    origin = await serve(args, Number(new URL(url).port));
    expect(shoal('inspect', 'os', '--home', server).code).toBe(1);
    expect(await uploading).toMatchObject({ code: 0, last: { ok: true, changed: true }, errors: expect.stringContaining('os 1 is published') });
    expect(shoal('fetch', 'os', '--origin', url, '--trust', join(server, 'trust', 'root.json'), '--state', join(folder, 'state'), '-o', join(folder, 'got')).code).toBe(0);
    expect(Buffer.compare(await readFile(join(folder, 'got')), content)).toBe(0);
    expect(shoal('verify', '--home', server).code).toBe(0);

    // A rotation travels the same way, and the wrong token gets nowhere.
    expect(shoal('rotate', '--renew', 'root', '--home', offline, '--staging', join(folder, 'renewed')).code).toBe(0);
    await writeFile(join(folder, 'wrong'), 'not-the-token-of-this-origin\n');
    expect(shoal('upload', join(folder, 'renewed'), url, '--token', join(folder, 'wrong'), '--json')).toMatchObject({ code: 1, last: { error: 'UNAUTHORIZED' } });
    expect(shoal('upload', join(folder, 'renewed'), url, '--token', join(folder, 'nothing'), '--json')).toMatchObject({ code: 1, last: { error: 'BAD_TOKEN' } });
    expect(shoal('upload', join(folder, 'renewed'), 'nonsense', '--token', token, '--json')).toMatchObject({ code: 2, last: { error: 'BAD_USAGE' } });
    expect(shoal('upload', join(folder, 'renewed'), url, '--token', token, '--json')).toMatchObject({ code: 0, last: { changed: true } });
  });
});
