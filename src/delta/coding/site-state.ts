import { models } from './model.ts';

/** Numbers of the format (docs/delta.md, "Sites"): the same as in native/delta/coding/sites.h. */
export const learnable = {
  CACHES: 4,
  CACHE_BITS: 13,
  /** Bits of a key that a cache entry keeps; the two below count confirmations. */
  TAG_MASK: 0x7fffc,
  /** Branch targets and pointers are remembered by 4 KiB. */
  BUCKET: 12,
  /** Contexts of two bytes; above them the 128 of zeros and of ones. */
  PAIRS: 65536,
  /** Of 255: how often a change must follow a context to make a site. */
  OPEN: 128,
  COLD_REACH: 64,
  CLEAN_BLOCK: 64,
} as const;

/** What the coder learns along a segment; new for each. */
export interface SiteState {
  readonly gate: Uint8Array;
  readonly rate: Uint16Array;
  readonly best: Uint8Array;
  readonly cacheBy: Uint32Array;
  readonly cacheTag: Uint32Array;
  readonly agrees: Uint32Array;
  readonly zero: Uint32Array;
  readonly second: Uint32Array;
  readonly rest: Uint32Array;
}

export function newSiteState(): SiteState {
  const entries = learnable.CACHES << learnable.CACHE_BITS;
  return {
    gate: new Uint8Array(learnable.PAIRS + 128),
    rate: new Uint16Array(256 * learnable.CACHES).fill(32768),
    best: new Uint8Array(256).fill(2),
    cacheBy: new Uint32Array(entries),
    cacheTag: new Uint32Array(entries),
    agrees: models(1 << 14),
    zero: models(1 << 12),
    second: models(512),
    rest: models(2),
  };
}
