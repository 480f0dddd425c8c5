import type { Tier } from './choice.ts';
import { hashTier } from './hash.ts';
import { nativeTier } from './native.ts';
import { zstdTier } from './zstd.ts';

export type { Tier } from './choice.ts';

/** Which implementation each hot loop runs on: reported, never hidden. */
export interface Tiers {
  /** Shoal's own kernels, the chunker among them. */
  readonly kernel: Tier;
  readonly hash: Tier;
  readonly zstd: Tier;
}

export const tiers: Tiers = { kernel: nativeTier, hash: hashTier, zstd: zstdTier };
