import type { Bitmap } from '../core/bitmap.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { Coding, Run } from '../store/types.ts';

/** What the HTTP surface needs to know of an artifact that a host holds, in part or whole. */
export interface Holding {
  readonly key: ContentKey;
  readonly size: number;
  readonly spans: Bitmap;
  /** More of it is on its way here: neighbours that wait for it wait for something. */
  readonly working?: boolean;
  /** The release that it belongs to, where that is known. */
  readonly release?: { readonly product: string; readonly version: string };
  /** Spans that a device is bringing over the backhaul. */
  readonly bringing?: ReadonlySet<number>;
  /** Those of them that it passes on while they come. */
  readonly arriving?: { keys(): Iterable<number> };
  /** The base from which a device rebuilds it, `none` when it does not; undefined while it does not know. */
  readonly base?: ObjectId | 'none' | undefined;
}

/** Bytes that a device has received since it started, by where they came from. */
export interface Received {
  readonly local: number;
  readonly delta: number;
  readonly peer: number;
  readonly gateway: number;
  readonly origin: number;
  readonly torrent: number;
  readonly control: number;
  /** Of `delta`, from the origin. */
  readonly deltaFromOrigin: number;
}

/**
 * The content a host can serve, whatever it lies in: an origin's store, a gateway's cache, a device's slots. Undefined
 * always means "not here" and becomes 404. Implementations never return bytes they have not verified as they leave.
 */
export interface ContentProvider {
  /** Everything held. */
  holdings(): Promise<readonly Holding[]>;
  holding(key: ContentKey): Promise<Holding | undefined>;
  /** An encoded index page that belongs to `key`. */
  page(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined>;
  /** A map page or payload of a delta that makes `key`: at most `DELTA_OBJECT_MAX_BYTES`, and what its id says. */
  delta(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined>;
  /** Segments of the delta from `base` to `key`, in its manifest's order, whose payload can be had here. Devices know. */
  deltaHolding?(key: ContentKey, base: ObjectId): Promise<Bitmap | undefined>;
  /**
   * The chunks of span `span` (all of them, or those at `positions`), as runs whose bytes are sent one after another.
   * All runs have one coding when `accept` has only identity; else the answer is `zstd` as a whole (frames may follow
   * each other, RFC 8878 section 3.1) or identity as a whole.
   */
  span(key: ContentKey, span: number, positions: string | undefined, accept: readonly Coding[]): Promise<readonly Run[] | undefined>;
}

/** The TUF repository as files: what `name` may be is checked by the implementation, not trusted from the URL. */
export interface MetadataProvider {
  /** `timestamp.json`, `3.root.json`, … */
  metadata(name: string): Promise<Uint8Array | undefined>;
  /** Seconds since an origin or gateway was last asked for `timestamp.json`, by whomever; undefined: not told (RFC 9111, 5.1). */
  age?(): number | undefined;
  /** Version of the newest root; undefined: not told. */
  newestRoot?(): Promise<number | undefined>;
  /** A target file by its path on the wire, hash prefix included (TUF 6.2, consistent snapshots). */
  target(path: string): Promise<Uint8Array | undefined>;
}
