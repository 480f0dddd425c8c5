import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyReply, FastifyRequest, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerDefault } from 'fastify';
import type { FastifyBaseLogger } from 'fastify';
import type { ContentProvider } from './content.ts';
import type { Body } from './send.ts';

/** A fastify instance whose handlers know what their schemas allow. */
export type App = FastifyInstance<RawServerDefault, RawRequestDefaultExpression, RawReplyDefaultExpression, FastifyBaseLogger, TypeBoxTypeProvider>;

export interface ContentContext {
  readonly content: ContentProvider;
  /** Sends a body within the bounds of the surface. Returns the reply, which is then done with. */
  send(request: FastifyRequest, reply: FastifyReply, status: number, headers: Readonly<Record<string, string | number>>, body: Body): Promise<FastifyReply>;
}
