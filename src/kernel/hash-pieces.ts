import { ShoalError } from '../core/errors.ts';
import { native } from './native.ts';

/** The instruction sets of native/hash/hash.h, by number. */
export const HASH_ISAS = ['scalar', 'sse4.1', 'avx2', 'neon', 'avx512'] as const;
export type HashIsa = (typeof HASH_ISAS)[number];

/** Those that can run here, slowest first; none on the portable tier. */
export function availableHashIsas(): readonly HashIsa[] {
  const isas = native?.hashIsas() ?? 0;
  return HASH_ISAS.filter((_, isa) => (isas & (1 << isa)) !== 0);
}

/** BLAKE3-256 of pieces that lie one after another, 32 bytes each into `hashes`. Pieces have at most 64 MiB. */
export interface PieceHasher {
  now(bytes: Uint8Array, lengths: Uint32Array, hashes: Uint8Array): void;
  /** On a thread of the pool: nobody touches `bytes` and `hashes` until it settles. */
  later(bytes: Uint8Array, lengths: Uint32Array, hashes: Uint8Array): Promise<void>;
}

/** The native kernel on one instruction set, or undefined where it cannot run. */
export function pieceHasher(isa: HashIsa | undefined): PieceHasher | undefined {
  const addon = native;
  if (addon === undefined || isa === undefined || !availableHashIsas().includes(isa)) return undefined;
  const number = HASH_ISAS.indexOf(isa);
  return {
    now: (bytes, lengths, hashes) => check(addon.hashPieces(bytes, lengths, hashes, number, false)),
    later: async (bytes, lengths, hashes) => check(await addon.hashPieces(bytes, lengths, hashes, number, true)),
  };
}

/** The native kernel on the fastest instruction set here, or undefined. */
export const nativePieces = pieceHasher(availableHashIsas().at(-1));

function check(status: number): void {
  if (status !== 0) throw new ShoalError('NO_MEMORY', 'there is no memory to hash in', { retry: 'again' });
}
