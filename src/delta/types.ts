/** What a stretch of a segment is predicted by. */
export const PieceKind = { LITERAL: 0, BASE: 1, FILL: 2, TABLE: 3 } as const;

/**
 * The stretches of a segment, four numbers each: length, kind, and where its first byte lies in the base, the lower 32 bits and
 * the upper ones (0 unless the kind is BASE or TABLE).
 */
export type Pieces = Uint32Array;

/** In `Cover.fill`: base bytes; base bytes that are pairs of numbers going up together. */
export const BASE = -1;
export const TABLE = -2;

/** Target bytes [target, target+length) resemble base bytes from `base` on, or a run of the byte `fill`. */
export interface Cover {
  readonly target: number;
  readonly length: number;
  readonly base: number;
  /** 0 … 255 for a run; `BASE` or `TABLE` for base bytes. */
  readonly fill: number;
}

export const Codec = {
  /** The prediction is the target; no payload. */
  COPY: 0,
  /** The payload is the target. */
  RAW: 1,
  /** The payload corrects the prediction (docs/delta.md). */
  SITES: 2,
  /** The payload has one of the others for each part of what the segment is when expanded (docs/containers.md). */
  PARTS: 3,
  /** The same, after references in the prediction were moved by rules at the payload's beginning. */
  MOVED: 4,
} as const;
export type CodecId = (typeof Codec)[keyof typeof Codec];

/** Covers as four numbers each: target, length, base, fill (0 … 255, `BASE` or `TABLE`). */
export type Covers = Float64Array;
