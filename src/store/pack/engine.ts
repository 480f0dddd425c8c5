import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ShoalError } from '../../core/errors.ts';
import { makeDirectories, removeTemporaries } from '../durable.ts';
import type { Files } from '../files.ts';
import { nodeFiles } from '../files.ts';
import { ProcessLock } from '../process-lock.ts';
import { Serial } from '../serial.ts';
import { Appender } from './appender.ts';
import { PackIndex } from './index-db.ts';
import type { Doubt } from './index-db.ts';
import { PinBoard } from './pins.ts';
import { PackPool } from './pool.ts';
import { Putter } from './put.ts';
import { PackReader } from './reader.ts';
import type { Touch } from './reader.ts';
import { recover, removeRetired } from './recover.ts';
import type { SweepParts } from './sweep.ts';

export interface PackOptions {
  /** Default: the file system. */
  readonly files?: Files;
  /** Where the index is: a path on a real disk, or `:memory:` for none that lasts. Default: `index.sqlite` in the store. */
  readonly indexPath?: string;
  /** Bytes in a pack file; a larger record gets one of its own. Default 256 MiB. */
  readonly packBytes?: number;
  /** zstd level of blocks that are put, 1 … 22. Default 9; publishing may take 19 (docs/store.md has the figures). */
  readonly level?: number;
  /** Bytes of decoded blocks kept for reading chunks one by one. Default 16 MiB. */
  readonly decodedBytes?: number;
  /** Bytes of the disk that only gc may use, so that it can make room when the rest is full. Default 64 MiB. */
  readonly reserveBytes?: number;
  /** How long a reader may take between asking for runs and opening them, milliseconds. Default one minute. */
  readonly graceMs?: number;
  readonly now?: () => number;
  readonly randomBytes?: (count: number) => Uint8Array;
  /** Called when the index was committed: for tests that keep copies of it. */
  readonly onCommit?: () => void;
}

const DEFAULTS = { packBytes: 256 * 1024 * 1024, level: 9, decodedBytes: 16 * 1024 * 1024, graceMs: 60_000, reserveBytes: 64 * 1024 * 1024 };

/**
 * Packs, index and lock together: what the pack store and the pack cache are built on. Reading needs no lock. Writing
 * happens in sessions: the first writer in takes the lock and recovers, the last one out syncs and gives it back, so that
 * a publisher and a running origin can share one store.
 */
export class PackEngine {
  readonly files: Files;
  readonly directory: string;
  readonly packs: string;
  readonly index: PackIndex;
  readonly reader: PackReader;
  readonly appender: Appender;
  readonly putter: Putter;
  readonly pins = new PinBoard();
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly #pool: PackPool;
  readonly #lock: ProcessLock;
  readonly #level: number;
  readonly #graceMs: number;
  #writers = 0;
  readonly #turns = new Serial();
  #thorough = true;
  #sweeper: NodeJS.Timeout | undefined;
  readonly #prepare: () => Promise<void>;
  readonly #noting = new Set<string>();
  #closed = false;

  /** `prepare` runs in every session after recovery of the packs and before anything is written. */
  static async open(directory: string, options: PackOptions, prepare: (engine: PackEngine) => Promise<void>, touch?: Touch): Promise<PackEngine> {
    const files = options.files ?? nodeFiles;
    const packs = join(directory, 'packs');
    await makeDirectories(files, packs);
    const engine = new PackEngine(files, directory, packs, options, prepare, touch);
    // Whoever writes at the moment has recovered the store; otherwise it is done now, so that reading finds everything.
    if (engine.#lock.tryAcquire()) {
      engine.#lock.release();
      await engine.enter();
      await engine.leave();
    }
    return engine;
  }

  private constructor(files: Files, directory: string, packs: string, options: PackOptions, prepare: (engine: PackEngine) => Promise<void>, touch?: Touch) {
    const settings = { ...DEFAULTS, ...options };
    const indexPath = options.indexPath ?? join(directory, 'index.sqlite');
    this.files = files;
    this.directory = directory;
    this.packs = packs;
    this.now = options.now ?? Date.now;
    this.randomBytes = options.randomBytes ?? ((count) => randomBytes(count));
    this.index = PackIndex.open(indexPath);
    this.#pool = new PackPool(files, packs);
    this.#lock = new ProcessLock(indexPath === ':memory:' || files !== nodeFiles ? undefined : join(directory, 'writer.lock'));
    this.#level = settings.level;
    this.#graceMs = settings.graceMs;
    this.reader = new PackReader(this.index, this.#pool, settings.decodedBytes, (kind, number) => { this.#doubt(kind, number); }, touch);
    this.appender = new Appender({
      files, directory: packs, index: this.index, pool: this.#pool, packBytes: settings.packBytes, reserveBytes: settings.reserveBytes, randomBytes: this.randomBytes, onCommit: options.onCommit,
    });
    this.putter = new Putter(this.index, this.reader, this.appender, settings.level);
    this.#prepare = () => prepare(this);
  }

  /** What sweeping needs. */
  get sweepParts(): SweepParts {
    return { index: this.index, pool: this.#pool, reader: this.reader, appender: this.appender, level: this.#level, now: this.now };
  }

  get verifyParts(): { readonly index: PackIndex; readonly pool: PackPool; readonly reader: PackReader } {
    return { index: this.index, pool: this.#pool, reader: this.reader };
  }

  get #recovery(): Parameters<typeof recover>[0] {
    return { files: this.files, directory: this.packs, index: this.index, pool: this.#pool };
  }

  /** Begins writing. Every `enter` that returned needs one `leave`. */
  enter(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#closed) throw new ShoalError('STORE_STOPPED', 'the store was closed', { retry: 'never' });
      if (this.#writers === 0) await this.#begin();
      this.#writers++;
    });
  }

  leave(): Promise<void> {
    return this.#turns.run(async () => {
      if (--this.#writers === 0) await this.#end();
    });
  }

  /** Runs `work` as a writer. */
  async writing<T>(work: () => Promise<T>): Promise<T> {
    await this.enter();
    try {
      return await work();
    } finally {
      await this.leave();
    }
  }

  /** Removes the files of retired packs that no reader can be in any more. Only while writing. */
  async removeRetired(graceMs: number = this.#graceMs): Promise<void> {
    // First of all durable: that they are retired, and the copies of what was in them.
    await this.appender.flush();
    await removeRetired(this.#recovery, this.now() - graceMs);
    await this.appender.flush();
    const waiting = this.index.packs().some(({ retired }) => retired !== undefined);
    clearTimeout(this.#sweeper);
    // Unreferenced: a process that ends leaves the rest to the next one that writes.
    this.#sweeper = waiting ? setTimeout(() => void this.writing(() => this.removeRetired()).catch(() => undefined), this.#graceMs + 1).unref() : undefined;
  }

  /** Notes beside reading what was found damaged, for whoever puts it again; it is found again when that fails. */
  #doubt(kind: Doubt, number: number): void {
    if (this.#closed || this.index.isDoubted(kind, number) || this.#noting.has(`${kind} ${String(number)}`)) return;
    this.#noting.add(`${kind} ${String(number)}`);
    void this.writing(async () => Promise.resolve(this.index.doubt(kind, number)))
      .catch(() => undefined)
      .finally(() => this.#noting.delete(`${kind} ${String(number)}`));
  }

  /** Bytes of all packs, retired ones and what is not yet synced included. */
  bytes(): number {
    return this.index.bytes() + this.appender.unsynced;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#sweeper);
    await this.#turns.run(() => Promise.resolve());
    if (this.#writers > 0) {
      this.#writers = 0;
      await this.#end();
    }
    await this.#pool.close();
    this.index.close();
  }

  async #begin(): Promise<void> {
    await this.#lock.acquire({ code: 'STORE_BUSY', doing: `writing to ${this.directory}`, patienceMs: 60_000 });
    try {
      this.index.refresh();
      await removeTemporaries(this.files, this.directory);
      this.appender.start(await recover(this.#recovery, this.#thorough));
      this.#thorough = false;
      await removeRetired(this.#recovery, this.now() - this.#graceMs);
      await this.#prepare();
      await this.appender.flush();
    } catch (error) {
      this.index.rollback();
      this.#lock.release();
      throw error;
    }
  }

  async #end(): Promise<void> {
    try {
      await this.appender.stop();
    } catch {
      // What was acknowledged was flushed before; the rest is looked for by the next session's recovery.
      this.index.rollback();
    } finally {
      this.#lock.release();
    }
  }
}
