import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TORRENT_BLOCK_BYTES, TORRENT_CONNECTIONS_PER_ADDRESS } from '../../src/core/limits.ts';
import { encodeBlock, encodeGreeting, encodeHave, encodePieceHead, encodeSimple } from '../../src/exchange/torrent/messages.ts';
import { Processes } from '../support/processes.ts';
import { ask } from '../support/raw-http.ts';
import { HOSTILE } from '../support/floods.ts';
import { TorrentFleet } from '../support/torrent-agents.ts';
import type { TorrentAgent } from '../support/torrent-agents.ts';

// A real agent with a port for stock clients, where nobody has a certificate, and what one hostile address can do there.

/** As of an agent without that port. */
const MOST_MEMORY = 256_000_000;
const FLOOD_MS = 3_000;
const LANES = 32;

const processes = new Processes();
const fleet = new TorrentFleet(processes);
let agent: TorrentAgent;
let place: { readonly url: string; readonly torrentPort: number };
let infoHash: string;

beforeAll(async () => {
  const at = (name: string): string => join(processes.folder, name);
  await writeFile(at('image'), randomBytes(24_000_000));
  await processes.must('init', '--home', at('home'));
  infoHash = String((await processes.must('publish', at('image'), '--name', 'os', '--version', '1', '--home', at('home'), '--level', '1', '--torrent'))['infoHash']);
  await fleet.start('os');
  agent = await fleet.agent('os', ['--torrent-products', 'os']);
  place = (await agent.ready) as unknown as typeof place;
  await agent.installed();
}, 120_000);
afterAll(() => processes.close());

async function connection(): Promise<net.Socket> {
  const socket = net.connect({ port: place.torrentPort, host: '127.0.0.1', localAddress: HOSTILE });
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect').catch(() => undefined);
  return socket;
}

const greeting = (): Buffer => encodeGreeting({ infoHash, peerId: randomBytes(20).toString('hex') });
const many = (bytes: Buffer, count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));
// Made once: the flood comes out of the process that measures what it does to others.
const NOISE = randomBytes(100_000);
const LONG = Buffer.concat([Buffer.from([255, 255, 255, 255, 7]), Buffer.alloc(300_000, 1)]);
const REQUESTS = Buffer.concat([encodeSimple('interested'), many(encodeBlock('request', { piece: 0, begin: 0, length: TORRENT_BLOCK_BYTES }), 1_500)]);
const UNASKED = many(Buffer.concat([encodePieceHead({ piece: 0, begin: 0, length: TORRENT_BLOCK_BYTES }), Buffer.alloc(TORRENT_BLOCK_BYTES)]), 100);
const SMALL = many(Buffer.concat([encodeHave(1), encodeSimple('interested'), encodeSimple('not-interested')]), 20_000);

const FLOODS: Readonly<Record<string, (socket: net.Socket) => void>> = {
  'connections that say nothing': () => undefined,
  'greetings of other torrents': (socket) => { socket.write(encodeGreeting({ infoHash: '00'.repeat(20), peerId: '11'.repeat(20) })); },
  'noise': (socket) => { socket.write(NOISE); },
  'messages of four gigabytes': (socket) => { socket.write(Buffer.concat([greeting(), LONG])); },
  'requests whose blocks nobody reads': (socket) => { socket.pause().write(Buffer.concat([greeting(), REQUESTS])); },
  'pieces that nobody asked for': (socket) => { socket.write(Buffer.concat([greeting(), UNASKED])); },
  'small messages without end': (socket) => { socket.write(Buffer.concat([greeting(), SMALL])); },
};

describe.skipIf(process.platform !== 'linux')('an agent with a port for stock clients, among', () => {
  it.each(Object.entries(FLOODS))('%s, answers its neighbours, and its memory stays that of a small device', async (_name, attack) => {
    const until = performance.now() + FLOOD_MS;
    const lanes = Array.from({ length: LANES }, async () => {
      while (performance.now() < until) {
        const socket = await connection();
        if (!socket.destroyed) attack(socket);
        await Promise.race([once(socket, 'close').catch(() => undefined), delay(500)]);
        socket.destroy();
      }
    });
    const times: number[] = [];
    while (performance.now() < until) {
      const began = performance.now();
      expect((await ask(place.url, '/v1/holdings')).status).toBe(200);
      times.push(performance.now() - began);
      await delay(50);
    }
    await Promise.all(lanes);
    times.sort((a, b) => a - b);
    expect(times[Math.floor(times.length * 0.95)]).toBeLessThan(2_000);
    const { body } = await ask(place.url, '/metrics');
    expect(Number(/^process_resident_memory_bytes (\S+)/m.exec(body.toString())?.[1])).toBeLessThan(MOST_MEMORY);
    await expect.poll(async () => Number(/^shoal_torrent_connections (\S+)/m.exec((await ask(place.url, '/metrics')).body.toString())?.[1]), { timeout: 30_000 }).toBeLessThanOrEqual(TORRENT_CONNECTIONS_PER_ADDRESS);
  });

  it('was never larger in between', async () => {
    expect((await agent.stop()).peak).toBeLessThan(MOST_MEMORY);
  });
});
