import { blake3 } from '@noble/hashes/blake3.js';
import type { HashTier } from './hash-tier.ts';

/** Pure TypeScript: always there, about a hundred times slower than native; also the oracle in tests. */
export const nobleHash: HashTier = {
  hash: (bytes) => blake3(bytes),
  keyed: (key, bytes) => blake3(bytes, { key }),
  hasher: (key) => (key === undefined ? blake3.create({}) : blake3.create({ key })),
};
