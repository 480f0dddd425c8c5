import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { DELTA_OBJECT_MAX_BYTES, SERVE_DELTA_BYTES, SERVE_DELTA_BYTES_PER_CLIENT, SERVE_MAX_PIPELINED, SERVE_PIECE_BYTES } from '../../src/core/limits.ts';
import { wire } from '../../src/core/wire.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import type { ContentProvider } from '../../src/serve/content.ts';
import { StoreContent } from '../../src/serve/store-content.ts';
import { createSurface } from '../../src/serve/surface.ts';
import type { Surface, SurfaceOptions } from '../../src/serve/surface.ts';
import { makeSample, publishSample } from '../support/artifact.ts';
import { collectGarbage } from '../support/collect-garbage.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { ask, say } from '../support/raw-http.ts';

const KEY = { namespace: 'default', root: 'a'.repeat(64) as never };
/** Far more than the socket buffers of both ends (some 6 MB on loopback), so that sending must wait for the reader. */
const ENDLESS_PIECES = 400;

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Spans of fresh pieces, each as large as pieces get, and a count of those that were made. */
class Endless implements ContentProvider {
  made = 0;
  holdings() {
    return Promise.resolve([]);
  }
  holding() {
    return Promise.resolve({ key: KEY, size: 1, spans: new Bitmap(1) });
  }
  page() {
    return Promise.resolve(undefined);
  }
  delta() {
    return Promise.resolve(new Uint8Array(DELTA_OBJECT_MAX_BYTES));
  }
  span() {
    const length = ENDLESS_PIECES * SERVE_PIECE_BYTES;
    const make = (): Uint8Array => {
      this.made++;
      return new Uint8Array(SERVE_PIECE_BYTES);
    };
    const open = async function* (): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < ENDLESS_PIECES; index++) {
        await Promise.resolve();
        yield make();
      }
    };
    return Promise.resolve([{ coding: 'identity' as const, storedLength: length, rawLength: length, open }]);
  }
}

async function serve(content: ContentProvider, options: Partial<SurfaceOptions> = {}): Promise<{ readonly surface: Surface; readonly url: string }> {
  const surface = await createSurface({ role: 'agent', version: '0', content, ...options });
  const url = await surface.listen('127.0.0.1', 0);
  closing.push(() => surface.close(0));
  return { surface, url };
}

/** Asks for a span and reads nothing of the answer. */
async function neverReads(url: string, path = wire.span(KEY, 0), localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', localAddress });
  socket.on('error', () => socket.destroy());
  closing.push(() => socket.destroy());
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  return socket;
}

const inFlight = async (url: string): Promise<number> => Number(/shoal_http_content_responses (\d+)/.exec((await ask(url, '/metrics')).body.toString())?.[1]);

/** Waits until as many pieces were made as will be while nobody reads. */
async function settled(content: Endless): Promise<void> {
  let before = -1;
  await vi.waitFor(
    () => {
      const made = content.made;
      const same = made === before;
      before = made;
      expect(same).toBe(true);
    },
    { interval: 250, timeout: 200_000 },
  );
}

describe('surface among the hostile', () => {
  it('keeps one piece in memory for each reader that does not read', async () => {
    const content = new Endless();
    const readers = 100;
    const { url } = await serve(content);
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    await Promise.all(Array.from({ length: readers }, () => neverReads(url)));
    await vi.waitFor(async () => expect(await inFlight(url)).toBe(readers), { timeout: 200_000 });
    await settled(content);
    // One piece each, and a quarter for what Node keeps beside it; the answers have 10 GB in all. What a collection frees of
    // buffers outside the heap is given back some time after it, so it is asked again, while all readers are still there.
    await vi.waitFor(
      () => {
        collectGarbage();
        expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(readers * SERVE_PIECE_BYTES * 1.25 + 8 * 1024 * 1024);
      },
      { timeout: 200_000, interval: 200 },
    );
    expect(await inFlight(url)).toBe(readers);
    expect(content.made).toBeLessThan(readers * ENDLESS_PIECES * 0.2);
    expect((await ask(url, wire.health)).status).toBe(200);
  });

  it('sends whoever is too many away, and lets them in when somebody leaves', async () => {
    const { url } = await serve(new Endless(), { limits: { responses: 3 } });
    const [first] = await Promise.all([neverReads(url), neverReads(url), neverReads(url)]);
    await expect.poll(() => inFlight(url)).toBe(3);
    const refused = await ask(url, wire.span(KEY, 0));
    expect([refused.status, refused.headers['retry-after'], refused.headers['cache-control']]).toEqual([503, '1', 'no-store']);
    expect((await ask(url, wire.span(KEY, 0), { method: 'HEAD' })).status).toBe(200);
    first.destroy();
    await expect.poll(() => inFlight(url)).toBe(2);
    expect((await ask(url, wire.span(KEY, 0))).body.byteLength).toBe(ENDLESS_PIECES * SERVE_PIECE_BYTES);
  });

  it('sends deltas from a bounded memory, whatever the places, and never all of it to one client', async () => {
    const { url } = await serve(new Endless());
    const path = wire.delta(KEY, KEY.root);
    // Each as large as deltas get: 8 MiB, more than the kernel takes of a reader that does not read.
    const most = SERVE_DELTA_BYTES / DELTA_OBJECT_MAX_BYTES;
    const share = SERVE_DELTA_BYTES_PER_CLIENT / DELTA_OBJECT_MAX_BYTES;
    await Promise.all(Array.from({ length: share }, () => neverReads(url, path, '127.0.0.66')));
    await expect.poll(() => inFlight(url)).toBe(share);
    const refused = await neverReads(url, path, '127.0.0.66');
    refused.resume();
    expect(String(await once(refused, 'data'))).toContain(' 503 ');
    expect((await ask(url, path)).status).toBe(200);
    const [first] = await Promise.all(Array.from({ length: most - share }, () => neverReads(url, path)));
    await expect.poll(() => inFlight(url)).toBe(most);
    expect((await ask(url, path)).status).toBe(503);
    expect((await ask(url, wire.span(KEY, 0), { method: 'HEAD' })).status).toBe(200);
    first?.destroy();
    await expect.poll(async () => (await ask(url, path)).status).toBe(200);
  });

  it('leaves places for others when one client takes many', async () => {
    const { url } = await serve(new Endless(), { limits: { responses: 10, responsesPerClient: 2 } });
    await Promise.all([neverReads(url), neverReads(url)]);
    await expect.poll(() => inFlight(url)).toBe(2);
    expect((await ask(url, wire.span(KEY, 0))).status).toBe(503);
  });

  it('gives up a reader that takes nothing for the stall time', async () => {
    const clock = new ManualClock();
    const content = new Endless();
    const { url } = await serve(content, { clock });
    await neverReads(url);
    await expect.poll(() => inFlight(url)).toBe(1);
    await settled(content);
    clock.advance(120_000);
    clock.advance(120_000);
    await expect.poll(() => inFlight(url)).toBe(0);
    expect((await ask(url, '/metrics')).body.toString()).toContain('shoal_http_broken_total{code="CLIENT_STALLED"} 1');
  });

  it('gives up whoever takes nothing of an answer that is not sent in pieces, and keeps whom it lets wait itself', async () => {
    let answer: (bytes: Uint8Array) => void = () => undefined;
    const late = new Promise<Uint8Array>((resolve) => (answer = resolve));
    const root = Buffer.alloc(4 * 1024 * 1024, 'x');
    const metadata = { metadata: (file: string) => (file === 'timestamp.json' ? late : Promise.resolve(root)), target: () => Promise.resolve(undefined) };
    // Far more than the buffers of the kernel take, which would be no silence.
    const { url, surface } = await serve(new Endless(), { metadata, limits: { stallMs: 1_000 } });
    const waiting = ask(url, `${wire.metadata}/timestamp.json`);
    const stuck = await Promise.all(Array.from({ length: 10 }, () => neverReads(url, `${wire.metadata}/1.root.json`)));
    const open = (): Promise<number> => new Promise((resolve) => { surface.app.server.getConnections((_, count) => { resolve(count); }); });
    await expect.poll(open).toBe(1);
    for (const socket of stuck) socket.destroy();
    // Little enough for them: whether this process gets to reading it in time is not what this is about.
    answer(Buffer.from('late'));
    expect((await waiting).body.toString()).toBe('late');
  });

  it('leaves connections for others when one address holds many', async () => {
    const { url } = await serve(new Endless(), { limits: { connections: 20, connectionsPerAddress: 10 } });
    const many = await Promise.all(Array.from({ length: 30 }, async () => {
      const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', localAddress: '127.0.0.66' });
      socket.on('error', () => undefined);
      closing.push(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    }));
    await expect.poll(() => many.filter(({ readyState }) => readyState === 'open').length).toBe(10);
    expect((await ask(url, '/metrics')).body.toString()).toContain('shoal_connections_cut_total 20');
  });

  it('never sends bytes that have changed on the medium: an error before the head, a cut connection after', async () => {
    const sample = await makeSample(1_200_000);
    const store = new MemoryStore();
    await publishSample(store, sample);
    const { url } = await serve(new StoreContent(store, () => 0));
    const chunks = sample.spans[0]?.chunks ?? [];
    store.corrupt(chunks[7]?.id ?? sample.key.root);
    await expect(ask(url, wire.span(sample.key, 0))).rejects.toThrow();
    await expect(ask(url, wire.artifact(sample.key))).rejects.toThrow();
    expect((await ask(url, wire.span(sample.key, 0, [0, 1]))).status).toBe(200);
    const damaged = await ask(url, wire.span(sample.key, 0, [7]));
    expect([damaged.status, (JSON.parse(damaged.body.toString()) as { error: string }).error]).toEqual([500, 'CHUNK_MISMATCH']);
  });

  it('answers requests that are sent ahead, as far as that goes, and cuts who floods', async () => {
    const sample = await makeSample(300_000);
    const store = new MemoryStore();
    await publishSample(store, sample);
    const { url } = await serve(new StoreContent(store, () => 0));
    const one = `GET ${wire.page(sample.key, sample.key.root)} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const last = one.replace('Host: a', 'Host: a\r\nConnection: close');
    const answers = await Promise.all(Array.from({ length: 20 }, () => say(url, one.repeat(SERVE_MAX_PIPELINED - 1) + last)));
    for (const text of answers) expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(SERVE_MAX_PIPELINED);
    const floods = await Promise.all(Array.from({ length: 20 }, () => say(url, one.repeat(500) + last)));
    for (const text of floods) expect(text.match(/HTTP\/1\.1 200 OK/g)?.length ?? 0).toBeLessThanOrEqual(SERVE_MAX_PIPELINED);
    expect((await ask(url, wire.health)).status).toBe(200);
    expect(await inFlight(url)).toBe(0);
  });

  it('closes connections beyond its limit and requests that never end', async () => {
    const { url } = await serve(new Endless(), { limits: { connections: 5 } });
    const sockets = Array.from({ length: 5 }, () => connect(Number(new URL(url).port), '127.0.0.1'));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    expect(await say(url, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toBe('');
    for (const socket of sockets) socket.destroy();
    const { url: impatient } = await serve(new Endless(), { limits: { requestMs: 300 } });
    expect(await say(impatient, 'GET / HTTP/1.1\r\nHos')).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('ends gracefully: what is being sent is sent, what comes after is refused', async () => {
    const { surface, url } = await serve(new Endless());
    const reader = await neverReads(url);
    await expect.poll(() => inFlight(url)).toBe(1);
    const closed = surface.close(60_000);
    let length = 0;
    reader.on('data', (piece: Buffer) => {
      length += piece.byteLength;
      if (length > ENDLESS_PIECES * SERVE_PIECE_BYTES) reader.end();
    });
    reader.resume();
    await closed;
    expect(length).toBeGreaterThan(ENDLESS_PIECES * SERVE_PIECE_BYTES);
    await expect(ask(url, wire.health)).rejects.toThrow();
  });

  it('takes announcements, refuses malformed ones', async () => {
    const { PeerRegistry } = await import('../../src/serve/peers.ts');
    const clock = new ManualClock();
    const { url } = await serve(new Endless(), { peers: new PeerRegistry(() => clock.now()) });
    const put = (path: string, body: unknown, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
      ask(url, path, { method: 'PUT', headers: { ...headers, 'content-length': String(Buffer.byteLength(JSON.stringify(body))) }, body: JSON.stringify(body) });
    const list = async (): Promise<unknown> => (JSON.parse((await ask(url, wire.peers('north'))).body.toString()) as { peers: unknown }).peers;
    const good = { url: 'http://10.0.0.7:4711', roots: ['b'.repeat(64)] };
    expect((await put(`${wire.peers('north')}/device-7`, good)).status).toBe(204);
    expect(await list()).toEqual([{ instance: 'device-7', ...good }]);
    for (const [body, path] of [
      [{ ...good, url: 'file:///etc/passwd' }, 'north'],
      [{ ...good, url: 'http://a/b?c' }, 'north'],
      [{ ...good, more: 1 }, 'north'],
      [{ url: good.url }, 'north'],
      [{ ...good, roots: ['x'] }, 'north'],
      [{ ...good, roots: Array.from({ length: 257 }, () => 'b'.repeat(64)) }, 'north'],
      [good, '.north'],
    ] as const) {
      expect((await put(`${wire.peers(path)}/device-8`, body)).status).toBe(400);
    }
    expect((await put(`${wire.peers('north')}/device-8`, good, { 'content-type': 'text/xml' })).status).toBe(415);
    expect((await put(`${wire.peers('north')}/device-8`, { ...good, url: 'x'.repeat(70_000) })).status).toBe(413);
    clock.advance(300_000);
    expect(await list()).toEqual([]);
  });
});
