import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wire } from '../../src/core/wire.ts';
import { GREETING_BYTES, MessageReader, bitfieldOf, decodeGreeting, encodeBitfield, encodeGreeting, encodePieceHead, encodeSimple } from '../../src/exchange/torrent/messages.ts';
import { freePort } from '../support/free-port.ts';
import { needsDebian } from '../support/needs.ts';
import { HANG_S, Processes } from '../support/processes.ts';
import { ask } from '../support/raw-http.ts';
import { ARIA2_ALONE, StockClients, scraped } from '../support/stock-clients.ts';
import { TorrentFleet } from '../support/torrent-agents.ts';

/**
 * An agent among stock clients: it fetches from them and feeds them, and takes nothing from them that is not what was signed. The
 * image is some spans long, and the line to the origin so slow that whoever has it nearby brings most of it. Feeding them as it
 * arrives, and after a restart: `torrent-agent.long.test.ts`.
 */
const processes = new Processes();
const fleet = new TorrentFleet(processes);
const clients = new StockClients(processes.folder);
const image = randomBytes(12_000_001);
const MINE = ['--torrent-products', 'os'];
let infoHash: string;

const at = (...path: readonly string[]): string => join(processes.folder, ...path);

beforeAll(async () => {
  await writeFile(at('image'), image);
  await processes.must('init', '--home', at('home'));
  infoHash = String((await processes.must('publish', at('image'), '--name', 'os', '--version', '1', '--home', at('home'), '--level', '1', '--torrent'))['infoHash']);
  await fleet.start('os');
});

afterAll(async () => {
  await clients.close();
  await processes.close();
});

describe.skipIf(needsDebian('aria2', 'aria2c'))('an agent with --torrent', () => {
  it('fetches what a stock client nearby has, checks it, and feeds another one from its place, in which the first has no part', async () => {
    await mkdir(at('seed'));
    await cp(at('image'), at('seed', 'image'));
    const torrent = await fleet.bare('os@1');
    const seeding = clients.run('aria2c', [...ARIA2_ALONE, '--seed-ratio=0.0', '--check-integrity=true', '--allow-overwrite=true', `--listen-port=${String(await freePort())}`, '-d', at('seed'), torrent]);
    await expect.poll(() => scraped(fleet.torrents, infoHash), { timeout: HANG_S * 1000 }).toContain('8:completei1e');
    const taking = await fleet.agent('os', [...MINE, '--backhaul-limit', '256K', '--upload-limit', '32M']);
    const { ledger } = (await taking.installed()) as { readonly ledger: { readonly origin: number; readonly torrent: number; readonly peer: number } };
    expect((await readFile(taking.path)).equals(image)).toBe(true);
    expect([ledger.torrent > image.byteLength / 4, ledger.peer]).toEqual([true, 0]);
    seeding.child.kill('SIGTERM');
    await seeding.ended;
    const { code, output } = await clients.run('aria2c', [...ARIA2_ALONE, '--seed-time=0', `--listen-port=${String(await freePort())}`, '-d', at('leech'), torrent]).ended;
    expect(code, output).toBe(0);
    expect((await readFile(at('leech', 'image'))).equals(image)).toBe(true);
    const { code: ended, last } = await taking.stop();
    const { torrents } = (last as { readonly ledger: { readonly torrents: { readonly received: number; readonly sent: number } } }).ledger;
    expect([ended, torrents.received >= ledger.torrent, torrents.sent >= image.byteLength]).toEqual([0, true, true]);
  });
});

describe('a client that sends wrong bytes', () => {
  it('gets none of them into the file, is named, and is not asked again', async () => {
    let [connections, sent] = [0, 0];
    const pieces = Math.ceil(image.byteLength / (256 * 1024));
    const sockets = new Set<Socket>();
    const liar = createServer((socket) => {
      connections++;
      sockets.add(socket.on('error', () => undefined));
      let greeted = false;
      const reader = new MessageReader(pieces);
      socket.on('data', (bytes) => {
        let rest: Uint8Array = bytes;
        if (!greeted) {
          greeted = true;
          expect(decodeGreeting(bytes)?.infoHash).toBe(infoHash);
          socket.write(Buffer.concat([encodeGreeting({ infoHash, peerId: 'ee'.repeat(20) }), encodeBitfield(bitfieldOf(() => true, pieces)), encodeSimple('unchoke')]));
          rest = bytes.subarray(GREETING_BYTES);
        }
        reader.push(rest, (message) => {
          if (message.kind !== 'request') return;
          sent += message.length;
          socket.write(Buffer.concat([encodePieceHead(message), randomBytes(message.length)]));
        });
      });
    });
    liar.listen(0, '127.0.0.1');
    await once(liar, 'listening');
    const { port } = liar.address() as AddressInfo;
    const announce = await ask(fleet.torrents, `${wire.tracker}?info_hash=${infoHash.replace(/../g, '%$&')}&peer_id=${'%ee'.repeat(20)}&port=${String(port)}&left=0`);
    expect(announce.body.toString('latin1')).toContain('8:interval');
    const taking = await fleet.agent('os', [...MINE, '--backhaul-limit', '4M']);
    await taking.installed();
    expect((await readFile(taking.path)).equals(image)).toBe(true);
    const lies = taking.events.filter(({ event }) => event === 'lie');
    expect(lies).toEqual([expect.objectContaining({ source: `torrent://127.0.0.1:${String(port)}`, code: 'CHUNK_MISMATCH' })]);
    // Two spans were asked of it at a time.
    expect([connections, sent > 0, sent <= 2 * 4 * 1024 * 1024]).toEqual([1, true, true]);
    await taking.stop();
    for (const socket of sockets) socket.destroy();
    liar.close();
  });
});

describe('on the command line', () => {
  it('opens nothing by accident', async () => {
    const required = ['agent', 'os=os.img', '--origin', fleet.origin, '--trust', fleet.trust, '--state', at('unused')];
    for (const args of [['--torrent', fleet.torrents], ['--torrent-products', 'os'], ['--torrent', 'nonsense', '--torrent-products', 'os']]) {
      expect((await processes.run([...required, ...args])).code, args.join(' ')).toBe(2);
    }
  });
});
