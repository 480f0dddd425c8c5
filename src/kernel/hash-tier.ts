/** Hashes bytes that arrive in pieces; finished after `digest`. */
export interface Hasher {
  update(bytes: Uint8Array): this;
  /** The 32-byte hash. The hasher cannot be used afterwards. */
  digest(): Uint8Array;
}

/** What each implementation of BLAKE3 offers. Keys have 32 bytes: checked by the caller. */
export interface HashTier {
  hash(bytes: Uint8Array): Uint8Array;
  keyed(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  hasher(key?: Uint8Array): Hasher;
}
