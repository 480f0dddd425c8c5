import { createCipheriv, createHash } from 'node:crypto';

/** A small generator of 32-bit numbers (mulberry32, Tommy Ettinger, public domain algorithm): the same everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that do not compress, always the same: what depends on where chunks end does not differ from run to run. */
export function bytesFrom(seed: number, size: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(size));
}

let drawn = 0;

/**
 * Bytes that do not compress, other ones at each call, the same in every run of a test file: where spans end depends on them, and whether
 * a change may land is not to depend on luck. Whoever looks for more sets SHOAL_SEED to other numbers.
 */
export function randomBytes(size: number): Buffer {
  const key = createHash('sha256').update(`${process.env['SHOAL_SEED'] ?? '1'}/${String(drawn++)}`).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}
