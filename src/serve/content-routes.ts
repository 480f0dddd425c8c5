import type { FastifyReply, FastifyRequest } from 'fastify';
import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { CACHE_IMMUTABLE, HEADER_RAW_LENGTH, HEADER_WORKING } from '../core/wire.ts';
import type { ContentKey } from '../core/wire.ts';
import { LEAF_MAX_CHUNKS, SERVE_DELTA_BYTES, SERVE_DELTA_BYTES_PER_CLIENT, SERVE_PIECE_BYTES } from '../core/limits.ts';
import { formatChunkSet, parseChunkSet } from '../core/chunkset.ts';
import type { Run } from '../store/types.ts';
import { notFound } from './answers.ts';
import { ArtifactBytes } from './artifact-bytes.ts';
import type { App, ContentContext } from './context.ts';
import { Room } from './gate.ts';
import { acceptedCodings, matchesEtag, parseRange } from './negotiate.ts';
import { KeyParams, PageParams, SetParams, SpanParams } from './schemas.ts';
import type { Body } from './send.ts';

const IMMUTABLE = { 'cache-control': CACHE_IMMUTABLE, vary: 'Accept-Encoding', 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff' } as const;

/** The content plane: immutable URLs and nothing else, so that any cache, and no client certificate, may stand before it. */
export function contentRoutes(app: App, context: ContentContext): void {
  const { content } = context;
  const whole = new ArtifactBytes(content);
  const room = new Room(SERVE_DELTA_BYTES, SERVE_DELTA_BYTES_PER_CLIENT);

  app.get('/:namespace/:root/pages/:id', { schema: { summary: 'One index page, raw', tags: ['content'], params: PageParams } }, async (request, reply) => {
    const id = request.params.id as ObjectId;
    const etag = `"${id}"`;
    if (notModified(request, reply, etag)) return reply;
    const page = await content.page(keyOf(request.params), id);
    if (page === undefined) {
      // It will have it in a moment: who asks need not get it from afar.
      if (context.coming?.(request.params.root as ObjectId) === true) void reply.header(HEADER_WORKING, '1');
      throw notFound('the page');
    }
    return context.send(request, reply, 200, { ...IMMUTABLE, etag }, bytesOf(page));
  });

  app.get('/:namespace/:root/deltas/:id', { schema: { summary: 'A map page or payload of a delta that makes the artifact, raw', tags: ['content'], params: PageParams } }, async (request, reply) => {
    const id = request.params.id as ObjectId;
    const etag = `"${id}"`;
    if (notModified(request, reply, etag)) return reply;
    const object = await context.patiently(request, reply, content.delta(keyOf(request.params), id));
    if (object === undefined) throw notFound('the delta object');
    const leave = room.enter(object.byteLength, context.client(request));
    try {
      return await context.send(request, reply, 200, { ...IMMUTABLE, etag }, bytesOf(object));
    } finally {
      leave();
    }
  });

  const span = async (request: FastifyRequest, reply: FastifyReply, key: ContentKey, index: number, set: string | undefined): Promise<FastifyReply> => {
    if (set !== undefined && formatChunkSet(parseChunkSet(set, LEAF_MAX_CHUNKS)) !== set) throw new ShoalError('BAD_CHUNK_SET', 'the chunk set is not in its canonical form');
    const accept = acceptedCodings(request.headers['accept-encoding']);
    const etag = `"${key.root.slice(0, 32)}-${String(index)}${set === undefined ? '' : `-${set}`}"`;
    if (notModified(request, reply, etag)) return reply;
    const runs = await context.patiently(request, reply, content.span(key, index, set, accept));
    if (runs === undefined) throw notFound(`span ${String(index)}`);
    const zstd = runs[0]?.coding === 'zstd';
    // Two hosts may compress one span differently: only the plain form is the same byte for byte (RFC 9110, 8.8.1).
    const headers = { ...IMMUTABLE, etag: zstd ? `W/${etag}` : etag, [HEADER_RAW_LENGTH]: sum(runs, 'rawLength'), ...(zstd ? { 'content-encoding': 'zstd' } : {}) };
    return context.send(request, reply, 200, headers, runsOf(runs));
  };

  app.get('/:namespace/:root/spans/:span', { schema: { summary: 'The bytes of one span', tags: ['content'], params: SpanParams } }, (request, reply) =>
    span(request, reply, keyOf(request.params), Number(request.params.span), undefined),
  );
  app.get('/:namespace/:root/spans/:span/:set', { schema: { summary: 'The bytes of some chunks of a span', tags: ['content'], params: SetParams } }, (request, reply) =>
    span(request, reply, keyOf(request.params), Number(request.params.span), request.params.set),
  );

  app.get('/:namespace/:root/artifact', { schema: { summary: 'The artifact, with Range, for plain clients', tags: ['content'], params: KeyParams } }, async (request, reply) => {
    const key = keyOf(request.params);
    const size = await whole.size(key);
    if (size === undefined) throw notFound('the artifact');
    const etag = `"${key.root}"`;
    if (notModified(request, reply, etag)) return reply;
    const headers = { ...IMMUTABLE, etag, 'accept-ranges': 'bytes' };
    const condition = request.headers['if-range'];
    // If-Range: another representation is sent whole (RFC 9110, 13.1.5: strong comparison).
    const range = typeof condition === 'string' && condition !== etag ? undefined : parseRange(request.headers.range, size);
    if (range === 'unsatisfiable') {
      void reply.header('content-range', `bytes */${String(size)}`);
      throw new ShoalError('RANGE', `the artifact has ${String(size)} bytes`);
    }
    const { from, to } = range ?? { from: 0, to: size };
    if (!(await whole.has(key, from, to))) throw notFound('that part of the artifact');
    const body = { length: to - from, open: () => whole.read(key, from, to) };
    if (range === undefined) return context.send(request, reply, 200, headers, body);
    return context.send(request, reply, 206, { ...headers, 'content-range': `bytes ${String(from)}-${String(to - 1)}/${String(size)}` }, body);
  });
}

function keyOf({ namespace, root }: { readonly namespace: string; readonly root: string }): ContentKey {
  return { namespace, root: root as ObjectId };
}

/** The URL fixes the bytes, so whoever has them need not be told that we have them too. */
function notModified(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  if (!matchesEtag(request.headers['if-none-match'], etag)) return false;
  void reply.code(304).headers({ etag, 'cache-control': CACHE_IMMUTABLE, vary: 'Accept-Encoding' }).send();
  return true;
}

function sum(runs: readonly Run[], field: 'rawLength' | 'storedLength'): number {
  return runs.reduce((total, run) => total + run[field], 0);
}

function runsOf(runs: readonly Run[]): Body {
  const open = async function* (): AsyncGenerator<Uint8Array> {
    for (const run of runs) yield* run.open();
  };
  return { length: sum(runs, 'storedLength'), open };
}

function bytesOf(bytes: Uint8Array): Body {
  const open = async function* (): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    for (let at = 0; at < bytes.byteLength; at += SERVE_PIECE_BYTES) yield bytes.subarray(at, at + SERVE_PIECE_BYTES);
  };
  return { length: bytes.byteLength, open };
}
