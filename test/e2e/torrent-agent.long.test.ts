import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { describeTorrent } from '../../src/publish/torrent.ts';
import { freePort } from '../support/free-port.ts';
import { needsDebian } from '../support/needs.ts';
import { HANG_S, Processes } from '../support/processes.ts';
import { ask } from '../support/raw-http.ts';
import { ARIA2_ALONE, StockClients, scraped } from '../support/stock-clients.ts';
import { TorrentFleet } from '../support/torrent-agents.ts';

/** Stock clients that take a release from an agent; what they wait for by themselves makes it long. */
const processes = new Processes();
const fleet = new TorrentFleet(processes);
const clients = new StockClients(processes.folder);
const image = randomBytes(12_000_001);
/** Several artifacts: one piece has bytes of both. */
const apps = [randomBytes(1_500_000), randomBytes(700_001)] as const;

const at = (...path: readonly string[]): string => join(processes.folder, ...path);

beforeAll(async () => {
  await writeFile(at('image'), image);
  for (const [index, bytes] of apps.entries()) await writeFile(at(`app${String(index)}`), bytes);
  await processes.must('init', '--home', at('home'));
  const publish = (...args: readonly string[]): Promise<unknown> => processes.must('publish', ...args, '--home', at('home'), '--level', '1', '--torrent');
  await publish(at('image'), '--name', 'os', '--version', '1');
  await publish(`one=${at('app0')}`, `two=${at('app1')}`, '--name', 'apps', '--version', '1');
  await publish(at('app0'), '--name', 'secret', '--version', '1');
  await fleet.start('os', 'apps');
});

afterAll(async () => {
  await clients.close();
  await processes.close();
});

async function hashOf(torrent: string): Promise<string> {
  return (await describeTorrent(await readFile(torrent))).infoHash;
}

describe.skipIf(needsDebian('aria2', 'aria2c'))('aria2c', () => {
  it('gets a release from an agent no faster than that may send', async () => {
    const torrent = await fleet.bare('os@1');
    const feeding = await fleet.agent('os', ['--torrent-products', 'os', '--upload-limit', '2M']);
    await feeding.installed();
    await expect.poll(async () => scraped(fleet.torrents, await hashOf(torrent)), { timeout: HANG_S * 1000 }).toContain('8:completei1e');
    const began = performance.now();
    const { code, output } = await clients.run('aria2c', [...ARIA2_ALONE, '--seed-time=0', `--listen-port=${String(await freePort())}`, '-d', at('leech'), torrent]).ended;
    expect(code, output).toBe(0);
    expect((await readFile(at('leech', 'image'))).equals(image)).toBe(true);
    // 12 MB at 2 MiB a second, of which a quarter of a second may be saved up.
    expect(performance.now() - began).toBeGreaterThan(5_000);
    await feeding.stop();
  });

  it('finds an agent after its restart, with a release of several artifacts', async () => {
    const torrent = await fleet.bare('apps@1');
    const first = await fleet.agent('apps', ['--torrent-products', '*']);
    await first.installed();
    await first.stop();
    const again = await fleet.agent('apps', ['--torrent-products', '*', '--torrent-listen', `127.0.0.1:${String(await freePort())}`], first);
    await expect.poll(async () => scraped(fleet.torrents, await hashOf(torrent)), { timeout: HANG_S * 1000 }).toContain('8:completei1e');
    const { code, output } = await clients.run('aria2c', [...ARIA2_ALONE, '--seed-time=0', `--listen-port=${String(await freePort())}`, '-d', at('leech-apps'), torrent]).ended;
    expect(code, output).toBe(0);
    for (const [index, name] of ['one', 'two'].entries()) expect((await readFile(at('leech-apps', 'apps-1', name))).equals(apps[index] ?? Buffer.alloc(0))).toBe(true);
    expect((await again.stop()).code).toBe(0);
  });

  it('gets nothing of a product that nobody opened', async () => {
    const closed = await fleet.agent('secret', ['--torrent-products', 'os']);
    await closed.installed();
    expect((await ask(fleet.torrents, wire.torrents)).body.toString()).not.toContain('secret');
    expect(await closed.stop()).toMatchObject({ code: 0, last: { ledger: { torrents: { received: 0, sent: 0 } } } });
  });
});

describe.skipIf(needsDebian('transmission-cli'))('transmission', () => {
  it('takes all of a release from an agent while it arrives there', async () => {
    const torrent = await fleet.bare('os@1');
    await writeFile(at('finish'), '#!/bin/sh\nkill "$PPID"\n', { mode: 0o755 });
    await mkdir(at('transmission'));
    // It connects to nobody on loopback by itself: it is there first, and the agent comes to it.
    const taking = clients.run('transmission-cli', ['-g', at('config'), '-w', at('transmission'), '-M', '-p', String(await freePort()), '-f', at('finish'), torrent]);
    await expect.poll(async () => scraped(fleet.torrents, await hashOf(torrent)), { timeout: HANG_S * 1000 }).toMatch(/10:incompletei[1-9]/);
    const feeding = await fleet.agent('os', ['--torrent-products', 'os', '--backhaul-limit', '4M']);
    const { output } = await taking.ended;
    expect((await readFile(at('transmission', 'image')).catch(() => Buffer.alloc(0))).equals(image), output).toBe(true);
    await feeding.stop();
  });
});
