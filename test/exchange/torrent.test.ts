import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { RateLimiter } from '../../src/core/rate-limiter.ts';
import { isObjectId } from '../../src/core/ids.ts';
import type { ObjectId } from '../../src/core/ids.ts';
import { STALL_TIMEOUT_MS, TORRENT_BLOCK_BYTES, TORRENT_CONNECTIONS_PER_ADDRESS, TORRENT_GREETING_MS, TORRENT_LIES_MOST, TORRENT_MAX_CONNECTIONS, TORRENT_SILENCE_MS } from '../../src/core/limits.ts';
import { Connection } from '../../src/exchange/torrent/connection.ts';
import { Crowd } from '../../src/exchange/torrent/crowd.ts';
import { Fetches } from '../../src/exchange/torrent/fetches.ts';
import { hearGreeting } from '../../src/exchange/torrent/greet.ts';
import { layoutOf, offsetOf, partsOf, piecesOf } from '../../src/exchange/torrent/layout.ts';
import { MessageReader, bitfieldOf, encodeBitfield, encodeBlock, encodeGreeting, encodeHave, encodePieceHead, encodeSimple, piecesIn } from '../../src/exchange/torrent/messages.ts';
import type { Block, Message } from '../../src/exchange/torrent/messages.ts';
import { announceTo } from '../../src/exchange/torrent/tracker.ts';
import type { Upstream } from '../../src/exchange/upstream.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { fc } from '../support/property.ts';
import { bytesFrom } from '../support/random.ts';

const KiB = 1024;

function rootOf(digit: string): ObjectId {
  const root = digit.repeat(64);
  if (!isObjectId(root)) throw new Error('no root');
  return root;
}

/** Two artifacts of 100,000 and 60,001 bytes in pieces of 32 KiB: one piece has bytes of both, the last one is short. */
const SIZES = [100_000, 60_001] as const;
const artifacts = SIZES.map((size, at) => ({ name: `a${String(at)}`, root: rootOf(String(at)), size, sha256: '0'.repeat(64), chunking: { algorithm: 'gear', min: 16 * KiB, average: 64 * KiB, max: 256 * KiB } })) as unknown as Parameters<typeof layoutOf>[2];
const shape = { infoHash: 'ab'.repeat(20), pieceLength: 32 * KiB, pieces: 5, files: SIZES.map((size) => ({ size })) };
const layout = layoutOf(shape, 'default', artifacts);
const content = bytesFrom(3, SIZES[0] + SIZES[1]);

describe('where artifacts lie in a torrent', () => {
  it('takes a torrent of the same artifacts in the same order, and no other', () => {
    expect(layout.parts.map(({ offset }) => offset)).toEqual([0, SIZES[0]]);
    const bad = [{ files: [{ size: SIZES[1] }, { size: SIZES[0] }] }, { files: [{ size: SIZES[0] }] }, { pieces: 4 }, { pieceLength: 1 }, { pieceLength: 32 * KiB + 0.5 }, { pieceLength: 2 ** 31 }];
    for (const each of bad) expect(() => layoutOf({ ...shape, ...each }, 'default', artifacts), JSON.stringify(each)).toThrow(expect.objectContaining({ code: 'BAD_TORRENT' }));
  });

  it('finds every stretch in its parts, and no block outside its piece', () => {
    fc.assert(fc.property(fc.nat(layout.size - 1), fc.integer({ min: 1, max: 90_000 }), (from, length) => {
      const to = Math.min(layout.size, from + length);
      const parts = partsOf(layout, from, to).map((part) => {
        const offset = layout.parts.find(({ key }) => key.root === part.key.root)?.offset ?? NaN;
        return content.subarray(offset + part.from, offset + part.to);
      });
      expect(Buffer.concat(parts).equals(content.subarray(from, to))).toBe(true);
      const [first, last] = piecesOf(layout, from, to);
      expect([first * layout.pieceLength <= from, (last + 1) * layout.pieceLength >= to, last * layout.pieceLength < to]).toEqual([true, true, true]);
    }));
    expect(offsetOf(layout, { piece: 4, begin: 0, length: layout.size - 4 * layout.pieceLength })).toBe(4 * layout.pieceLength);
    for (const block of [{ piece: 4, begin: 0, length: layout.size - 4 * layout.pieceLength + 1 }, { piece: 5, begin: 0, length: 1 }, { piece: 0, begin: 32 * KiB, length: 1 }, { piece: 0, begin: 1, length: 0 }, { piece: 2 ** 32 - 1, begin: 2 ** 32 - 1, length: 2 ** 32 - 1 }]) {
      expect(offsetOf(layout, block), JSON.stringify(block)).toBeUndefined();
    }
  });
});

/** All messages in `bytes`, which come in pieces that end anywhere. Bytes are copied: they are views. */
function read(bytes: Uint8Array, cuts: readonly number[] = [], pieces = layout.pieces): Message[] {
  const reader = new MessageReader(pieces);
  const got: Message[] = [];
  let at = 0;
  for (const cut of [...cuts.map((each) => each % (bytes.byteLength + 1)).sort((a, b) => a - b), bytes.byteLength]) {
    reader.push(bytes.subarray(at, Math.max(at, cut)), (message) => got.push('bytes' in message ? { ...message, bytes: Uint8Array.from(message.bytes) } : message));
    at = Math.max(at, cut);
  }
  return got;
}

describe('messages of BEP 3', () => {
  const block = { piece: 3, begin: 5, length: 20 };
  const all = Buffer.concat([
    encodeSimple('interested'), encodeHave(2), encodeBitfield(bitfieldOf((piece) => piece !== 1, 5)), encodeBlock('request', block), Buffer.alloc(4),
    encodePieceHead(block), content.subarray(0, 20), Buffer.from([0, 0, 0, 3, 20, 1, 2]), encodeBlock('cancel', block), encodeSimple('choke'),
  ]);

  it('come out as they went in, however the bytes arrive', () => {
    const expected = [
      { kind: 'interested' }, { kind: 'have', piece: 2 }, { kind: 'bitfield', bytes: Uint8Array.of(0b10111000) }, { kind: 'request', ...block }, { kind: 'keep-alive' },
      { kind: 'piece', piece: 3, begin: 5, bytes: Uint8Array.from(content.subarray(0, 20)) }, { kind: 'unknown' }, { kind: 'cancel', ...block }, { kind: 'choke' },
    ];
    fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 30 }), (cuts) => {
      expect(read(all, cuts)).toEqual(expected);
    }));
  });

  it('are never longer than a block or a bitfield, whatever their head says, and nothing else gets through', () => {
    for (const head of [[255, 255, 255, 255, 7], [0, 1, 0, 0, 5], [0, 0, 64, 10, 7], [0, 0, 0, 2, 0, 0], [0, 0, 0, 4, 4, 0, 0, 0], [0, 0, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0]]) {
      expect(() => read(Buffer.from(head)), head.join()).toThrow(expect.objectContaining({ code: 'BAD_PEER_MESSAGE' }));
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        read(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: 'BAD_PEER_MESSAGE' });
      }
    }));
  });

  it('have bitfields with the highest bit first, of the right length, and no spare bits', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.nat(20), { maxLength: 21 }), (held) => {
      expect(piecesIn(bitfieldOf((piece) => held.includes(piece), 21), 21)).toEqual(held.toSorted((a, b) => a - b));
    }));
    for (const bytes of [[0], [0, 0, 0, 0], [0, 0, 0b00000100]]) expect(() => piecesIn(Uint8Array.from(bytes), 21), bytes.join()).toThrow(expect.objectContaining({ code: 'BAD_PEER_MESSAGE' }));
  });
});

describe('blocks asked of one client', () => {
  function fetches(): { readonly asked: Block[]; readonly cancelled: Block[]; readonly all: Fetches } {
    const asked: Block[] = [];
    const cancelled: Block[] = [];
    return { asked, cancelled, all: new Fetches({ pieceLength: layout.pieceLength, now: () => 0, send: (kind, block) => (kind === 'request' ? asked : cancelled).push(block) }) };
  }
  const bytesOf = ({ piece, begin, length }: Block): Buffer => content.subarray(piece * layout.pieceLength + begin, piece * layout.pieceLength + begin + length);

  it('are the very bytes that are wanted, no longer than clients send, inside their pieces, in whatever order they come', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(layout.size - 1), fc.integer({ min: 1, max: 70_000 })), { minLength: 1, maxLength: 4 }), fc.infiniteStream(fc.nat()), async (wanted, order) => {
      const { all, asked } = fetches();
      const stretches = wanted.map(([offset, length]) => ({ offset, length: Math.min(length, layout.size - offset) }));
      const expected = Buffer.concat(stretches.map(({ offset, length }) => content.subarray(offset, offset + length)));
      const buffer = Buffer.alloc(expected.byteLength);
      const filled: number[] = [];
      const done = all.fetch(stretches, buffer, (bytes) => filled.push(bytes));
      expect(asked).toEqual([]);
      all.choked(false);
      const sent = new Set<Block>();
      while (asked.some((block) => !sent.has(block))) {
        const left = asked.filter((block) => !sent.has(block));
        const block = left[(order.next().value ?? 0) % left.length] as Block;
        sent.add(block);
        expect([offsetOf(layout, block) === undefined, block.length <= TORRENT_BLOCK_BYTES]).toEqual([false, true]);
        expect(all.came(block.piece, block.begin, bytesOf(block))).toBe(true);
      }
      await done;
      expect(buffer.equals(expected)).toBe(true);
      expect(filled).toEqual(filled.toSorted((a, b) => a - b));
    }), { numRuns: 60 });
  });

  it('are called off with whoever wanted them, and what comes all the same is thrown away', async () => {
    const { all, asked, cancelled } = fetches();
    all.choked(false);
    const stop = new AbortController();
    const buffer = Buffer.alloc(40_000);
    const done = all.fetch([{ offset: 0, length: 40_000 }], buffer, () => undefined, stop.signal);
    stop.abort(new Error('enough'));
    await expect(done).rejects.toThrow('enough');
    expect(cancelled).toEqual(asked);
    expect(all.idle).toBe(true);
    expect(all.came(0, 0, content.subarray(0, TORRENT_BLOCK_BYTES))).toBe(true);
    expect(buffer.every((byte) => byte === 0)).toBe(true);
    expect(all.came(4, 0, content.subarray(0, 30_000))).toBe(false);
    await expect(all.fetch([{ offset: 0, length: 1 }], buffer, () => undefined, stop.signal)).rejects.toThrow('enough');
  });

  it('are forgotten when the client sends to others, and fail with what is wrong about them', async () => {
    const { all } = fetches();
    all.choked(false);
    const choked = all.fetch([{ offset: 0, length: 10 }], Buffer.alloc(10), () => undefined);
    all.choked(true);
    await expect(choked).rejects.toMatchObject({ code: 'TORRENT_CHOKED' });
    all.choked(false);
    const wrong = all.fetch([{ offset: 0, length: 10 }], Buffer.alloc(10), () => { throw new Error('not these'); });
    all.came(0, 0, content.subarray(0, 10));
    await expect(wrong).rejects.toThrow('not these');
  });
});

const open = new Set<Socket | Server>();
afterEach(() => {
  for (const each of open) {
    if ('destroy' in each) each.destroy();
    else each.close();
  }
  open.clear();
});

/** Two ends of a connection: ours, and that of a client. */
async function pair(): Promise<readonly [Socket, Socket]> {
  const server = createServer();
  open.add(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [ours] = (await once(server, 'connection')) as [Socket];
  for (const socket of [ours, client]) open.add(socket.on('error', () => undefined));
  return [ours, client];
}

/** A connection that has all, and what the client at its other end hears. */
async function serving(options: { readonly clock?: ManualClock; readonly upload?: RateLimiter; readonly broken?: boolean } = {}): Promise<{ readonly connection: Connection; readonly client: Socket; readonly heard: Message[]; readonly closed: Promise<string>; readonly until: (done: () => boolean) => Promise<void> }> {
  const [socket, client] = await pair();
  const heard: Message[] = [];
  const reader = new MessageReader(layout.pieces);
  client.on('data', (bytes) => { reader.push(bytes, (message) => heard.push('bytes' in message ? { ...message, bytes: Uint8Array.from(message.bytes) } : message)); });
  let close: (reason: string) => void = () => undefined;
  const closed = new Promise<string>((resolve) => (close = resolve));
  const connection = new Connection({
    socket, layout,
    rest: new Uint8Array(),
    clock: options.clock ?? systemClock,
    limiters: [],
    upload: options.upload,
    content: {
      spans: () => Promise.resolve(1),
      has: () => Promise.resolve(true),
      read: async function* (key, from, to) {
        await Promise.resolve();
        if (options.broken === true) throw new Error('the medium failed');
        const offset = layout.parts.find((part) => part.key.root === key.root)?.offset ?? NaN;
        yield content.subarray(offset + from, offset + to);
      },
    },
    onBytes: () => undefined,
    onClose: (reason) => { close(reason); },
  });
  connection.begin(bitfieldOf(() => true, layout.pieces));
  return { connection, client, heard, closed, until: (done) => expect.poll(done, { timeout: 60_000, interval: 5 }).toBe(true) };
}

describe('a stock client', () => {
  it('is told what is here, and sent what it asks for once it is its turn, across artifacts', async () => {
    const { client, connection, heard, until } = await serving();
    client.write(Buffer.concat([encodeSimple('interested'), encodeBlock('request', { piece: 0, begin: 0, length: 16 })]));
    await until(() => connection.wanting);
    expect(heard).toEqual([{ kind: 'bitfield', bytes: Uint8Array.of(0b11111000) }]);
    connection.serve(true);
    const blocks = [3, 4].flatMap((piece) => [0, 1].map((half) => ({ piece, begin: half * TORRENT_BLOCK_BYTES, length: piece === 4 && half === 1 ? layout.size - 4 * layout.pieceLength - TORRENT_BLOCK_BYTES : TORRENT_BLOCK_BYTES })));
    client.write(Buffer.concat(blocks.map((block) => encodeBlock('request', block))));
    await until(() => heard.length === 2 + blocks.length);
    const got = heard.flatMap((message) => (message.kind === 'piece' ? [Buffer.from(message.bytes)] : []));
    expect(Buffer.concat(got).equals(content.subarray(3 * layout.pieceLength))).toBe(true);
  });

  it('is dropped for what no client does', async () => {
    const wrong: readonly (readonly [string, Buffer])[] = [
      ['a message of 4 GB', Buffer.from([255, 255, 255, 255, 7])],
      ['a piece that there is not', encodeHave(5)],
      ['a bitfield of another length', encodeBitfield(new Uint8Array(2))],
      ['a request past the end', encodeBlock('request', { piece: 4, begin: 0, length: TORRENT_BLOCK_BYTES * 2 })],
      ['a request of more than a block', encodeBlock('request', { piece: 0, begin: 0, length: TORRENT_BLOCK_BYTES + 1 })],
      ['messages without end', Buffer.alloc(4 * 10_000)],
      ['what nobody asked for', Buffer.concat(Array.from({ length: 70 }, () => Buffer.concat([encodePieceHead({ piece: 0, begin: 0, length: TORRENT_BLOCK_BYTES }), content.subarray(0, TORRENT_BLOCK_BYTES)])))],
    ];
    for (const [what, bytes] of wrong) {
      const { client, closed, connection } = await serving();
      client.write(bytes);
      expect([what, await closed]).toEqual([what, expect.not.stringContaining('gone') as string]);
      expect(connection.closed).toBe(true);
    }
  });

  it('that asks without end and reads nothing is given up, and costs a block or two until then', async () => {
    const clock = new ManualClock();
    const { client, closed, connection, until } = await serving({ clock });
    client.pause();
    client.write(encodeSimple('interested'));
    await until(() => connection.wanting);
    connection.serve(true);
    const request = encodeBlock('request', { piece: 0, begin: 0, length: TORRENT_BLOCK_BYTES });
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 40 && !connection.closed; round++) {
      client.write(Buffer.concat(Array.from({ length: 500 }, () => request)));
      await new Promise(setImmediate);
      clock.advance(1_000);
    }
    expect(await closed).toContain('blocks ahead');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * KiB);
  });

  it('is sent no more than the limit of this device', async () => {
    const clock = new ManualClock();
    const upload = new RateLimiter(clock, () => 4 * TORRENT_BLOCK_BYTES);
    upload.take(1);
    const { client, connection, heard, until } = await serving({ clock, upload });
    client.write(encodeSimple('interested'));
    await until(() => connection.wanting);
    connection.serve(true);
    client.write(Buffer.concat(Array.from({ length: 4 }, (_each, at) => encodeBlock('request', { piece: at, begin: 0, length: TORRENT_BLOCK_BYTES }))));
    const sent = (): number => heard.filter(({ kind }) => kind === 'piece').length;
    for (let block = 0; block < 4; block++) {
      await until(() => sent() >= block);
      expect(sent()).toBe(block);
      clock.advance(250);
    }
    await until(() => sent() === 4);
  });

  it('that says nothing, or does not send what it was asked for, is left; one that only waits is not', async () => {
    const clock = new ManualClock();
    const silent = await serving({ clock });
    const stuck = await serving({ clock });
    stuck.client.write(encodeSimple('unchoke'));
    await stuck.until(() => stuck.connection.unchoked);
    const asked = expect(stuck.connection.fetch([{ offset: 0, length: 100 }], Buffer.alloc(100), () => undefined)).rejects.toMatchObject({ code: 'TORRENT_GONE' });
    for (let at = 0; at <= STALL_TIMEOUT_MS + 1_000; at += 1_000) clock.advance(1_000);
    expect(await stuck.closed).toContain('does not send');
    await asked;
    expect(silent.connection.closed).toBe(false);
    for (let at = 0; at < TORRENT_SILENCE_MS; at += 1_000) clock.advance(1_000);
    expect(await silent.closed).toContain('said nothing');
    // It was told that this side is alive.
    await silent.until(() => silent.heard.some(({ kind }) => kind === 'keep-alive'));
  });

  it('is left when what it asked for turns out to be damaged here', async () => {
    const { client, closed, connection, until } = await serving({ broken: true });
    client.write(encodeSimple('interested'));
    await until(() => connection.wanting);
    connection.serve(true);
    client.write(encodeBlock('request', { piece: 0, begin: 0, length: 10 }));
    expect(await closed).toContain('the medium failed');
  });

  it('that does not greet, or greets otherwise, takes a connection for seconds at most', async () => {
    const clock = new ManualClock();
    const [ours] = await pair();
    const silent = hearGreeting(ours, clock);
    clock.advance(TORRENT_GREETING_MS);
    expect([await silent, ours.destroyed]).toEqual([undefined, true]);
    const [encrypted, client] = await pair();
    const heard = hearGreeting(encrypted, clock);
    client.write(bytesFrom(9, 96));
    expect([await heard, encrypted.destroyed]).toEqual([undefined, true]);
    const [good, other] = await pair();
    const greeted = hearGreeting(good, clock);
    const greeting = { infoHash: shape.infoHash, peerId: '12'.repeat(20) };
    other.write(Buffer.concat([encodeGreeting(greeting), encodeSimple('interested')]));
    expect(await greeted).toMatchObject({ greeting });
  });
});

describe('the crowd', () => {
  it('has places for so many, some of them for one address, and none for who lied', () => {
    const crowd = new Crowd();
    const one = (port: number): { readonly host: string; readonly port: number } => ({ host: '10.0.0.1', port });
    for (let port = 1; port <= TORRENT_CONNECTIONS_PER_ADDRESS; port++) expect(crowd.enter(one(port))).toBe(true);
    expect(crowd.enter(one(99))).toBe(false);
    for (let at = crowd.size; at < TORRENT_MAX_CONNECTIONS; at++) expect(crowd.enter({ host: `10.0.1.${String(at)}`, port: 1 })).toBe(true);
    expect(crowd.enter({ host: '10.0.2.1', port: 1 })).toBe(false);
    crowd.leave(one(1));
    expect(crowd.enter({ host: '10.0.2.1', port: 1 })).toBe(true);
    for (let port = 2; port <= 4; port++) crowd.leave(one(port));
    crowd.caught(one(1));
    expect([crowd.enter(one(1)), crowd.enter(one(2))]).toEqual([false, true]);
    crowd.leave(one(2));
    for (let port = 2; port <= TORRENT_LIES_MOST; port++) crowd.caught(one(port));
    expect(crowd.enter(one(200))).toBe(false);
  });
});

describe('a tracker', () => {
  const saying = (status: number, body: string | Uint8Array): Upstream => ({
    url: 'http://tracker', totals: { content: 0, control: 0, requests: 0 },
    get: (_plane, path) => {
      expect(path).toMatch(/^\/announce\?info_hash=(%ab){20}&peer_id=(%12){20}&port=7&uploaded=1&downloaded=2&left=3&compact=1&numwant=\d+&event=started$/);
      return Promise.resolve({ status, headers: new Map(), body: Buffer.from(body as string, 'latin1') });
    },
    receive: () => Promise.reject(new Error('not here')), put: () => Promise.reject(new Error('not here')), close: () => Promise.resolve(),
  });
  const report = { infoHash: shape.infoHash, peerId: '12'.repeat(20), port: 7, uploaded: 1, downloaded: 2, left: 3, event: 'started' } as const;

  it('tells addresses, of which some are taken, and nothing that makes this device ask without end', async () => {
    const peers = 'd8:intervali1e5:peers18:\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x00\x00\x0a\x00\x00\x03\x00\x01e';
    expect(await announceTo(saying(200, peers), '/announce', report)).toEqual({ intervalMs: 30_000, peers: [{ host: '10.0.0.1', port: 6881 }, { host: '10.0.0.3', port: 1 }] });
    expect(await announceTo(saying(200, 'd8:intervali99999999e5:peers5:abcdee'), '/announce', report)).toEqual({ intervalMs: 3_600_000, peers: [] });
    for (const bad of ['', 'i1e', 'l', 'd14:failure reason3:whye', 'd8:interval', 'l'.repeat(60_000)]) await expect(announceTo(saying(200, bad), '/announce', report), bad.slice(0, 20)).rejects.toMatchObject({ code: 'BAD_TRACKER' });
    await expect(announceTo(saying(404, peers), '/announce', report)).rejects.toMatchObject({ code: 'BAD_TRACKER' });
  });
});
