import { createHash, timingSafeEqual } from 'node:crypto';
import { Type } from '@fastify/type-provider-typebox';
import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { ARTIFACT_MAX_SPANS, CONTROL_MAX_BYTES, METADATA_MAX_BYTES, PAGE_MAX_BYTES, SPAN_MAX_BYTES, UPLOAD_MAX_BODIES, UPLOAD_MAX_FILES } from '../core/limits.ts';
import { API, CACHE_NEVER } from '../core/wire.ts';
import type { UploadArtifact, UploadFile, UploadGap } from '../core/wire.ts';
import { errorAnswer, sendError } from './answers.ts';
import type { App } from './context.ts';
import { Gate } from './gate.ts';
import { ChunkSet, Id, SpanNumber } from './schemas.ts';

export interface UploadAnswer {
  readonly id: string;
  /** Paths of the files that are not there yet. */
  readonly missing: readonly string[];
}

export interface UploadResult {
  /** False when all of it was published before. */
  readonly changed: boolean;
  readonly releases: readonly { readonly product: string; readonly version: string; readonly sequence: number }[];
  /** Deltas that were there when the releases became visible. */
  readonly deltas: number;
}

/** Who takes uploads. Every call may be repeated. */
export interface UploadDesk {
  begin(files: readonly UploadFile[]): Promise<UploadAnswer>;
  file(id: string, path: string, bytes: Uint8Array): Promise<void>;
  /** Checks the signed metadata against the repository, and says which artifacts the new releases consist of. */
  check(id: string): Promise<readonly UploadArtifact[]>;
  missing(id: string, root: ObjectId, from: number): Promise<UploadGap>;
  page(id: string, root: ObjectId, page: ObjectId, bytes: Uint8Array): Promise<void>;
  span(id: string, root: ObjectId, span: number, set: string, bytes: Uint8Array, coding: string | undefined): Promise<void>;
  /**
   * Makes the releases visible, once their deltas are made or the time for these is over, unless `deltasLater`. Undefined while
   * that is under way: then it goes on by itself, and whoever asks again learns what came of it.
   */
  commit(id: string, deltasLater: boolean): Promise<UploadResult | undefined>;
}

/** Room for frames and their headers around a span that does not compress. */
const BODY_MAX_BYTES = SPAN_MAX_BYTES + SPAN_MAX_BYTES / 64;

const Digest = Type.String({ minLength: 64, maxLength: 64, pattern: '^[0-9a-f]{64}$' });
const Path = Type.String({ minLength: 1, maxLength: 600, pattern: '^(metadata|targets)/[A-Za-z0-9._+/-]+$' });
const UploadParams = Type.Object({ id: Digest });
const RootParams = Type.Object({ id: Digest, root: Id });
const Listing = Type.Object({ files: Type.Array(Type.Object({ path: Path, length: Type.Integer({ minimum: 0, maximum: METADATA_MAX_BYTES }), sha256: Digest }, { additionalProperties: false }), { minItems: 1, maxItems: UPLOAD_MAX_FILES }) }, { additionalProperties: false });

/** What a failure is in HTTP where the one who asks may know all about it. */
const AGAIN = new Set(['BUSY', 'STORE_BUSY', 'HOME_BUSY']);
const CONFLICT = new Set(['UPLOAD_UNKNOWN', 'UPLOAD_UNWANTED', 'INCOMPLETE_ARTIFACT', 'STAGING_RACED', 'STAGING_REPLAYED']);

/** Upload of staging directories (docs/protocol.md). Nothing is read of a body before the token has been checked. */
export function uploadRoutes(desk: UploadDesk, tokens: readonly string[]): (app: App) => void {
  const digests = tokens.map(digest);
  const gate = new Gate(UPLOAD_MAX_BODIES, UPLOAD_MAX_BODIES);
  return (control) => {
    void control.register(async (app: App) => {
      app.addHook('onRequest', async (request, reply) => {
        const [, token] = /^Bearer ([\x21-\x7e]{1,512})$/.exec(request.headers.authorization ?? '') ?? [];
        const given = digest(token ?? '');
        // Every one is compared, each in constant time.
        const known = digests.map((each) => timingSafeEqual(each, given)).includes(true);
        if (token === undefined || !known) {
          void reply.header('www-authenticate', 'Bearer');
          throw new ShoalError('UNAUTHORIZED', 'an upload needs the bearer token of this origin');
        }
        const leave = gate.enter(request.ip);
        reply.raw.once('close', leave);
        void reply.header('cache-control', CACHE_NEVER);
        await Promise.resolve();
      });
      app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body); });
      app.setErrorHandler(async (error, _request, reply) => {
        const answer = errorAnswer(error);
        const told = error instanceof ShoalError && answer.status === 500 ? { ...answer, status: statusOf(error), message: error.message } : answer;
        await sendError(reply, told, error instanceof ShoalError ? error : undefined);
      });
      routes(app, desk);
      await Promise.resolve();
    });
  };
}

function routes(app: App, desk: UploadDesk): void {
  const base = `${API}/uploads`;
  const about = (summary: string): { readonly summary: string; readonly tags: string[] } => ({ summary, tags: ['publishing'] });

  app.post(base, { bodyLimit: CONTROL_MAX_BYTES, schema: { ...about('Begins or resumes an upload'), body: Listing } }, async (request) => desk.begin(request.body.files));
  app.put(`${base}/:id/files/*`, { bodyLimit: METADATA_MAX_BYTES, schema: { ...about('One file of the staging directory'), params: Type.Object({ id: Digest, '*': Path }) } }, async (request, reply) => {
    await desk.file(request.params.id, request.params['*'], bytesOf(request.body));
    return reply.code(204).send();
  });
  app.post(`${base}/:id/check`, { schema: { ...about('Checks the metadata, names the artifacts'), params: UploadParams } }, async (request) => ({ artifacts: await desk.check(request.params.id) }));
  app.post(
    `${base}/:id/content/:root/missing`,
    { schema: { ...about('What is missing of an artifact'), params: RootParams, body: Type.Object({ from: Type.Integer({ minimum: 0, maximum: ARTIFACT_MAX_SPANS }) }, { additionalProperties: false }) } },
    async (request) => desk.missing(request.params.id, request.params.root as ObjectId, request.body.from),
  );
  app.put(
    `${base}/:id/content/:root/pages/:page`,
    { bodyLimit: PAGE_MAX_BYTES, schema: { ...about('An index page'), params: Type.Object({ id: Digest, root: Id, page: Id }) } },
    async (request, reply) => {
      const { id, root, page } = request.params;
      await desk.page(id, root as ObjectId, page as ObjectId, bytesOf(request.body));
      return reply.code(204).send();
    },
  );
  app.put(
    `${base}/:id/content/:root/spans/:span/:set`,
    { bodyLimit: BODY_MAX_BYTES, schema: { ...about('Chunks of a span'), params: Type.Object({ id: Digest, root: Id, span: SpanNumber, set: ChunkSet }) } },
    async (request, reply) => {
      const { id, root, span, set } = request.params;
      await desk.span(id, root as ObjectId, Number(span), set, bytesOf(request.body), request.headers['content-encoding']);
      return reply.code(204).send();
    },
  );
  const Wish = Type.Object({ deltas: Type.Optional(Type.Literal('later')) }, { additionalProperties: false });
  app.post(`${base}/:id/commit`, { schema: { ...about('Makes the releases visible'), params: UploadParams, querystring: Wish } }, async (request, reply) => {
    const result = await desk.commit(request.params.id, request.query.deltas === 'later');
    return result === undefined ? reply.code(202).send({ making: 'deltas' }) : result;
  });
}

function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  throw new ShoalError('UNSUPPORTED_TYPE', 'send it as application/octet-stream');
}

function statusOf({ code, retry }: ShoalError): number {
  if (AGAIN.has(code)) return 503;
  if (CONFLICT.has(code)) return 409;
  return retry === 'again' ? 500 : 422;
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
