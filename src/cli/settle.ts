import { join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import type { HomeConfig, TrustHome } from '../trust/repository/home.ts';
import type { SignatureCount } from '../trust/repository/stage.ts';
import { emit, say } from './output.ts';

/** Where a change of keys or releases is staged when no place was named. */
export function ownStaging(home: TrustHome, what: string): string {
  return join(home.paths.staging, `${what}-${home.now().toISOString().replace(/[:.]/g, '')}`);
}

/** Says where the signatures of each role stand. A new root is counted by the old keys and by the new ones: once when these say the same. */
export function saySignatures(signatures: readonly SignatureCount[]): void {
  for (const line of new Set(signatures.map(({ role, version, have, need }) => `${role} ${String(version)} has ${String(have)} of ${String(need)} signatures.`))) say(line);
}

/** Says whose signatures are missing, and what to do about it. */
export function sayMissing(staging: string, signatures: readonly SignatureCount[]): void {
  saySignatures(signatures.filter(({ have, need }) => have < need));
  say(`Staged in ${staging}; the other key holders run: shoal sign ${staging} --home HOME`);
}

export interface Staged {
  readonly signatures: readonly SignatureCount[];
  readonly complete: boolean;
}

/** Ends a command that staged a change without content: takes effect at once in a whole home, travels from an offline one. */
export async function settle(home: TrustHome, part: HomeConfig['part'], staging: string, apart: boolean, staged: Staged, json: boolean): Promise<void> {
  const { signatures, complete } = staged;
  const accepted = part === 'whole' && !apart && complete;
  if (accepted) {
    const { acceptStaged } = await import('../trust/repository/accept.ts');
    await acceptStaged(home, staging, {
      content: () => Promise.reject(new ShoalError('BAD_STAGING', 'this staging brings releases that were not staged here', { ids: { staging } })),
    });
    say('Devices learn of it with their next update.');
  } else if (!complete) sayMissing(staging, signatures);
  else say(`Staged in ${staging}; next: shoal upload ${staging} ORIGIN, or shoal accept ${staging} on the server.`);
  if (json) emit({ ok: true, staging, signatures, complete, published: accepted });
}
