import { blake3 } from '../kernel/hash.ts';
import type { DeltaOutline } from './manifest.ts';

/**
 * Of the hash of all segments' hashes, and of their predictions. Whoever makes a file makes its checks too, so they are against
 * accidents: 2^-48 for a wrong result to pass; the other only tells a base that drifted from a file that is damaged.
 */
export const CHECK_BYTES = 6;
export const PREDICTIONS_CHECK_BYTES = 2;

/** What stands for the hashes of all segments, and for those of their predictions. */
export function checkOf(targets: readonly Uint8Array[], predictions: readonly Uint8Array[]): NonNullable<DeltaOutline['check']> {
  return { target: blake3(Buffer.concat(targets)).slice(0, CHECK_BYTES), predictions: blake3(Buffer.concat(predictions)).slice(0, PREDICTIONS_CHECK_BYTES) };
}
