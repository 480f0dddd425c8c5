import type { StreamCensus } from '../../container/expand.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { DeltaManifest } from '../manifest.ts';

/** One end of a delta, in memory. Nobody writes to the bytes meanwhile. */
export interface DeltaInput {
  readonly root: ObjectId;
  readonly bytes: Uint8Array;
  /** Of a base: bytes behind these in their buffer that may be written. What streams hold goes there if it fits, or all is copied. */
  readonly roomBehind?: number;
}

export interface MadeDelta {
  readonly manifest: DeltaManifest;
  readonly manifestBytes: Uint8Array;
  /** Map pages and payloads by id, in the order of the manifest. */
  readonly objects: ReadonlyMap<ObjectId, Uint8Array>;
  /** Everything a device fetches. */
  readonly bytes: number;
  /** The compressed streams of the target. */
  readonly census: StreamCensus;
}
