import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DeltaOutcome } from '../../src/publish/deltas.ts';
import { imageVersion } from '../support/delta-home.ts';
import { serve, shoal } from '../support/shoal.ts';
import type { Ran } from '../support/shoal.ts';

let folder: string;
let home: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-cli-deltas-'));
  home = join(folder, 'home');
});
afterAll(() => rm(folder, { recursive: true }));

const image = async (version: number): Promise<string> => {
  const path = join(folder, `image-${String(version)}`);
  await writeFile(path, imageVersion(version));
  return path;
};
const publish = async (version: number, ...more: readonly string[]): Promise<Ran> => shoal('publish', await image(version), '--name', 'os', '--version', String(version), '--home', home, '--level', '3', '--json', ...more);
const deltasOf = ({ last }: Ran): readonly DeltaOutcome[] => last['deltas'] as readonly DeltaOutcome[];

describe('deltas on the command line', () => {
  it('come with a release, and their absence never fails it', async () => {
    expect(shoal('init', '--home', home).code).toBe(0);
    expect(await publish(1)).toMatchObject({ code: 0, last: { published: true, deltas: [] } });
    const second = await publish(2, '--deltas-later');
    expect(second).toMatchObject({ code: 0, last: { published: true, deltas: [{ from: '1', to: '2', result: 'made' }] } });
    expect(second.errors).toMatch(/Devices can fetch it now\.\ndelta 1 → 2 of image-2: [\d.]+ k?B instead of [\d.]+ [kM]B, [\d.]+ s\n/);

    const third = await publish(3, '--delta-memory', '64M');
    expect(third).toMatchObject({ code: 0, last: { ok: true, published: true, deltas: [{ from: '2', result: 'failed', error: 'MEMORY_CAP' }, { from: '1', result: 'failed' }] } });
    expect(third.errors).toContain('64 MiB are allowed');
    expect(third.errors).toContain('The release stands; "shoal delta os@3" tries again.');

    // A slip is told before anything is done.
    expect(await publish(4, '--deltas-from', '1,9')).toMatchObject({ code: 1, last: { error: 'NO_SUCH_RELEASE' } });
    expect(await publish(4, '--deltas-from', 'last:many')).toMatchObject({ code: 2, last: { error: 'BAD_USAGE' } });
    expect(shoal('inspect', 'os@4', '--home', home).code).toBe(1);
    expect(await publish(4, '--deltas-from', '1,9')).toMatchObject({ code: 1, last: { error: 'NO_SUCH_RELEASE' } });
    expect(shoal('inspect', 'os@4', '--home', home).code).toBe(1);
    expect(await publish(4, '--deltas-from', 'none')).toMatchObject({ code: 0, last: { published: true, deltas: [] } });
  });

  it('come before the release unless they are to come later', async () => {
    const other = join(folder, 'first');
    expect(shoal('init', '--home', other).code).toBe(0);
    const first = async (version: number, ...more: readonly string[]): Promise<Ran> => shoal('publish', await image(version), '--name', 'os', '--version', String(version), '--home', other, '--level', '3', '--json', ...more);
    expect(await first(1)).toMatchObject({ code: 0, last: { published: true, deltas: [] } });
    const second = await first(2);
    expect(second).toMatchObject({ code: 0, last: { published: true, deltas: [{ from: '1', to: '2', result: 'made' }] } });
    expect(second.errors).toMatch(/^delta 1 → 2 [^]*\nDevices can fetch it now\.\n$/);
    // It waits for them, not upon them.
    expect(await first(3, '--delta-memory', '64M')).toMatchObject({ code: 0, last: { published: true, deltas: [{ result: 'failed' }, { result: 'failed' }] } });
    const staging = join(folder, 'first-4');
    expect(shoal('publish', await image(4), '--name', 'os', '--version', '4', '--home', other, '--staging', staging, '--level', '3').code).toBe(0);
    expect(shoal('accept', staging, '--home', other, '--deltas-from', 'last:1', '--json')).toMatchObject({ code: 0, last: { releases: [{ version: '4' }], deltas: [{ from: '3', to: '4', result: 'made' }] } });
  });

  it('are made later, listed, taken back, and collected', () => {
    expect(shoal('delta', 'os@3', '--home', home, '--delta-memory', '64M', '--json')).toMatchObject({ code: 1, last: { ok: false, error: 'MEMORY_CAP' } });
    expect(shoal('delta', 'os@3', '--home', home, '--deltas-from', '1', '--json')).toMatchObject({ code: 0, last: { ok: true, deltas: [{ from: '1', to: '3', result: 'made' }] } });
    const all = shoal('delta', 'os', '--home', home, '--deltas-from', 'last:3', '--json');
    expect(deltasOf(all).map(({ from, to, result }) => `${from} ${to} ${result}`)).toEqual(['3 4 made', '2 4 made', '1 4 made']);
    expect(deltasOf(shoal('delta', 'os', '--home', home, '--json')).map(({ result }) => result)).toEqual(['kept', 'kept']);
    expect(shoal('inspect', home).errors).toMatch(/from image-1 of os 1 to image-3 of os 3: \d+ bytes/);
    const [{ base, target }] = deltasOf(all) as [DeltaOutcome];
    const manifests = join(home, 'targets', 'deltas', base.root);
    const name = readdirSync(manifests).find((each) => each.endsWith(`${target.root}.json`)) ?? '';
    expect(shoal('inspect', join(manifests, name), '--json')).toMatchObject({ code: 0, last: { kind: 'delta-manifest', base, target } });
    expect(shoal('delta', 'os', '--home', home, '--remove', '--deltas-from', 'last:1').code).toBe(2);
    expect(shoal('delta', 'os', '--home', home, '--remove', '--deltas-from', '2', '--json')).toMatchObject({ code: 0, last: { removed: 1 } });
    expect(shoal('retire', 'os@4', '--home', home).code).toBe(0);
    expect(shoal('gc', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true, forgottenDeltas: 2 } });
    expect(shoal('verify', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true } });
    expect(shoal('delta', 'os@9', '--home', home)).toMatchObject({ code: 1, errors: expect.stringContaining('os 9 is not released here') as unknown });
  });

  it('are made by the server that accepts a staging, as its configuration says', async () => {
    const [server, offline] = [join(folder, 'server'), join(folder, 'offline')];
    expect(shoal('init', '--home', server, '--offline', offline).code).toBe(0);
    const config = JSON.parse(await readFile(join(server, 'config.json'), 'utf8')) as object;
    await writeFile(join(server, 'config.json'), JSON.stringify({ ...config, deltas: { from: 'last:1', seconds: 300 } }));
    for (const version of [1, 2, 3]) {
      const staging = join(folder, `staging-${String(version)}`);
      expect(shoal('publish', await image(version), '--name', 'os', '--version', String(version), '--home', offline, '--staging', staging, '--level', '3').code).toBe(0);
      const accepted = shoal('accept', staging, '--home', server, '--json');
      expect(accepted.code).toBe(0);
      expect(deltasOf(accepted).map(({ from, to, result }) => `${from} ${to} ${result}`)).toEqual(version === 1 ? [] : [`${String(version - 1)} ${String(version)} made`]);
    }
    // The same over the network, beside serving: the uploader does not wait for it.
    const [staging, token] = [join(folder, 'staging-4'), join(folder, 'upload.token')];
    expect(shoal('publish', await image(4), '--name', 'os', '--version', '4', '--home', offline, '--staging', staging, '--level', '3').code).toBe(0);
    const origin = await serve(['origin', '--home', server, '--upload-token', token]);
    expect(shoal('upload', staging, origin.url, '--token', token, '--json')).toMatchObject({ code: 0, last: { releases: [{ version: '4' }] } });
    await expect.poll(() => shoal('inspect', server).errors, { interval: 500 }).toMatch(/from image-3 of os 3 to image-4 of os 4: \d+ bytes/);
    await origin.kill('SIGTERM');
    expect(shoal('delta', 'os', '--home', offline)).toMatchObject({ code: 1, errors: expect.stringContaining('offline home') as unknown });
  });
});
