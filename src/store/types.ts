import type { ObjectId } from '../core/ids.ts';
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
  /** The stored bytes, in pieces of bounded size, read as they are asked for. */
  open(): AsyncIterable<Uint8Array>;
}

export interface ChunkReader {
  /** Which of `ids` are here, in the same order. */
  has(ids: readonly ObjectId[]): Promise<readonly boolean[]>;
  /** Raw bytes of one chunk, or undefined when it is not here. */
  chunk(id: ObjectId): Promise<Uint8Array | undefined>;
  /**
   * The chunks `ids`, in order, as the fewest runs: whole blocks as they lie where they fit, the rest re-encoded.
   * Undefined when one of them is not here. `accept` names the codings the reader takes; identity is always taken.
   */
  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined>;
}

/** Small content-addressed objects other than chunks: index pages now, delta maps and segment payloads later. */
export type ObjectKind = 'page' | 'delta';

export interface ObjectReader {
  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined>;
}

export interface StoreReader extends ChunkReader, ObjectReader {
  close(): Promise<void>;
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
  /** Keeps the chunks that are not yet here, together as one block. Returns how many bytes that took. */
  putSpan(chunks: readonly VerifiedChunk[]): Promise<number>;
  putPage(page: VerifiedPage): Promise<void>;
  putObject(kind: ObjectKind, id: ObjectId, bytes: Uint8Array): Promise<void>;
  commit(artifacts: readonly StoredArtifact[]): Promise<void>;
  abort(): Promise<void>;
}

export interface StoreWriter extends StoreReader {
  begin(): Promise<StoreBatch>;
  artifacts(): Promise<readonly StoredArtifact[]>;
}

export interface GcReport {
  readonly freedBytes: number;
  readonly keptBytes: number;
  readonly rewrittenBytes: number;
}

export interface VerifyReport {
  readonly chunks: number;
  readonly bytes: number;
  /** Ids whose stored bytes are not what the id says, or that an artifact needs and that are not here. */
  readonly damaged: readonly ObjectId[];
}

export interface PrunableStore extends StoreWriter {
  /** Drops an artifact from the roots. Its space comes back with the next gc, when no lease holds it. */
  forget(root: ObjectId): Promise<void>;
  /** Keeps everything under `root` from gc until released or `ttlMs` has passed: for readers and half-done transfers. */
  lease(root: ObjectId, ttlMs: number): Promise<{ release(): Promise<void> }>;
  gc(): Promise<GcReport>;
  verify(onProgress?: (done: number, total: number) => void): Promise<VerifyReport>;
}
