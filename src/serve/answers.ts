import type { FastifyReply } from 'fastify';
import { ShoalError } from '../core/errors.ts';
import { CACHE_NEVER } from '../core/wire.ts';

/** What a failure is in HTTP. Anything without a place here is 500, and its message stays inside. */
const STATUS: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  BAD_PATH: 400,
  BAD_ID: 400,
  BAD_NAME: 400,
  BAD_CHUNK_SET: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  REFUSED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  TOO_LARGE: 413,
  UNSUPPORTED_TYPE: 415,
  RANGE: 416,
  BUSY: 503,
  UPSTREAM: 502,
  DISK_FULL: 507,
};

/** Codes of fastify and of Node's parser that are the client's doing. */
const BY_CLIENT: Readonly<Record<number, string>> = { 400: 'BAD_REQUEST', 404: 'NOT_FOUND', 405: 'METHOD_NOT_ALLOWED', 413: 'TOO_LARGE', 414: 'BAD_PATH', 415: 'UNSUPPORTED_TYPE', 431: 'TOO_LARGE' };

export interface ErrorAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/** The answer to a failure. Throws nothing; `retry: elsewhere` from an upstream becomes 502. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof ShoalError) {
    const status = STATUS[error.code];
    if (status !== undefined) return { status, code: error.code, message: error.message };
    if (error.code.startsWith('HTTP_')) return { status: 502, code: 'UPSTREAM', message: error.message };
    return { status: 500, code: error.code, message: 'this host cannot serve that' };
  }
  const { statusCode, message } = error as { readonly statusCode?: unknown; readonly message?: unknown };
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, code: BY_CLIENT[statusCode] ?? 'BAD_REQUEST', message: String(message).slice(0, 300) };
  }
  return { status: 500, code: 'INTERNAL', message: 'this host failed to answer' };
}

/** `about` adds what a trusted client may know: ids and what to do. */
export async function sendError(reply: FastifyReply, { status, code, message }: ErrorAnswer, about?: ShoalError): Promise<void> {
  void reply.code(status).headers({ 'cache-control': CACHE_NEVER, 'content-type': 'application/json; charset=utf-8' });
  if (status === 503) void reply.header('retry-after', '1');
  await reply.send(JSON.stringify({ error: code, message, ...(about === undefined ? {} : { ids: about.ids, hint: about.hint }) }));
}

export function notFound(what: string): ShoalError {
  return new ShoalError('NOT_FOUND', `${what} is not here`, { retry: 'elsewhere' });
}
