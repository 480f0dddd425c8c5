import type { ReleaseManifest } from '../core/manifest.ts';

/** Fetches one TUF file by its path relative to the metadata or targets prefix. The answer is hostile until tuf-js has checked it. */
export interface MetadataFetcher {
  /** `undefined` when the source says there is no such file (tuf-js ends its root walk on that). Never reads more than `maxBytes`. */
  fetch(kind: 'metadata' | 'target', path: string, maxBytes: number): Promise<Uint8Array | undefined>;
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

/**
 * The device's side of trust. Each refusal has its own code: `TUF_SIGNATURE`, `TUF_EXPIRED`, `TUF_ROLLBACK`, `TUF_FREEZE`,
 * `TUF_MIX_AND_MATCH`, `TUF_LENGTH`, `TUF_HASH`, `WRONG_HARDWARE`, `UNKNOWN_FEATURE`, `SEQUENCE_ROLLBACK`, `SOURCE_TOO_OLD`,
 * `NO_SUCH_RELEASE`.
 */
export interface TrustClient {
  /** Brings metadata up to date and returns the newest release of `product`, or the one called `version`. */
  release(product: string, version?: string): Promise<TrustedRelease>;
  /** Raises the persisted high-water mark, once the release is in place. */
  accepted(manifest: ReleaseManifest): Promise<void>;
}
