import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import type { VerifiedChunk, VerifiedPage } from '../merkle/verify.ts';

/**
 * Objects at rest. A store keeps *blocks*: a block is a run of chunks that were new together in one span, compressed as
 * one zstd frame (or kept raw where that does not help), so that the whole run costs what a solid archive would and can
 * be sent as it lies. Reading is a handful of methods; writing, and pruning, are wider interfaces over it. What a store
 * returns has been on a medium and is not trusted: whoever uses it verifies it.
 */

export type Coding = 'identity' | 'zstd';

/** A stretch of stored bytes that decodes to one or more whole chunks, in order. */
export interface Run {
  readonly coding: Coding;
  /** Bytes as stored and sent. */
  readonly storedLength: number;
  /** Bytes once decoded. */
  readonly rawLength: number;
  /** The stored bytes, in pieces of bounded size, read as they are asked for. A piece is the reader's until it asks for the next. */
  open(): AsyncIterable<Uint8Array>;
}

export interface ChunkReader {
  /** Which of `ids` are here, in the same order. What was found damaged before, by `verify` or a reader, and is so still, is not. */
  has(ids: readonly ObjectId[]): Promise<readonly boolean[]>;
  /** Raw bytes of one chunk, or undefined when it is not here. */
  chunk(id: ObjectId): Promise<Uint8Array | undefined>;
  /**
   * The chunks `ids`, in order, as few runs whose bytes are sent one after another: whole blocks as they lie where they
   * fit, the rest re-encoded. All runs of one answer have one coding: zstd as a whole (frames may follow each other, RFC
   * 8878 section 3.1) when `accept` names it and something is compressed, identity as a whole otherwise. Undefined when
   * a chunk is not here. `open` may be called within a minute, also when gc removes the chunks meanwhile.
   */
  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined>;
}

/**
 * Small content-addressed objects other than chunks. A page belongs to every artifact whose index reaches it; a delta
 * object (map or segment payload, id = BLAKE3-256 of its bytes) to the artifacts it was put for.
 */
export type ObjectKind = 'page' | 'delta';

export interface ObjectReader {
  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined>;
}

export interface StoreReader extends ChunkReader, ObjectReader {
  close(): Promise<void>;
}

export interface DeltaReader {
  /** The delta object `id` if it was put for the artifact with root `owner`: knowing its hash opens nothing under another. */
  deltaOf(owner: ObjectId, id: ObjectId): Promise<Uint8Array | undefined>;
}

/** One artifact as it is kept: enough to find everything that belongs to it. */
export interface StoredArtifact {
  readonly namespace: string;
  readonly root: ObjectId;
  readonly size: number;
  readonly spans: number;
}

/**
 * One write in progress. What it has put is invisible to `artifacts` and safe from `gc` until `commit`, which makes it
 * durable and visible at once; `abort`, or a crash, leaves nothing but space for the next gc to take back.
 */
export interface StoreBatch {
  /**
   * Keeps the chunks that are not yet here, or were found damaged, together as one block. Returns how many bytes that took. `frame` is one zstd
   * frame that decodes to exactly these chunks, in order: where all of them are new it may be kept as it is, instead of
   * compressing again.
   */
  putSpan(chunks: readonly VerifiedChunk[], frame?: Uint8Array): Promise<number>;
  putPage(page: VerifiedPage): Promise<void>;
  /** Keeps an object for as long as the artifact with root `owner` lives. Throws `OBJECT_MISMATCH` when `id` is not its hash. */
  putObject(kind: 'delta', id: ObjectId, bytes: Uint8Array, owner: ObjectId): Promise<void>;
  /**
   * Makes the artifacts visible and durable, all or none. Throws `INCOMPLETE_ARTIFACT` when a page or chunk that one of
   * them needs is not here, and `BATCH_CLOSED` after an earlier commit or abort. With `leaseMs` every artifact is leased
   * from the moment it is there, so that no `retain` comes before whoever refers to it; the lease returned holds them all.
   */
  commit(artifacts: readonly StoredArtifact[], leaseMs?: number): Promise<Lease>;
  abort(): Promise<void>;
}

export interface StoreWriter extends StoreReader, DeltaReader {
  begin(): Promise<StoreBatch>;
  artifacts(): Promise<readonly StoredArtifact[]>;
}

export interface GcReport {
  /** Bytes of dead space given up. Their files go once no reader can still be in them (a minute at most). */
  readonly freedBytes: number;
  readonly keptBytes: number;
  /** Bytes copied to get at dead space between live blocks. */
  readonly rewrittenBytes: number;
}

export interface GcOptions {
  /**
   * The delta objects that are still wanted, by the artifact that owns them; all of them when this is not given. Asked once
   * the leases have been read: what a leased artifact owns stays, so that nothing goes between being put and being listed.
   */
  readonly wantedDeltas?: () => Promise<ReadonlyMap<ObjectId, ReadonlySet<ObjectId>>>;
}

/** What an artifact lacks, or has damaged. */
export interface IncompleteArtifact extends ContentKey {
  /** At most 1,000 ids of pages and chunks. */
  readonly missing: readonly ObjectId[];
}

export interface VerifyReport {
  readonly chunks: number;
  readonly objects: number;
  /** Stored bytes read. */
  readonly bytes: number;
  /** Ids of chunks and objects whose stored bytes are not what the id says. */
  readonly damaged: readonly ObjectId[];
  readonly incomplete: readonly IncompleteArtifact[];
}

export interface VerifyOptions {
  /** Called now and then with stored bytes done and to do. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Forget what is damaged, instead of noting it: either way it is written again when it is put again. Default false. */
  readonly discard?: boolean;
}

export interface Lease {
  release(): Promise<void>;
}

export interface PrunableStore extends StoreWriter {
  /** Drops an artifact from the roots; says whether it was there. Its space comes back with the next gc, when no lease holds it. */
  forget(key: ContentKey): Promise<boolean>;
  /**
   * Forgets every artifact that is neither leased nor named by `live`, and returns those. `live` is asked once the leases
   * have been read: an artifact whose lease was given up before that must be among its answer when it is wanted.
   */
  retain(live: () => Promise<readonly ContentKey[]>): Promise<readonly StoredArtifact[]>;
  /**
   * Keeps everything under `root` from gc until released or `ttlMs` has passed, also across restarts. Throws
   * `NO_SUCH_ARTIFACT` unless an artifact or another lease holds the root at the time.
   */
  lease(root: ObjectId, ttlMs: number): Promise<Lease>;
  gc(options?: GcOptions): Promise<GcReport>;
  /** Reads and hashes everything. */
  verify(options?: VerifyOptions): Promise<VerifyReport>;
}

/** A bounded store that makes room by itself, for a gateway: what was not used for long goes first. */
export interface CacheStore extends StoreReader, DeltaReader {
  /** As `StoreBatch.putSpan`. */
  putSpan(chunks: readonly VerifiedChunk[], frame?: Uint8Array): Promise<number>;
  putPage(page: VerifiedPage): Promise<void>;
  /** As `StoreBatch.putObject`, save that it may go before its owner does. */
  putObject(kind: 'delta', id: ObjectId, bytes: Uint8Array, owner: ObjectId): Promise<void>;
  /** Remembers, across restarts, that parts of `artifact` may be here. At most 4,096 artifacts, the oldest go first. */
  note(artifact: StoredArtifact): Promise<void>;
  artifacts(): Promise<readonly StoredArtifact[]>;
  /** Bytes on the medium now, and at most. */
  usage(): Promise<{ readonly bytes: number; readonly maxBytes: number }>;
}
