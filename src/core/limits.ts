/**
 * Every bound on what is accepted from outside, in one place. Sizes are bytes, times milliseconds. A parser checks its
 * bound before it allocates; a reader stops at its bound whatever the sender claims.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Chunks: the widest range that chunking parameters may ask for. */
export const CHUNK_MIN_BYTES = 4 * KiB;
export const CHUNK_MAX_BYTES = 1 * MiB;

/** Spans: an end is looked for from the minimum on and forced at the maximum (docs/format.md, "Spans"). */
export const SPAN_MIN_BYTES = 1 * MiB;
export const SPAN_MAX_BYTES = 4 * MiB;

/** Entries in a leaf page: 4 MiB in chunks of the least size, and room for the artifact's short last chunk. */
export const LEAF_MAX_CHUNKS = SPAN_MAX_BYTES / CHUNK_MIN_BYTES + 1;

/** Entries in an inner page: four levels of 256 address 2^32 spans. */
export const INNER_FANOUT = 256;

/** Levels above the leaves. 256^4 spans of at least 1 MiB reach far beyond `ARTIFACT_MAX_BYTES`. */
export const INDEX_MAX_LEVEL = 4;

/** The longest encoded page: a full leaf page is 8 + 1,025 × 35 bytes. */
export const PAGE_MAX_BYTES = 8 + LEAF_MAX_CHUNKS * 35;

/** 16 TiB: well inside what a double counts exactly and what 48-bit length fields hold. */
export const ARTIFACT_MAX_BYTES = 16 * 1024 * 1024 * MiB;

/** Spans in the largest artifact (every span but the last has at least `SPAN_MIN_BYTES`). */
export const ARTIFACT_MAX_SPANS = ARTIFACT_MAX_BYTES / SPAN_MIN_BYTES + 1;

/** A release manifest: a few kilobytes in practice. */
export const MANIFEST_MAX_BYTES = 256 * KiB;
export const MANIFEST_MAX_ARTIFACTS = 64;
export const MANIFEST_MAX_HARDWARE = 1024;
export const MANIFEST_MAX_FEATURES = 64;

/** TUF metadata files, each. `root.json` with many keys is tens of kilobytes; a delegated role lists its releases. */
export const METADATA_MAX_BYTES = 4 * MiB;

/** Identifiers people choose (product, version, site, hardware): characters. */
export const NAME_MAX_LENGTH = 128;

/** Any JSON control message that is not covered by a tighter bound. */
export const CONTROL_MAX_BYTES = 1 * MiB;

/** Response header block. Node's own default is 16 KiB. */
export const HEADER_MAX_BYTES = 16 * KiB;

/** Peers: in one answer, and remembered for one site. */
export const PEERS_MAX = 512;

/** One request: silence on a connection, and the whole exchange of a control message. */
export const CONNECT_TIMEOUT_MS = 10_000;
export const STALL_TIMEOUT_MS = 20_000;
export const CONTROL_TIMEOUT_MS = 30_000;
