import { createRequire } from 'node:module';
import { firstLine } from './choice.ts';
import type { HashTier, Hasher } from './hash-tier.ts';

/** The part of `@napi-rs/blake-hash` used here; the package is optional, so its own types may be absent. */
interface BlakeHash {
  blake3(input: Uint8Array): Uint8Array;
  readonly Blake3Hasher: {
    new (): NativeHasher;
    newKeyed(key: Uint8Array): NativeHasher;
  };
}

interface NativeHasher {
  update(input: Uint8Array): this;
  digestBuffer(): Uint8Array;
}

/** A plain Uint8Array over a Buffer's bytes: callers compare and print hashes without meeting Buffer's differences. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Loads the native hash, or returns why it cannot. */
export function loadNativeHash(): HashTier | string {
  let library: BlakeHash;
  try {
    library = createRequire(import.meta.url)('@napi-rs/blake-hash') as BlakeHash;
  } catch (error) {
    return `@napi-rs/blake-hash does not load (${firstLine(error)})`;
  }
  const start = (key?: Uint8Array): NativeHasher =>
    key === undefined ? new library.Blake3Hasher() : library.Blake3Hasher.newKeyed(key);
  return {
    hash: (bytes) => plain(library.blake3(bytes)),
    keyed: (key, bytes) => plain(start(key).update(bytes).digestBuffer()),
    hasher: (key) => {
      const inner = start(key);
      const hasher: Hasher = {
        update(bytes) {
          inner.update(bytes);
          return hasher;
        },
        digest: () => plain(inner.digestBuffer()),
      };
      return hasher;
    },
  };
}
