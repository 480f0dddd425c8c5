import type { ObjectId } from '../core/ids.ts';
import type { ReleaseManifest } from '../core/manifest.ts';

/** Fetches one TUF file by its path relative to the metadata or targets prefix. The answer is hostile until it has been checked. */
export interface MetadataFetcher {
  /** Names the source in errors: its URL. */
  readonly source: string;
  /** The hosts behind it one by one, best first, when there are several: what one says wrongly another may say rightly. */
  readonly hosts?: readonly MetadataFetcher[];
  /**
   * `undefined` when the source says there is no such file (that ends the walk through the roots). Never reads more than
   * `maxBytes`; throws `TOO_LONG` when there is more. `path` is not URL-encoded. Stops when `signal` is aborted.
   */
  fetch(kind: 'metadata' | 'target', path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

/** What a device is, as far as refusing releases goes. */
export interface DeviceProfile {
  /** Exact hardware ids; a release with a list must name one of them. */
  readonly hardware: readonly string[];
  /** Features this agent implements. */
  readonly features: readonly string[];
}

/** A release that passed every check of docs/trust.md, and the exact bytes that were signed. */
export interface TrustedRelease {
  readonly manifest: ReleaseManifest;
  readonly manifestBytes: Uint8Array;
}

/** A delta that the repository lists for a target. What it promises, it has yet to keep: its role is signed online. */
export interface DeltaOffer {
  /** Root of the artifact it starts from. */
  readonly base: ObjectId;
  readonly baseSize: number;
  /** All that a device fetches for it: manifest, map pages, payloads. */
  readonly bytes: number;
  readonly manifestLength: number;
}

/**
 * The device's side of trust. Each refusal has its own stable code and a sentence (docs/trust.md, "Refusals"):
 * `TUF_SIGNATURE`, `TUF_EXPIRED`, `TUF_FREEZE`, `TUF_ROLLBACK`, `TUF_MIX_AND_MATCH`, `TUF_LENGTH`, `TUF_HASH`, `TUF_ENDLESS`,
 * `TUF_MALFORMED`, `TUF_MISSING`, `TUF_TIMEOUT`, `CLOCK_UNSET`, `TRUST_ROOT_CHANGED`, `NO_SUCH_RELEASE`, `WRONG_RELEASE`,
 * `WRONG_HARDWARE`, `UNKNOWN_FEATURE`, `SEQUENCE_ROLLBACK`, `SOURCE_TOO_OLD`.
 */
export interface TrustClient {
  /** Brings metadata up to date and returns the newest release of `product`, or the one called `version`. */
  release(product: string, version?: string): Promise<TrustedRelease>;
  /**
   * The deltas that make the artifact `target`, as the metadata of the last `release` has them. None when the role is
   * missing, expired or damaged: deltas save bytes, and must never keep a device from updating. Throws nothing.
   */
  deltas(target: ObjectId): Promise<readonly DeltaOffer[]>;
  /**
   * The manifest of a delta that `deltas` offers, its length and hash checked, its content not yet. Throws `NO_SUCH_DELTA`
   * when none is listed, else the refusal (`TUF_…`, retry elsewhere) of the last host that was asked.
   */
  deltaManifest(target: ObjectId, base: ObjectId): Promise<Uint8Array>;
  /** Raises the persisted high-water mark, once the release is in place. */
  accepted(manifest: ReleaseManifest): Promise<void>;
}
