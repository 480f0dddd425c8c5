import { models } from './model.ts';

/** Numbers of the format (docs/delta.md, "Sites"): the same as in native/delta/sites.h. */
export const learnable = {
  CACHES: 4,
  CACHE_BITS: 13,
  /** Bits of a key that a cache entry keeps; the two below count confirmations. */
  TAG_MASK: 0x7fffc,
  /** Branch targets and pointers are remembered by 4 KiB. */
  BUCKET: 12,
  /** Of 4095: how often a change must follow two bytes to make a site. */
  HOT: 800,
  COLD_REACH: 64,
  CLEAN_BLOCK: 64,
} as const;

/** What the coder learns along a segment; new for each. */
export interface SiteState {
  readonly gate: Uint16Array;
  readonly rate: Uint16Array;
  readonly best: Uint8Array;
  readonly cacheBy: Uint32Array;
  readonly cacheTag: Uint32Array;
  readonly agrees: Uint32Array;
  readonly zero: Uint32Array;
  readonly second: Uint32Array;
  readonly cold: Uint32Array;
  readonly coldAt: Uint32Array;
  readonly size: Uint32Array;
  readonly sign: Uint32Array;
  readonly small: Uint32Array;
  readonly high: Uint32Array;
  readonly middle: Uint32Array;
  readonly low: Uint32Array;
  readonly runs: Uint32Array;
  readonly runBits: Uint32Array;
}

export function newSiteState(): SiteState {
  const entries = learnable.CACHES << learnable.CACHE_BITS;
  return {
    gate: new Uint16Array(65536),
    rate: new Uint16Array(256 * learnable.CACHES).fill(32768),
    best: new Uint8Array(256).fill(2),
    cacheBy: new Uint32Array(entries),
    cacheTag: new Uint32Array(entries),
    agrees: models(1 << 14),
    zero: models(1 << 12),
    second: models(512),
    cold: models(16, 0x0800_0000),
    coldAt: models(7 * 64),
    size: models(256 * 32),
    sign: models(32),
    small: models(16 * 128),
    high: models(32 * 8),
    middle: models(32 * 32),
    low: models(32 * 16),
    runs: models(8 * 32),
    runBits: models(32 * 32),
  };
}
