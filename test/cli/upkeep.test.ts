import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReleaseManifest } from '../../src/core/manifest.ts';
import { randomBytes } from '../support/random.ts';
import { serve, shoal, shoalBeside } from '../support/shoal.ts';
import type { Server } from '../support/shoal.ts';

const MiB = 1024 * 1024;
let folder: string;
let home: string;
let origin: Server | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-upkeep-'));
  home = join(folder, 'home');
});
afterAll(async () => {
  await origin?.kill('SIGTERM');
  await rm(folder, { recursive: true });
});

const publish = (path: string, version: string): ReturnType<typeof shoal> => shoal('publish', path, '--name', 'os', '--version', version, '--home', home, '--level', '3', '--json');

describe('upkeep of a home, beside a running origin', () => {
  it('retires a release, collects what it alone needed, and finds and heals damage', async () => {
    expect(shoal('init', '--home', home).code).toBe(0);
    const [one, two] = [join(folder, 'one'), join(folder, 'two')];
    await writeFile(one, randomBytes(2 * MiB));
    await writeFile(two, randomBytes(MiB));
    expect(publish(one, '1').code).toBe(0);
    expect(publish(two, '2').code).toBe(0);
    origin = await serve(['origin', '--home', home]);
    const fetched = (wanted: string): ReturnType<typeof shoal> =>
      shoal('fetch', wanted, '--origin', origin?.url ?? '', '--trust', join(home, 'trust', 'root.json'), '--state', join(folder, `state-${wanted}`), '-o', join(folder, `got-${wanted}`), '--json');
    expect(fetched('os@1').code).toBe(0);

    // Nothing is retired yet: nothing goes.
    expect(shoal('gc', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true, forgotten: [], freedBytes: 0 } });
    expect(shoal('retire', 'os@7', '--home', home)).toMatchObject({ code: 1, errors: expect.stringContaining('os 7 is not released') });
    expect(shoal('retire', 'os@1', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true, published: true } });
    const { last, code } = shoal('gc', '--home', home, '--json');
    expect(code).toBe(0);
    expect((last['forgotten'] as readonly unknown[]).length).toBe(1);
    // Two of three MiB were dead.
    expect(last['freedBytes']).toBeGreaterThan(1.9 * MiB);
    expect(shoal('verify', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true, releases: 1, damaged: [], incomplete: [], absent: [] } });
    expect(fetched('os').code).toBe(0);
    expect(fetched('os@1')).toMatchObject({ code: 1 });

    // One flipped bit on the medium.
    const packs = join(home, 'store', 'packs');
    const pack = (await readdir(packs)).at(-1) ?? '';
    const file = await open(join(packs, pack), 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, 500_000);
    byte[0] = (byte[0] ?? 0) ^ 4;
    await file.write(byte, 0, 1, 500_000);
    await file.close();
    const damage = shoal('verify', '--home', home, '--json');
    expect(damage).toMatchObject({ code: 1, last: { ok: false, error: 'STORE_DAMAGED' } });
    const damaged = damage.last['damaged'] as readonly string[];
    expect(damaged.length).toBeGreaterThan(0);
    expect(damage.errors).toContain(`damaged: ${damaged[0] ?? ''}`);
    expect(damage.errors).toContain('Publish the files concerned again');
    expect(publish(two, '3').code).toBe(0);
    expect(shoal('verify', '--home', home, '--json')).toMatchObject({ code: 0, last: { ok: true, releases: 2 } });
  });

  it('takes nothing from readers while it collects', async () => {
    // Releases in turn, so that what lives and what is dead lie side by side and packs are rewritten.
    const image = join(folder, 'image');
    for (const version of ['4', '5', '6', '7']) {
      await writeFile(image, randomBytes(MiB));
      expect(publish(image, version).code).toBe(0);
    }
    const { last } = shoal('inspect', 'os@6', '--home', home, '--json');
    const [kept] = (last['manifest'] as ReleaseManifest).artifacts;
    const url = `${origin?.url ?? ''}/v1/content/default/${kept?.root ?? ''}/artifact`;
    expect(shoal('retire', 'os@4', 'os@5', 'os@7', '--home', home).code).toBe(0);
    let collecting = true;
    let read = 0;
    const reading = async (): Promise<void> => {
      while (collecting) {
        const answer = await fetch(url);
        expect(answer.status).toBe(200);
        expect(createHash('sha256').update(Buffer.from(await answer.arrayBuffer())).digest('hex')).toBe(kept?.sha256);
        read++;
      }
    };
    const readers = [reading(), reading()];
    await expect.poll(() => read).toBeGreaterThan(1);
    const before = read;
    const collected = await shoalBeside('gc', '--home', home, '--json');
    collecting = false;
    await Promise.all(readers);
    expect(collected).toMatchObject({ code: 0, last: { ok: true } });
    expect(collected.last['freedBytes']).toBeGreaterThan(2 * MiB);
    expect(collected.last['rewrittenBytes']).toBeGreaterThan(MiB / 2);
    expect(read).toBeGreaterThan(before);
  });

  it('says what a release, a file, a page, metadata and a home are', async () => {
    const release = shoal('inspect', 'os@3', '--home', home, '--json');
    expect(release).toMatchObject({ code: 0, last: { kind: 'release', before: '2', artifacts: [{ size: MiB, spans: 1, knownBytes: MiB }], tiers: { kernel: {} } } });
    const manifest = release.last['manifest'] as ReleaseManifest;
    const root = manifest.artifacts[0]?.root ?? '';
    expect(shoal('inspect', root, '--home', home, '--json')).toMatchObject({ code: 0, last: { kind: 'artifact', artifact: { root, size: MiB } } });
    // A file of no kind has the root that publishing gave it.
    expect(shoal('inspect', join(folder, 'two'), '--json')).toMatchObject({ code: 0, last: { kind: 'file', artifact: { root, sha256: manifest.artifacts[0]?.sha256 } } });
    expect(shoal('inspect', home, '--json')).toMatchObject({ code: 0, last: { kind: 'home', part: 'whole' } });
    expect(shoal('inspect', join(home, 'metadata', '1.root.json'), '--json')).toMatchObject({ code: 0, last: { kind: 'metadata', role: 'root', version: 1 } });
    expect(shoal('inspect', join(home, 'staging', 'os-3'), '--json')).toMatchObject({ code: 0, last: { kind: 'staging', manifests: [{ version: '3' }] } });
    const page = await fetch(`${origin?.url ?? ''}/v1/content/default/${root}/pages/${root}`);
    await writeFile(join(folder, 'page'), Buffer.from(await page.arrayBuffer()));
    expect(shoal('inspect', join(folder, 'page'), '--json')).toMatchObject({ code: 0, last: { kind: 'page', id: root, page: { level: 1, spans: 1 } } });
    expect(shoal('inspect', 'nothing', '--home', home, '--json')).toMatchObject({ code: 1, last: { error: 'NO_SUCH_RELEASE' } });
    expect(shoal('inspect', folder)).toMatchObject({ code: 1 });
  });
});
