import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bitmap } from '../../src/core/bitmap.ts';
import { CACHE_IMMUTABLE, CACHE_NEVER, wire } from '../../src/core/wire.ts';
import { zstdDecompress } from '../../src/kernel/zstd.ts';
import { joined } from '../support/artifact.ts';
import type { Sample } from '../support/artifact.ts';
import { ask, say } from '../support/raw-http.ts';

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

/** What every host's HTTP surface does, whatever its content lies in. `start` serves `sample` in full. */
export function surfaceContract(name: string, sample: () => Promise<Sample>, start: (sample: Sample) => Promise<Served>): void {
  describe(`HTTP surface of ${name}`, () => {
    let content: Sample;
    let served: Served;
    const get = (path: string, headers: Record<string, string> = {}, method = 'GET') => ask(served.url, path, { headers, method });
    const errorOf = ({ body }: { readonly body: Buffer }): string => (JSON.parse(body.toString()) as { error: string }).error;

    beforeAll(async () => {
      content = await sample();
      served = await start(content);
    });
    afterAll(async () => served.close());

    it('serves every page, immutable, and 304 to whoever has it', async () => {
      for (const { id, encoded } of content.pages) {
        const answer = await get(wire.page(content.key, id));
        expect(answer.status).toBe(200);
        expect(answer.body.equals(encoded)).toBe(true);
        expect(answer.headers).toMatchObject({ 'cache-control': CACHE_IMMUTABLE, vary: 'Accept-Encoding', 'content-length': String(encoded.byteLength), etag: `"${id}"` });
      }
      const id = content.key.root;
      const again = await get(wire.page(content.key, id), { 'if-none-match': `"x", W/"${id}"` });
      expect([again.status, again.body.byteLength, again.headers.etag]).toEqual([304, 0, `"${id}"`]);
    });

    it('serves every span raw with its length', async () => {
      for (const [index, { bytes }] of content.spans.entries()) {
        const answer = await get(wire.span(content.key, index));
        expect(answer.headers).toMatchObject({ 'cache-control': CACHE_IMMUTABLE, 'content-length': String(bytes.byteLength), 'shoal-raw-length': String(bytes.byteLength) });
        expect(answer.headers['content-encoding']).toBeUndefined();
        expect(answer.body.equals(bytes)).toBe(true);
      }
    });

    it('serves spans in zstd or plain to whoever takes zstd, with lengths of both', async () => {
      for (const [index, { bytes }] of content.spans.entries()) {
        const { status, headers, body } = await get(wire.span(content.key, index), { 'accept-encoding': 'gzip, zstd' });
        expect(status).toBe(200);
        expect(headers['shoal-raw-length']).toBe(String(bytes.byteLength));
        expect(headers['content-length']).toBe(String(body.byteLength));
        const plain = headers['content-encoding'] === 'zstd' ? zstdDecompress(body, bytes.byteLength) : body;
        expect(Buffer.compare(plain, bytes)).toBe(0);
      }
    });

    it('takes neither q=0 nor * for a wish for zstd', async () => {
      for (const accept of ['zstd;q=0', '*', 'gzip', 'zstd;q=2']) {
        expect((await get(wire.span(content.key, 0), { 'accept-encoding': accept })).headers['content-encoding']).toBeUndefined();
      }
    });

    it('serves chosen chunks of a span', async () => {
      const chunks = content.spans[0]?.chunks ?? [];
      for (const set of [[0], [1, 2, 3], [0, 2, chunks.length - 1]]) {
        const wanted = joined(chunks.filter((_, position) => set.includes(position)));
        const { status, body } = await get(wire.span(content.key, 0, set));
        expect(status).toBe(200);
        expect(body.equals(wanted)).toBe(true);
      }
    });

    it.each(['1,0', '0,1', '3-3', '5-2', '0-', '', 'x', '0-99999', '1025', '00', '0;1'])('refuses the chunk set "%s"', async (set) => {
      const { status, headers } = await get(`${wire.span(content.key, 0)}/${set}`);
      expect([400, 404]).toContain(status);
      expect(headers['cache-control']).toBe(CACHE_NEVER);
    });

    it('refuses a chunk set longer than any span needs', async () => {
      // 7 KB, below the limit of the head: the schema's own bound must hold.
      expect((await get(`${wire.span(content.key, 0)}/${'0,2,4,6,8,'.repeat(700)}9`)).status).toBe(400);
    });

    it('answers 404, never cacheable, for what is not there', async () => {
      const other = 'ab'.repeat(32) as typeof content.key.root;
      const paths = [
        wire.page(content.key, other),
        wire.page({ ...content.key, namespace: 'elsewhere' }, content.key.root),
        wire.span({ ...content.key, root: other }, 0),
        wire.span(content.key, content.spans.length),
        wire.artifact({ ...content.key, namespace: 'elsewhere' }),
        wire.holding({ ...content.key, root: other }),
        '/v1/nothing',
        '/',
      ];
      for (const path of paths) {
        const answer = await get(path);
        expect([path, answer.status, errorOf(answer), answer.headers['cache-control']]).toEqual([path, 404, 'NOT_FOUND', CACHE_NEVER]);
      }
    });

    it('serves the artifact whole and in single ranges', async () => {
      const path = wire.artifact(content.key);
      const size = content.bytes.byteLength;
      const whole = await get(path);
      expect(whole.headers).toMatchObject({ 'accept-ranges': 'bytes', 'content-length': String(size) });
      expect(whole.body.equals(content.bytes)).toBe(true);
      const edge = content.spans[1]?.offset ?? 0;
      // A first byte, a span's edge, a chunk's inside, the end, and more than the end.
      for (const [range, from, to] of [
        ['bytes=0-0', 0, 1],
        [`bytes=${String(edge - 1)}-${String(edge)}`, edge - 1, edge + 1],
        ['bytes=70001-150002', 70001, 150003],
        ['bytes=-5', size - 5, size],
        [`bytes=${String(size - 3)}-`, size - 3, size],
        [`bytes=10-${String(size + 10)}`, 10, size],
      ] as const) {
        const { status, headers, body } = await get(path, { range });
        expect([range, status, headers['content-range']]).toEqual([range, 206, `bytes ${String(from)}-${String(to - 1)}/${String(size)}`]);
        expect(body.equals(content.bytes.subarray(from, to))).toBe(true);
      }
      const beyond = await get(path, { range: `bytes=${String(size)}-` });
      expect([beyond.status, beyond.headers['content-range']]).toEqual([416, `bytes */${String(size)}`]);
      for (const range of ['bytes=5-2', 'bytes=a-b', 'lines=0-1', 'bytes=0-1,3-4', 'bytes=-']) expect((await get(path, { range }, 'HEAD')).status).toBe(200);
      expect((await get(path, { range: 'bytes=0-1', 'if-range': `"${content.key.root}"` })).status).toBe(206);
      expect((await get(path, { range: 'bytes=0-1', 'if-range': '"older"' }, 'HEAD')).status).toBe(200);
    });

    it('answers HEAD as GET, without a body', async () => {
      for (const path of [wire.span(content.key, 0), wire.artifact(content.key), wire.page(content.key, content.key.root)]) {
        const [head, full] = [await get(path, {}, 'HEAD'), await get(path)];
        expect([head.status, head.body.byteLength]).toEqual([200, 0]);
        for (const field of ['content-length', 'etag', 'cache-control', 'content-type', 'vary']) expect(head.headers[field]).toBe(full.headers[field]);
      }
    });

    it('says what it holds', async () => {
      // A gateway learns of an artifact when it is asked for it.
      const { status, headers, body } = await get(wire.holding(content.key));
      expect(status).toBe(200);
      const bitmap = Bitmap.decode(body, Number(headers['shoal-spans']));
      expect([bitmap.count, bitmap.complete]).toEqual([content.spans.length, true]);
      const listed = JSON.parse((await get('/v1/holdings')).body.toString()) as { artifacts: unknown[] };
      const spans = content.spans.length;
      expect(listed.artifacts).toContainEqual(expect.objectContaining({ ...content.key, size: content.bytes.byteLength, spans }));
    });

    it('refuses other spellings of its paths', async () => {
      const { namespace, root } = content.key;
      for (const path of [
        `/v1/content/${namespace}/${root}/pages/../artifact`,
        `/v1/content/${namespace}/${root}/pages/%2e%2e/artifact`,
        `/v1/content/${namespace}%2f${root}/artifact`,
        `/v1/content/${namespace}/${root}/artifac%74`,
        `/v1//content/${namespace}/${root}/artifact`,
        `/v1/content/./${namespace}/${root}/artifact`,
        `/v1/content/${namespace}/${root}/artifact?x=1`,
        `/v1/content/${namespace}/${root}/artifact?`,
        `/v1/tuf/targets/..%2f..%2fetc/passwd`,
        '/v1/tuf/metadata/..\\root.json',
        `/v1/content/${namespace}/${root.toUpperCase()}/artifact`,
        `/v1/content/${namespace}/${root}/spans/00`,
        `/v1/content/${namespace}/${root}/spans/-1`,
        `/v1/content/${namespace}/${root}/spans/1e3`,
        `/v1/content/${namespace}/${root}/spans/99999999999999999999`,
      ]) {
        const answer = await get(path);
        expect([path, answer.status >= 400 && answer.status < 500]).toEqual([path, true]);
        expect(answer.headers['cache-control']).toBe(CACHE_NEVER);
      }
      expect((await get(`/v1/content/${namespace}/${root}/artifact/`)).status).toBe(404);
    });

    it('refuses other methods', async () => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const answer = await get(wire.artifact(content.key), {}, method);
        expect([method, answer.status, answer.headers.allow]).toEqual([method, 405, 'GET, HEAD']);
      }
      expect((await get(wire.health, {}, 'DELETE')).status).toBe(404);
    });

    it('answers huge heads, long URLs and noise with an error and goes on', async () => {
      // 20 KiB: more than the 16 KiB a request head may have.
      const long = 'x'.repeat(20 * 1024);
      expect(await say(served.url, `GET / HTTP/1.1\r\nHost: a\r\nX: ${long}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
      expect(await say(served.url, `GET /${long} HTTP/1.1\r\nHost: a\r\n\r\n`)).toMatch(/^HTTP\/1\.1 4(31|14) /);
      expect(await say(served.url, 'hello there\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
      expect(await say(served.url, 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
      expect((await get(wire.health)).status).toBe(200);
    });

    it('describes itself', async () => {
      const health = JSON.parse((await get(wire.health)).body.toString()) as { tiers: object };
      expect(Object.keys(health.tiers).sort()).toEqual(['hash', 'kernel', 'zstd']);
      const { openapi, paths } = JSON.parse((await get('/openapi.json')).body.toString()) as { openapi: string; paths: Record<string, unknown> };
      expect(openapi).toBe('3.1.0');
      expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/v1/content/{namespace}/{root}/spans/{span}/{set}', '/v1/holdings/{namespace}/{root}', '/v1/health', '/metrics']));
      expect((await get(wire.metrics)).body.toString()).toMatch(/shoal_http_sent_bytes_total\{plane="content"\} \d{4,}/);
    });
  });
}
