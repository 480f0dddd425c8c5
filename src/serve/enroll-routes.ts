import { Type } from '@fastify/type-provider-typebox';
import { isShoalError } from '../core/errors.ts';
import { ENROL_BODY_MAX_BYTES } from '../core/limits.ts';
import { CACHE_NEVER, wire } from '../core/wire.ts';
import type { EnrolmentDesk } from '../identity/desk.ts';
import type { RenewRequest } from '../identity/messages.ts';
import type { Permissions } from './access.ts';
import { sendError } from './answers.ts';
import type { App } from './context.ts';

const Base64 = Type.String({ minLength: 1, maxLength: 512, pattern: '^[A-Za-z0-9+/]+={0,2}$' });
const TokenId = Type.String({ minLength: 11, maxLength: 11, pattern: '^[A-Za-z0-9_-]+$' });
const TokenText = Type.String({ minLength: 44, maxLength: 44, pattern: '^[A-Za-z0-9_-]{11}\\.[A-Za-z0-9_-]{32}$' });

const STRICT = { additionalProperties: false };
const AskAnchors = Type.Object({ token: TokenId }, STRICT);
const AskEnrol = Type.Object({ token: TokenText, identity: Base64, key: Base64, proof: Base64 }, STRICT);
const AskRenew = Type.Object({ identity: Base64, key: Base64, proof: Base64 }, STRICT);

/** Enrolment and renewal (docs/identity.md), for callers that have no certificate yet, or none that is good any more. */
export function enrolRoutes(control: App, desk: Pick<EnrolmentDesk, 'anchors' | 'enrol' | 'renew'>, may: Permissions): void {
  void control.register(async (app: App) => {
    forStrangers(app);
    const bodyLimit = ENROL_BODY_MAX_BYTES;
    app.post(wire.anchors, { bodyLimit, schema: { ...about("The fleet's CA, for whoever knows a token"), body: AskAnchors } }, async (request) => Promise.resolve({ ca: desk.anchors(request.body.token, request.ip) }));
    app.post(wire.enrol, { bodyLimit, schema: { ...about('First certificates, for a token'), body: AskEnrol } }, async (request) => desk.enrol(request.body, request.ip));
    app.post(wire.renew, { bodyLimit, schema: { ...about('Next certificates, for an identity key'), body: AskRenew } }, async (request) => desk.renew(request.body, may.passesOn(request) ? undefined : request.ip));
    await Promise.resolve();
  });
}

/** Renewal alone, by whoever passes it on. */
export function renewRoute(control: App, renew: (request: RenewRequest, address: string) => Promise<unknown>): void {
  void control.register(async (app: App) => {
    forStrangers(app);
    app.post(wire.renew, { bodyLimit: ENROL_BODY_MAX_BYTES, schema: { ...about('Next certificates, passed on to the origin'), body: AskRenew } }, async (request) => renew(request.body, request.ip));
    await Promise.resolve();
  });
}

function about(summary: string): { readonly summary: string; readonly tags: string[] } {
  return { summary, tags: ['identity'] };
}

function forStrangers(app: App): void {
  app.addHook('onRequest', async (_request, reply) => {
    // One question, and nobody stays who has no business here.
    void reply.headers({ 'cache-control': CACHE_NEVER, connection: 'close' });
    await Promise.resolve();
  });
  // One answer for everything that is wrong: a stranger learns nothing of the form either.
  app.setErrorHandler(async (error, _request, reply) => {
    const busy = isShoalError(error, 'BUSY') || (isShoalError(error) && error.code.startsWith('HTTP_'));
    await sendError(reply, { status: busy ? 503 : 403, code: busy ? 'BUSY' : 'REFUSED', message: busy ? 'ask again later' : 'refused' });
  });
}
