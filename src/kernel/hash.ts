/**
 * BLAKE3-256 on the fastest implementation present: `@napi-rs/blake-hash`, else hash-wasm, else noble.
 * `SHOAL_HASH=native|wasm|noble` forces one.
 */
import { ShoalError } from '../core/errors.ts';
import { type Tier, forcedTier, unavailable } from './choice.ts';
import { loadNativeHash } from './hash-native.ts';
import { nativePieces } from './hash-pieces.ts';
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

/** Hashing many pieces in one call of our own kernel, where that may be used. */
const pieces = chosen.tier.tier === 'native' ? nativePieces : undefined;

/** Whether `blake3PiecesLater` works on a thread of its own. */
export const hashesBeside = pieces !== undefined;

/**
 * BLAKE3-256 of each of the pieces of `lengths` that lie one after another in `bytes`: 32 bytes each. Where `bytes` ends early,
 * of what there is of them.
 */
export function blake3Pieces(bytes: Uint8Array, lengths: readonly number[]): Uint8Array {
  const there = cutShort(lengths, bytes.byteLength);
  const hashes = new Uint8Array(there.length * HASH_BYTES);
  if (pieces !== undefined) {
    pieces.now(bytes, there, hashes);
    return hashes;
  }
  let at = 0;
  for (const [index, length] of there.entries()) hashes.set(chosen.hash.hash(bytes.subarray(at, (at += length))), index * HASH_BYTES);
  return hashes;
}

/** The same on a thread of the pool where there is one. Nobody may write to `bytes` until the answer. */
export async function blake3PiecesLater(bytes: Uint8Array, lengths: readonly number[]): Promise<Uint8Array> {
  if (pieces === undefined) return blake3Pieces(bytes, lengths);
  const there = cutShort(lengths, bytes.byteLength);
  const hashes = new Uint8Array(there.length * HASH_BYTES);
  await pieces.later(bytes, there, hashes);
  return hashes;
}

function cutShort(lengths: readonly number[], available: number): Uint32Array {
  let left = available;
  return Uint32Array.from(lengths, (length) => {
    const there = Math.min(length, left);
    left -= there;
    return there;
  });
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
