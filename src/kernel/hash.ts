/**
 * BLAKE3-256 on the fastest implementation present: `@napi-rs/blake-hash`, else hash-wasm, else noble.
 * `SHOAL_HASH=native|wasm|noble` forces one.
 */
import { ShoalError } from '../core/errors.ts';
import { type Tier, forcedTier, unavailable } from './choice.ts';
import { loadNativeHash } from './hash-native.ts';
import type { HashTier, Hasher } from './hash-tier.ts';

export type { Hasher } from './hash-tier.ts';

/** Bytes in a hash and in a key. */
export const HASH_BYTES = 32;

/** The other implementations are loaded only where they are needed: they cost every process and thread 10 ms and 5 MB. */
async function choose(): Promise<{ readonly hash: HashTier; readonly tier: Tier }> {
  const forced = forcedTier('SHOAL_HASH', ['native', 'wasm', 'noble']);
  const reasons: string[] = forced === undefined || forced === 'native' ? [] : [`SHOAL_HASH=${forced}`];
  const told = (tier: string): Tier => (reasons.length === 0 ? { tier } : { tier, reason: reasons.join('; ') });
  if (forced === undefined || forced === 'native') {
    const found = loadNativeHash();
    if (typeof found !== 'string') return { hash: found, tier: told('native') };
    if (forced === 'native') unavailable('SHOAL_HASH', forced, found);
    reasons.push(found);
  }
  if (forced !== 'noble') {
    const { loadWasmHash } = await import('./hash-wasm.ts');
    const found = await loadWasmHash();
    if (typeof found !== 'string') return { hash: found, tier: told('wasm') };
    if (forced === 'wasm') unavailable('SHOAL_HASH', forced, found);
    reasons.push(found);
  }
  const { nobleHash } = await import('./hash-noble.ts');
  return { hash: nobleHash, tier: told('noble') };
}

const chosen = await choose();

/** Which implementation hashes. */
export const hashTier: Tier = chosen.tier;

/** BLAKE3-256 of `bytes`: 32 fresh bytes. */
export function blake3(bytes: Uint8Array): Uint8Array {
  return chosen.hash.hash(bytes);
}

/**
 * BLAKE3-256 in keyed mode: separates domains, so that one kind of bytes never passes for another.
 *
 * @param key exactly 32 bytes
 * @throws ShoalError `HASH_KEY` for a key of another length
 */
export function blake3Keyed(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  checkKey(key);
  return chosen.hash.keyed(key, bytes);
}

/**
 * A hasher for bytes that arrive in pieces. Any number may be in use at a time.
 *
 * @param key 32 bytes for keyed mode
 * @throws ShoalError `HASH_KEY` for a key of another length
 */
export function createHasher(key?: Uint8Array): Hasher {
  if (key !== undefined) checkKey(key);
  return chosen.hash.hasher(key);
}

function checkKey(key: Uint8Array): void {
  if (key.length !== HASH_BYTES) {
    throw new ShoalError('HASH_KEY', `A BLAKE3 key has ${HASH_BYTES} bytes, not ${key.length}.`);
  }
}
