import { Type } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { NAME_MAX_LENGTH, RUNS_MAX_DEVICES, RUNS_MAX_PRODUCTS } from '../core/limits.ts';
import { isName } from '../core/names.ts';
import { parseRuns } from '../core/runs.ts';
import type { Run } from '../core/runs.ts';
import { CACHE_NEVER, HEADER_RUNS, wire } from '../core/wire.ts';
import { productRole } from '../trust/roles.ts';
import type { Permissions } from './access.ts';
import { notFound } from './answers.ts';
import type { App } from './context.ts';

/** Who keeps what devices run: it must not take long, and never throw. */
export interface RunsDesk {
  note(device: string, runs: readonly Run[]): void;
}

/** Notes what a caller says that it runs: for itself alone, and of the products that it may have. */
export function noteRuns(request: FastifyRequest, may: Permissions, desk: RunsDesk): void {
  const text = request.headers[HEADER_RUNS];
  const report = typeof text === 'string' ? parseRuns(text) : undefined;
  if (report === undefined) return;
  const runs = report.runs.filter(({ product }) => may.metadata(request, `1.${productRole(product)}.json`));
  if (runs.length > 0) desk.note(may.device(request) ?? report.reporter, runs);
}

const Product = Type.String({ minLength: 1, maxLength: NAME_MAX_LENGTH });
const Reports = Type.Object(
  { devices: Type.Array(Type.Tuple([Product, Type.Array(Type.Tuple([Product, Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })]), { maxItems: RUNS_MAX_PRODUCTS })]), { maxItems: RUNS_MAX_DEVICES }) },
  { additionalProperties: false },
);

/** For gateways: what devices said to them. */
export function runsRoute(app: App, may: Permissions, desk: RunsDesk): void {
  app.put(wire.runs, { schema: { summary: 'For gateways: what devices run', tags: ['peers'], body: Reports } }, async (request, reply) => {
    if (!may.host(request)) throw notFound('what you ask for');
    for (const [device, runs] of request.body.devices) {
      const known = runs.map(([product, sequence]) => ({ product, sequence })).filter(({ product }) => isName(product));
      if (isName(device) && known.length > 0) desk.note(device, known);
    }
    return reply.code(204).header('cache-control', CACHE_NEVER).send();
  });
}
