/** What a stretch of a segment is predicted by. */
export const PieceKind = { LITERAL: 0, BASE: 1, FILL: 2, TABLE: 3 } as const;

/** A stretch of a segment. `base`: where its first byte lies in the base, modulo 2^32; 0 unless the kind is BASE or TABLE. */
export interface Piece {
  readonly length: number;
  readonly kind: (typeof PieceKind)[keyof typeof PieceKind];
  readonly base: number;
}

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
} as const;
export type CodecId = (typeof Codec)[keyof typeof Codec];
