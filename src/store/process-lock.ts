import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { ShoalError } from '../core/errors.ts';

/** How long to wait between two tries. */
const RETRY_MS = 20;

/** What is said when somebody else holds a lock for too long. */
export interface Busy {
  readonly code: string;
  /** What the other process has been doing: "writing to the store". */
  readonly doing: string;
  readonly patienceMs: number;
}

/**
 * One at a time among processes: a lock that the system takes back when its holder dies, however it dies. Node
 * has no flock; SQLite's write lock on an empty database is one (fcntl underneath).
 */
export class ProcessLock {
  readonly #path: string | undefined;
  #held: DatabaseSync | undefined;

  /** Without a path there is nothing to lock: what no other process can see. */
  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** Waits for the lock. Throws `busy.code` (again) when its holder keeps it too long. */
  async acquire({ code, doing, patienceMs }: Busy): Promise<void> {
    if (this.#path === undefined) return;
    for (let waited = 0; !this.tryAcquire(); waited += RETRY_MS) {
      if (waited >= patienceMs) {
        throw new ShoalError(code, `another process has been ${doing} for ${String(patienceMs / 1000)} s`, {
          ids: { lock: this.#path }, retry: 'again', hint: 'Wait until it has finished, or stop it.',
        });
      }
      await delay(RETRY_MS);
    }
  }

  /** Takes the lock when it is free. */
  tryAcquire(): boolean {
    if (this.#path === undefined) return true;
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(this.#path, { timeout: 0 });
      // The journal in memory: taking the lock must work on a full disk, or gc could not make room.
      database.exec('PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE;');
      this.#held = database;
      return true;
    } catch (error) {
      database?.close();
      // SQLITE_BUSY; anything else is no lock at all.
      if ((error as { readonly errcode?: number }).errcode === 5) return false;
      throw new ShoalError('STORE_LOCK', `the lock ${this.#path} cannot be taken: ${error instanceof Error ? error.message : String(error)}`, { cause: error, ids: { lock: this.#path } });
    }
  }

  release(): void {
    this.#held?.close();
    this.#held = undefined;
  }
}
