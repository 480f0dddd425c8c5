import { ShoalError } from '../../core/errors.ts';
import { isObjectId } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { ANNOUNCE_MAX_ROOTS, PEERS_MAX } from '../../core/limits.ts';
import { isName } from '../../core/names.ts';

/** A device of a site, as the gateway or the origin lists it. */
export interface Listed {
  readonly instance: string;
  readonly url: string;
  readonly roots: readonly ObjectId[];
}

/** What can be used of a peer list; strangers wrote it, so the rest is left out without a word. */
export function parsePeers(body: Uint8Array): readonly Listed[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw new ShoalError('HTTP_BODY', 'the list of neighbours is not JSON', { cause, retry: 'again' });
  }
  const { peers } = (value ?? {}) as { readonly peers?: unknown };
  if (!Array.isArray(peers)) return [];
  return peers.slice(0, PEERS_MAX).flatMap((each: unknown) => {
    const { instance, url, roots } = (each ?? {}) as { readonly instance?: unknown; readonly url?: unknown; readonly roots?: unknown };
    if (typeof instance !== 'string' || !isName(instance) || typeof url !== 'string' || !Array.isArray(roots)) return [];
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed === undefined || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) return [];
    return [{ instance, url: parsed.origin, roots: roots.slice(0, ANNOUNCE_MAX_ROOTS).filter((root): root is ObjectId => typeof root === 'string' && isObjectId(root)) }];
  });
}
