import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { freePort } from '../support/free-port.ts';
import { needsDebian } from '../support/needs.ts';
import { Processes } from '../support/processes.ts';
import { ask } from '../support/raw-http.ts';
import { ARIA2_ALONE, StockClients, scraped } from '../support/stock-clients.ts';

/**
 * What a stock client does with a release: it knows nothing of Shoal, has the .torrent and what that names. Sizes are some
 * pieces of 256 KiB, the last one short, and a file boundary inside a piece.
 */
const processes = new Processes();
const image = randomBytes(1_700_001);
const boot = randomBytes(400_000);
const secret = randomBytes(300_000);
const clients = new StockClients(processes.folder);
let torrents: string;
let origin: string;
let stop: () => Promise<unknown>;

const at = (...path: readonly string[]): string => join(processes.folder, ...path);
const sha1 = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');

beforeAll(async () => {
  await writeFile(at('image'), image);
  await writeFile(at('boot'), boot);
  await writeFile(at('secret'), secret);
  await processes.must('init', '--home', at('home'));
  const publish = (...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> => processes.must('publish', ...args, '--home', at('home'), '--level', '1');
  expect(await publish(at('image'), '--name', 'os', '--version', '1', '--torrent')).toMatchObject({ infoHash: expect.stringMatching(/^[0-9a-f]{40}$/) as string });
  await publish(`image=${at('image')}`, `boot+loader=${at('boot')}`, '--name', 'os', '--version', '2', '--deltas-from', 'none');
  await publish(at('secret'), '--name', 'secrets', '--version', '1');
  const started = processes.start(['origin', '--home', at('home'), '--listen', '127.0.0.1:0', '--tls', '--torrent', '127.0.0.1:0', '--torrent-products', 'os']);
  ({ url: origin, torrents } = (await started.ready) as { readonly url: string; readonly torrents: string });
  stop = async () => {
    started.child.kill('SIGTERM');
    return started.ended;
  };
});

afterAll(async () => {
  await clients.close();
  await processes.close();
});

async function saved(version: string): Promise<string> {
  const { status, headers, body } = await ask(torrents, wire.torrent('os', version));
  expect([status, headers['content-type'], headers['content-disposition']]).toEqual([200, 'application/x-bittorrent', `attachment; filename="os-${version}.torrent"`]);
  const path = at(`${version}.torrent`);
  await writeFile(path, body);
  return path;
}

/** What was downloaded, byte for byte. */
async function same(folder: string, version: string): Promise<void> {
  if (version === '1') expect(sha1(await readFile(join(folder, 'image')))).toBe(sha1(image));
  else expect([sha1(await readFile(join(folder, 'os-2', 'image'))), sha1(await readFile(join(folder, 'os-2', 'boot+loader')))]).toEqual([sha1(image), sha1(boot)]);
}

describe.skipIf(needsDebian('aria2', 'aria2c'))('aria2c', () => {
  it('downloads a release of one artifact, and one of several, from torrent and web seed', async () => {
    for (const version of ['1', '2']) {
      const folder = at(`aria2-${version}`);
      const { code, output } = await clients.run('aria2c', [...ARIA2_ALONE, '--seed-time=0', `--listen-port=${String(await freePort())}`, '-d', folder, await saved(version)]).ended;
      expect(code, output).toBe(0);
      await same(folder, version);
    }
  });

  it('finds others by the tracker, and takes all from them where a torrent has no web seed', async () => {
    const seeding = clients.run('aria2c', [...ARIA2_ALONE, '--seed-ratio=0.0', '--check-integrity=true', '--allow-overwrite=true', `--listen-port=${String(await freePort())}`, '-d', at('seed'), await saved('1')]);
    const { infoHash } = await processes.must('torrent', 'os@1', '--tracker', torrents + wire.tracker, '-o', at('bare.torrent'), '--home', at('home'));
    // The seed says to the tracker that it has everything.
    await expect.poll(() => scraped(torrents, String(infoHash))).toContain('8:completei1e');
    const served = async (): Promise<number> => ((await processes.must('inspect', at('bare.torrent')))['webSeeds'] as readonly string[]).length;
    expect(await served()).toBe(0);
    const { code, output } = await clients.run('aria2c', [...ARIA2_ALONE, '--seed-time=0', `--listen-port=${String(await freePort())}`, '-d', at('leech'), at('bare.torrent')]).ended;
    expect(code, output).toBe(0);
    await same(at('leech'), '1');
    seeding.child.kill('SIGTERM');
    await seeding.ended;
  });
});

describe.skipIf(needsDebian('transmission-cli'))('transmission-cli', () => {
  it('downloads a release of one artifact, and one of several, from torrent and web seed', async () => {
    // It seeds for ever; the script that it runs at the end of a download ends it.
    await writeFile(at('finish'), '#!/bin/sh\nkill "$PPID"\n', { mode: 0o755 });
    const runs = ['1', '2'].map(async (version) => {
      const folder = at(`transmission-${version}`);
      await mkdir(folder);
      const { output } = await clients.run('transmission-cli', ['-g', at(`config-${version}`), '-w', folder, '-M', '-p', String(await freePort()), '-f', at('finish'), await saved(version)]).ended;
      expect(await readdir(folder), output).not.toEqual([]);
      await same(folder, version);
    });
    await Promise.all(runs);
  });
});

describe('an origin that is open to stock clients', () => {
  it('lists and serves the products that were opened, with the host it was asked for in the torrent', async () => {
    const listed = JSON.parse((await ask(torrents, wire.torrents)).body.toString()) as unknown;
    expect(listed).toEqual({ torrents: ['2', '1'].map((version) => ({ product: 'os', version, url: torrents + wire.torrent('os', version) })) });
    const other = await ask(torrents, wire.torrent('os', '1'), { headers: { host: 'downloads.example:8480' } });
    expect(other.body.toString('latin1')).toContain('http://downloads.example:8480/v1/content/default/');
    const bad = await ask(torrents, wire.torrent('os', '1'), { headers: { host: 'x/y' } });
    expect(bad.status).toBe(400);
    const { etag } = (await ask(torrents, wire.torrent('os', '1'))).headers;
    expect((await ask(torrents, wire.torrent('os', '1'), { headers: { 'if-none-match': etag ?? '' } })).status).toBe(304);
    expect(await processes.must('inspect', await saved('2'))).toMatchObject({ kind: 'torrent', name: 'os-2', private: true, trackers: [torrents + wire.tracker] });
  });

  it('has nothing else there: no other product, no metadata, no metrics, no sites', async () => {
    const { artifact } = await processes.must('inspect', at('secret')) as { readonly artifact: { readonly root: string } };
    const paths = [
      wire.torrent('secrets', '1'), wire.torrent('os', '3'), `/v1/content/default/${artifact.root}/artifact`, `/v1/content/default/${artifact.root}/spans/0`, `/v1/holdings/default/${artifact.root}`,
      `${wire.metadata}/timestamp.json`, wire.metrics, wire.health, '/openapi.json', wire.peers('default'), wire.revocations, wire.anchors, wire.uploads,
      `${wire.torrentFiles('os', '2')}os-1/image`, `${wire.torrentFiles('secrets', '1')}secrets-1/secret`,
    ];
    for (const path of paths) expect([path, (await ask(torrents, path)).status]).toEqual([path, 404]);
    expect((await ask(torrents, '/v1/holdings')).body.toString()).not.toContain(artifact.root);
    const announce = await ask(torrents, `${wire.tracker}?info_hash=${'%aa'.repeat(20)}&peer_id=${'b'.repeat(20)}&port=1&left=0`);
    expect(announce.body.toString()).toContain('not on offer');
    for (const query of ['', '?info_hash=x', `?info_hash=${'%zz'.repeat(20)}&peer_id=${'b'.repeat(20)}&port=1`]) expect((await ask(torrents, wire.tracker + query)).body.toString()).toContain('no announcement');
    // The listener of the fleet is not opened by it.
    expect(origin).toMatch(/^https:/);
  });

  it('counts what it gave away, apart from what the fleet had', async () => {
    expect(await stop()).toMatchObject({ code: 0, last: { ledger: { served: { content: 0 }, torrents: { content: expect.any(Number) as number } } } });
  });
});

describe('on the command line', () => {
  it('opens nothing by accident', async () => {
    for (const args of [['--torrent', '127.0.0.1:0'], ['--torrent-products', 'os'], ['--torrent', '127.0.0.1:0', '--torrent-products', 'os', '--torrent-url', 'nonsense']]) {
      expect((await processes.run(['origin', '--home', at('home'), '--listen', '127.0.0.1:0', ...args])).code, args.join(' ')).toBe(2);
    }
    expect((await processes.run(['torrent', 'nothing', '--home', at('home'), '--json'])).last).toMatchObject({ ok: false, error: 'NO_SUCH_RELEASE' });
    expect((await processes.run(['torrent', 'os', '--origin', 'ftp://x', '--home', at('home'), '--json'])).last).toMatchObject({ ok: false, error: 'BAD_USAGE' });
  });
});
