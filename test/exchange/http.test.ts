import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { RateLimiter } from '../../src/core/rate-limiter.ts';
import { HEADER_MAX_BYTES } from '../../src/core/limits.ts';
import { HttpClient } from '../../src/exchange/http.ts';
import { receiveChunks } from '../../src/exchange/receive.ts';
import { chunkIdOf } from '../../src/merkle/verify.ts';
import { livedClock } from '../support/lived-clock.ts';

const clock = livedClock();
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A server that does to every request whatever `answer` does; returns its URL and how many connections it has had. */
async function server(answer: (socket: net.Socket, request: number) => void): Promise<{ readonly url: string; connections: () => number }> {
  const sockets = new Set<net.Socket>();
  let connections = 0;
  let requests = 0;
  const listener = net.createServer((socket) => {
    connections++;
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      if (bytes.includes('\r\n\r\n')) answer(socket, requests++);
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  return { url: `http://127.0.0.1:${String((listener.address() as AddressInfo).port)}/x`, connections: () => connections };
}

function client(): HttpClient {
  const made = new HttpClient({ clock });
  closers.push(() => {
    made.close();
  });
  return made;
}

const ok = (body: string, more = ''): string => `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n${more}\r\n${body}`;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

describe('HttpClient', () => {
  it('reads an answer and keeps the connection', async () => {
    const { url, connections } = await server((socket) => socket.write(ok('hello', 'ETag: "a"\r\n')));
    const http = client();
    for (let round = 0; round < 3; round++) {
      const answer = await http.request(url, 5);
      expect([answer.status, text(answer.body), answer.headers.get('etag')]).toEqual([200, 'hello', '"a"']);
    }
    expect(connections()).toBe(1);
  });

  it('reads an answer that arrives a byte at a time, after an interim one', async () => {
    const bytes = Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('hello')}`);
    const { url } = await server((socket) => {
      socket.setNoDelay(true);
      const next = (at: number): void => {
        if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), () => setImmediate(next, at + 1));
      };
      next(0);
    });
    expect(text((await client().request(url, 100)).body)).toBe('hello');
  });

  it('reads no faster than a limit that all its connections share, and finds no silence in that', async () => {
    const size = 200_000;
    const body = 'x'.repeat(size);
    const { url } = await server((socket) => socket.write(ok(body)));
    const rate = 400_000;
    const http = new HttpClient({ clock, limiters: [new RateLimiter(clock, () => rate), new RateLimiter(clock, () => Infinity)] });
    closers.push(() => {
      http.close();
    });
    const since = performance.now();
    // It is held up for a quarter of a second and more at a time: that would be silence, were it the other side's.
    const answers = await Promise.all([1, 2, 3].map(() => http.request(url, size, { stallMs: 100 })));
    expect(answers.map((answer) => text(answer.body) === body)).toEqual([true, true, true]);
    // A quarter of a second is saved up; what each read last, as much at most, is not waited for.
    expect(performance.now() - since).toBeGreaterThan(((3 * size - 4 * 0.25 * rate) / rate) * 1000 - 20);
  });

  it('reads chunked coding however it is cut, and bounds it', async () => {
    const body = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: z\r\n\r\n';
    const { url } = await server((socket, request) => {
      socket.write(body.slice(0, 40 + (request % 50)));
      setImmediate(() => socket.write(body.slice(40 + (request % 50))));
    });
    const http = client();
    for (let cut = 0; cut < 50; cut++) expect(text((await http.request(url, 100)).body)).toBe('hello');
    await expect(http.request(url, 4)).rejects.toMatchObject({ code: 'HTTP_TOO_LARGE', retry: 'elsewhere', ids: { url } });
  });

  it('asks again, once, when a kept connection turns out to be closed', async () => {
    const { url, connections } = await server((socket, request) => {
      // The second request on the first connection meets a server that has just hung up.
      if (request === 1) socket.destroy();
      else socket.write(ok('hello'));
    });
    const http = client();
    await http.request(url, 5);
    expect(text((await http.request(url, 5)).body)).toBe('hello');
    expect(connections()).toBe(2);
  });

  it.each([
    ['a body larger than accepted', ok('x'.repeat(11)), 'HTTP_TOO_LARGE'],
    ['a redirect', 'HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n', 'HTTP_REDIRECT'],
    ['no length', 'HTTP/1.1 200 OK\r\n\r\nhello', 'HTTP_MALFORMED'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello', 'HTTP_MALFORMED'],
    ['a length and a coding', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello', 'HTTP_MALFORMED'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', 'HTTP_MALFORMED'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n', 'HTTP_MALFORMED'],
    ['white space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n', 'HTTP_MALFORMED'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n', 'HTTP_MALFORMED'],
    ['another protocol', 'SSH-2.0-OpenSSH_9\r\n\r\n', 'HTTP_MALFORMED'],
    ['more than the length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello', 'HTTP_MALFORMED'],
    ['an endless head', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(HEADER_MAX_BYTES)}`, 'HTTP_MALFORMED'],
    ['a flood of fields', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(200)}\r\n`, 'HTTP_MALFORMED'],
    ['a flood of interim answers', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(9), 'HTTP_MALFORMED'],
    ['an endless stream of 102', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(2_001), 'HTTP_MALFORMED'],
    ['an endless chunk line', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(2000)}`, 'HTTP_MALFORMED'],
    ['endless trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(2000)}`, 'HTTP_MALFORMED'],
    ['a chunk longer than it said', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n', 'HTTP_MALFORMED'],
  ])('refuses %s, naming the URL, and goes on with the next request', async (_, answer, code) => {
    const { url } = await server((socket, request) => socket.write(request === 0 ? answer : ok('hello')));
    const http = client();
    await expect(http.request(url, 10)).rejects.toMatchObject({ code, retry: 'elsewhere', ids: { url } });
    expect(text((await http.request(url, 10)).body)).toBe('hello');
  });

  it('waits for as long as it is told that the other side is at it', async () => {
    const { url } = await server((socket) => {
      let told = 0;
      const tell = (): void => void clock.after(50, () => {
        socket.write(++told <= 8 ? 'HTTP/1.1 102 Processing\r\n\r\n' : ok('hello'));
        if (told <= 8) tell();
      });
      tell();
    });
    let heard = 0;
    // Eight times 50 ms is more than any silence may last here.
    expect(text((await client().request(url, 5, { stallMs: 200, onProcessing: () => { heard++; } })).body)).toBe('hello');
    expect(heard).toBe(8);
  });

  it('says where a body was cut', async () => {
    const { url } = await server((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'));
    await expect(client().request(url, 10)).rejects.toMatchObject({ code: 'HTTP_TRUNCATED', message: expect.stringContaining('5 of 10') as string });
  });

  it('drops silence before the head, silence in the body and a slow drip', async () => {
    const drips: NodeJS.Timeout[] = [];
    closers.push(() => {
      drips.forEach(clearInterval);
    });
    const { url } = await server((socket, request) => {
      if (request > 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n');
      if (request > 1) drips.push(setInterval(() => socket.write('x'), 5));
    });
    const http = client();
    for (let round = 0; round < 3; round++) {
      await expect(http.request(url, 1e8, { stallMs: 60 })).rejects.toMatchObject({ code: 'HTTP_STALLED', retry: 'elsewhere' });
    }
  });

  it('bounds the whole exchange, and can be cancelled, also while it waits for a connection', async () => {
    const { url } = await server(() => undefined);
    const http = client();
    await expect(http.request(url, 1, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'HTTP_TIMEOUT' });
    const abort = new AbortController();
    const all = Array.from({ length: 10 }, () => http.request(url, 1, { signal: abort.signal }).catch((error: unknown) => error));
    abort.abort();
    for (const error of await Promise.all(all)) expect(error).toMatchObject({ code: 'ABORTED', retry: 'again' });
  });

  it('opens no more than four connections to one origin, and serves everyone who waits', async () => {
    const { url, connections } = await server((socket) => setImmediate(() => socket.write(ok('hello'))));
    const http = client();
    const answers = await Promise.all(Array.from({ length: 100 }, () => http.request(url, 5)));
    expect(answers.every(({ body }) => text(body) === 'hello')).toBe(true);
    expect(connections()).toBe(4);
  });

  it('names a port where nobody listens', async () => {
    const { url } = await server(() => undefined);
    closers.splice(0).forEach((close) => {
      close();
    });
    await expect(client().request(url, 1)).rejects.toMatchObject({ code: 'HTTP_CONNECT', retry: 'elsewhere', ids: { url } });
  });

  it('refuses headers and URLs that say more than one thing', async () => {
    const http = client();
    await expect(http.request('http://127.0.0.1:1/', 1, { headers: { a: 'b\r\nc: d' } })).rejects.toMatchObject({ code: 'BAD_HEADER' });
    await expect(http.request('http://me:secret@127.0.0.1:1/', 1)).rejects.toMatchObject({ code: 'BAD_URL' });
  });
});

describe('receiveChunks', () => {
  // 2.8 MB: three reads and two batches; uneven pieces, so that no chunk ends where a read does.
  const raw = Buffer.alloc(2_800_000).map((_, at) => (at * 2654435761) >>> 13);
  const chunks = [400_001, 799_999, 1_000_000, 200_000, 400_000].map((length, index, all) => {
    const from = all.slice(0, index).reduce((sum, each) => sum + each, 0);
    return { length, id: chunkIdOf(raw.subarray(from, from + length)) };
  });
  const head = (length: number, more = ''): string => `HTTP/1.1 200 OK\r\nContent-Length: ${String(length)}\r\n${more}\r\n`;
  const reply = (socket: net.Socket, body: Uint8Array, more = ''): void => {
    socket.write(head(body.byteLength, more));
    socket.write(body);
  };

  async function run(answer: (socket: net.Socket) => void, acceptZstd = false): Promise<Buffer> {
    const { url } = await server(answer);
    const out = Buffer.alloc(raw.byteLength);
    const offsets = chunks.map((_, index) => chunks.slice(0, index).reduce((sum, { length }) => sum + length, 0));
    await receiveChunks(
      client(),
      url,
      chunks,
      new Uint8Array(raw.byteLength),
      async (batch, first) => {
        await new Promise(setImmediate);
        batch.forEach(({ bytes }, index) => out.set(bytes, offsets[first + index] ?? 0));
      },
      { acceptZstd },
    );
    return out;
  }

  it('verifies and hands on every chunk, plain or as several zstd frames', async () => {
    expect((await run((socket) => { reply(socket, raw); })).equals(raw)).toBe(true);
    const frames = Buffer.concat([zstdCompressSync(raw.subarray(0, 1_200_000)), zstdCompressSync(raw.subarray(1_200_000))]);
    expect((await run((socket) => { reply(socket, frames, 'Content-Encoding: zstd\r\n'); }, true)).equals(raw)).toBe(true);
  });

  it('refuses flipped bits, wrong lengths, codings nobody asked for and bombs', async () => {
    const flipped = Buffer.from(raw);
    flipped[1_450_000] = (flipped[1_450_000] ?? 0) ^ 1;
    await expect(run((socket) => { reply(socket, flipped); })).rejects.toMatchObject({ code: 'CHUNK_MISMATCH', retry: 'elsewhere' });
    await expect(run((socket) => { reply(socket, raw.subarray(1)); })).rejects.toMatchObject({ code: 'HTTP_BODY', retry: 'elsewhere' });
    await expect(run((socket) => { reply(socket, raw, 'Content-Encoding: zstd\r\n'); })).rejects.toMatchObject({ code: 'HTTP_BODY' });
    // 64 MiB of zeros in a few kilobytes.
    const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
    await expect(run((socket) => { reply(socket, bomb, 'Content-Encoding: zstd\r\n'); }, true)).rejects.toMatchObject({ code: 'ZSTD_TOO_LARGE' });
    await expect(run((socket) => socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}'))).rejects.toMatchObject({ code: 'HTTP_STATUS', ids: { status: 404 } });
  });

  it('passes on what the taker of a batch throws, and only when nothing uses the buffer any more', async () => {
    const { url } = await server((socket) => { reply(socket, raw); });
    let working = 0;
    const failing = receiveChunks(client(), url, chunks, new Uint8Array(raw.byteLength), async () => {
      working++;
      await new Promise(setImmediate);
      working--;
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(working).toBe(0);
  });
});
