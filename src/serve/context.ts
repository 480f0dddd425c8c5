import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyReply, FastifyRequest, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerDefault } from 'fastify';
import type { FastifyBaseLogger } from 'fastify';
import type { ObjectId } from '../core/ids.ts';
import type { ContentProvider } from './content.ts';
import type { Body } from './send.ts';

/** A fastify instance whose handlers know what their schemas allow. */
export type App = FastifyInstance<RawServerDefault, RawRequestDefaultExpression, RawReplyDefaultExpression, FastifyBaseLogger, TypeBoxTypeProvider>;

export interface ContentContext {
  readonly content: ContentProvider;
  /** Whether this host is about to get an artifact, of which it may have nothing yet. */
  readonly coming: ((root: ObjectId) => boolean) | undefined;
  /** Whose share of this host a request takes. */
  client(request: FastifyRequest): string;
  /** Waits for `work`. A client that said it has patience is told every few seconds that it still goes on. */
  patiently<T>(request: FastifyRequest, reply: FastifyReply, work: Promise<T>): Promise<T>;
  /** Sends a body within the bounds of the surface. Returns the reply, which is then done with. */
  send(request: FastifyRequest, reply: FastifyReply, status: number, headers: Readonly<Record<string, string | number>>, body: Body): Promise<FastifyReply>;
}
