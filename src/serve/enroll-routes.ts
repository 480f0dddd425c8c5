import { Type } from '@fastify/type-provider-typebox';
import { isShoalError } from '../core/errors.ts';
import { ENROL_BODY_MAX_BYTES } from '../core/limits.ts';
import { CACHE_NEVER, wire } from '../core/wire.ts';
import type { EnrolmentDesk } from '../identity/desk.ts';
import { sendError } from './answers.ts';
import type { App } from './context.ts';

const Base64 = Type.String({ minLength: 1, maxLength: 512, pattern: '^[A-Za-z0-9+/]+={0,2}$' });
const TokenId = Type.String({ minLength: 11, maxLength: 11, pattern: '^[A-Za-z0-9_-]+$' });
const TokenText = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9_-]{11}\\.[A-Za-z0-9_-]{32}$' });

/** Enrolment and renewal (docs/identity.md), for callers that have no certificate yet, or none that is good any more. */
export function enrolRoutes(desk: Pick<EnrolmentDesk, 'anchors' | 'enrol' | 'renew'>): (app: App) => void {
  return (control) => {
    void control.register(async (app: App) => {
      app.addHook('onRequest', async (_request, reply) => {
        void reply.header('cache-control', CACHE_NEVER);
        await Promise.resolve();
      });
      // One answer for everything that is wrong: a stranger learns nothing of the form either.
      app.setErrorHandler(async (error, _request, reply) => {
        const busy = isShoalError(error, 'BUSY');
        await sendError(reply, { status: busy ? 503 : 403, code: busy ? 'BUSY' : 'REFUSED', message: busy ? 'too many requests' : 'refused' });
      });
      const about = (summary: string): { readonly summary: string; readonly tags: string[] } => ({ summary, tags: ['identity'] });
      const strict = { additionalProperties: false };
      const bodyLimit = ENROL_BODY_MAX_BYTES;
      app.post(wire.anchors, { bodyLimit, schema: { ...about("The fleet's CA, for whoever knows a token"), body: Type.Object({ token: TokenId }, strict) } }, async (request) => Promise.resolve({ ca: desk.anchors(request.body.token, request.ip) }));
      app.post(wire.enrol, { bodyLimit, schema: { ...about('First certificates, for a token'), body: Type.Object({ token: TokenText, identity: Base64, key: Base64, proof: Base64 }, strict) } }, async (request) => desk.enrol(request.body, request.ip));
      app.post(wire.renew, { bodyLimit, schema: { ...about('Next certificates, for an identity key'), body: Type.Object({ identity: Base64, key: Base64, proof: Base64 }, strict) } }, async (request) => desk.renew(request.body, request.ip));
      await Promise.resolve();
    });
  };
}
