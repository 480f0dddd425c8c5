import type { ObjectId } from '../../core/ids.ts';
import type { Coding, DeltaReader, ObjectKind, Run, StoreReader } from '../types.ts';
import type { PackEngine } from './engine.ts';

/** What the pack store and the pack cache have in common: reading. */
export abstract class EngineReader implements StoreReader, DeltaReader {
  protected readonly engine: PackEngine;

  protected constructor(engine: PackEngine) {
    this.engine = engine;
  }

  has(ids: readonly ObjectId[]): Promise<readonly boolean[]> {
    return this.engine.reader.has(ids);
  }

  chunk(id: ObjectId): Promise<Uint8Array | undefined> {
    return this.engine.reader.chunk(id);
  }

  runs(ids: readonly ObjectId[], accept: readonly Coding[]): Promise<readonly Run[] | undefined> {
    return this.engine.reader.runs(ids, accept);
  }

  object(kind: ObjectKind, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.engine.reader.object(kind, id);
  }

  async deltaOf(owner: ObjectId, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.engine.index.hasClaim(owner, 'delta', id) ? this.engine.reader.object('delta', id) : undefined;
  }

  close(): Promise<void> {
    return this.engine.close();
  }
}
