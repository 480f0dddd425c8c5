import { ShoalError } from '../../core/errors.ts';
import { SPAN_MAX_BYTES } from '../../core/limits.ts';
import type { Files, OpenFile } from '../files.ts';
import { HEAD_MAX_BYTES, PACK_HEADER_BYTES, UID_BYTES, encodePackHeader, encodeRecord, markerOf } from './format.ts';
import type { NewRecord, RecordHead } from './format.ts';
import type { PackIndex } from './index-db.ts';
import type { PackPool } from './pool.ts';

/** Appended bytes after which packs are synced and the index is committed, so that neither grows without end. */
const FLUSH_BYTES = 128 * 1024 * 1024;
const RECORD_BYTES = HEAD_MAX_BYTES + SPAN_MAX_BYTES;

interface Current {
  readonly number: number;
  readonly file: OpenFile;
  readonly marker: Uint8Array;
  length: number;
}

export interface AppenderOptions {
  readonly files: Files;
  /** Where the packs are. */
  readonly directory: string;
  readonly index: PackIndex;
  readonly pool: PackPool;
  /** A pack is closed when the next record would take it above this. */
  readonly packBytes: number;
  /** Bytes of the disk left alone by everything but gc, so that there is room to make room. */
  readonly reserveBytes: number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly onCommit: (() => void) | undefined;
}

/**
 * Appends records to the last pack, one at a time, and keeps the order that makes a crash harmless: write → sync the pack
 * → commit the index. One instance writes at a time (see lock.ts).
 */
export class Appender {
  readonly #options: AppenderOptions;
  #current: Current | undefined;
  #next = 1;
  #unsynced = 0;
  #chain: Promise<unknown> = Promise.resolve();
  #failure: Error | undefined;
  readonly #avoided = new Set<number>();
  /** Records are written one at a time: all of them are put together here. It grows with them. */
  #memory = new Uint8Array(0);

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** Bytes appended that are not in the index's lengths yet. */
  get unsynced(): number {
    return this.#unsynced;
  }

  /** Begins a session: `next` is a number that no pack has or had. */
  start(next: number): void {
    this.#next = next;
    this.#failure = undefined;
    this.#unsynced = 0;
    this.#avoided.clear();
  }

  #memoryFor(record: NewRecord): Uint8Array {
    const wanted = HEAD_MAX_BYTES + (record.kind === 'claim' ? 0 : record.payload.byteLength);
    if (wanted > this.#memory.byteLength) this.#memory = new Uint8Array(Math.max(wanted, Math.min(RECORD_BYTES, 2 * wanted)));
    return this.#memory;
  }

  /** Like `append`, but leaves the reserve alone: throws `DISK_FULL` before the disk is. */
  appendNew<T, Head extends RecordHead>(record: NewRecord, indexed: (pack: number, offset: number, head: Head) => T): Promise<T> {
    return this.append(record, indexed, this.#options.reserveBytes);
  }

  /** Writes a record; `indexed` notes where it lies, in the same turn in which it becomes findable. */
  append<T, Head extends RecordHead>(record: NewRecord, indexed: (pack: number, offset: number, head: Head) => T, reserve = 0): Promise<T> {
    return this.#inOrder(async () => {
      if (reserve > 0) await this.#checkSpace(reserve);
      const current = await this.#room(record);
      const { bytes, head } = encodeRecord(current.marker, record, this.#memoryFor(record));
      const offset = current.length;
      await current.file.write(bytes, offset);
      current.length += bytes.byteLength;
      this.#unsynced += bytes.byteLength;
      const result = indexed(current.number, offset, head as Head);
      if (this.#unsynced >= FLUSH_BYTES) await this.#flush();
      return result;
    });
  }

  /** Makes everything appended, and every change of the index so far, durable. */
  flush(): Promise<void> {
    return this.#inOrder(() => this.#flush());
  }

  /** Writes nothing more to a pack in this session: it is being emptied. */
  async avoid(pack: number): Promise<void> {
    this.#avoided.add(pack);
    await this.#inOrder(async () => {
      if (this.#current?.number === pack) await this.#seal();
    });
  }

  /** Ends a session: what can still be made durable is. */
  async stop(): Promise<void> {
    try {
      await this.flush();
    } finally {
      const current = this.#current;
      this.#current = undefined;
      await current?.file.close();
    }
  }

  async #checkSpace(reserve: number): Promise<void> {
    const { files, directory } = this.#options;
    const free = await files.free(directory);
    if (free !== undefined && free < reserve) {
      throw new ShoalError('DISK_FULL', `${directory}: only ${String(free)} bytes of the disk are free, and the last ${String(reserve)} are kept for gc`, {
        ids: { path: directory, free }, retry: 'again', hint: 'Forget old releases and run gc, or free some space, and try again.',
      });
    }
  }

  async #flush(): Promise<void> {
    const { index } = this.#options;
    try {
      if (this.#current !== undefined && this.#unsynced > 0) {
        await this.#current.file.sync();
        index.setLength(this.#current.number, this.#current.length);
      }
      this.#unsynced = 0;
      if (index.commit()) this.#options.onCommit?.();
    } catch (error) {
      // After a failed sync nothing is known of the bytes before it: give up the session, the next one looks again.
      this.#failure = error as Error;
      index.rollback();
      throw error;
    }
  }

  async #seal(): Promise<void> {
    if (this.#current === undefined) return;
    await this.#flush();
    const { file } = this.#current;
    this.#current = undefined;
    await file.close();
  }

  async #room(record: NewRecord): Promise<Current> {
    const { packBytes } = this.#options;
    const bytes = record.kind === 'claim' ? 0 : record.payload.byteLength;
    if (this.#current !== undefined && this.#current.length > PACK_HEADER_BYTES && this.#current.length + bytes > packBytes) await this.#seal();
    return (this.#current ??= (await this.#reopen(bytes)) ?? (await this.#create()));
  }

  /** The last pack, when it has room: many small sessions must not make many small packs. */
  async #reopen(bytes: number): Promise<Current | undefined> {
    const { files, index, pool, packBytes } = this.#options;
    const last = index.packs().findLast(({ retired }) => retired === undefined);
    if (last === undefined || last.number !== this.#next - 1 || this.#avoided.has(last.number) || last.length + bytes > packBytes) return undefined;
    const file = await files.open(pool.path(last.number), 'update');
    return { number: last.number, file, marker: markerOf(last.uid), length: last.length };
  }

  async #create(): Promise<Current> {
    const { files, directory, index, pool, randomBytes } = this.#options;
    const number = this.#next;
    const uid = randomBytes(UID_BYTES);
    const file = await files.open(pool.path(number), 'replace');
    this.#next++;
    try {
      await file.write(encodePackHeader(uid), 0);
      // The header is on the medium before any record is: whatever is longer than a header has a good one.
      await file.sync();
      await files.syncDirectory(directory);
    } catch (error) {
      await file.close();
      throw error;
    }
    index.addPack(number, uid, PACK_HEADER_BYTES);
    return { number, file, marker: markerOf(uid), length: PACK_HEADER_BYTES };
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#chain.then(() => {
      if (this.#failure !== undefined) {
        throw new ShoalError('STORE_STOPPED', 'the store could not sync earlier writes; abort this batch and begin again', { cause: this.#failure, retry: 'again' });
      }
      return work();
    });
    this.#chain = turn.catch(() => undefined);
    return turn;
  }
}
