import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ShoalError, messageOf } from '../core/errors.ts';
import { RUNS_COUNTED_MS, RUNS_KEPT_MS, RUNS_MAX_ROWS, RUNS_NOTE_MS } from '../core/limits.ts';
import type { Run } from '../core/runs.ts';

/** How many devices said lately that they run a release. */
export interface RunCount {
  readonly product: string;
  readonly sequence: number;
  readonly devices: number;
}

export interface DeviceRun extends Run {
  readonly device: string;
  /** When it last said so, milliseconds since the epoch. */
  readonly seen: number;
}

const SCHEMA = `
CREATE TABLE runs (device TEXT NOT NULL, product TEXT NOT NULL, sequence INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (device, product)) STRICT, WITHOUT ROWID;
CREATE INDEX runs_seen ON runs (seen);
`;
const VERSION = 1;
/** Rows that go and come are counted every so many notes. */
const PRUNE_EVERY = 4_096;

/**
 * Which releases devices run, as they say themselves: one SQLite file beside the home, so that commands read it while an origin
 * runs. Nothing depends on it but which deltas are worth making: it may be lost, and after a power cut it may be some minutes old.
 */
export class RunningReleases {
  readonly #db: DatabaseSync;
  #notes = 0;

  /** Throws `RUNS` when the file cannot be used. */
  static open(home: string): RunningReleases {
    const path = join(home, 'runs.db');
    try {
      return new RunningReleases(path);
    } catch (cause) {
      throw new ShoalError('RUNS', `${path}, what devices run, cannot be used: ${messageOf(cause)}`, { cause, ids: { path }, hint: 'It may be removed: devices say it again within a day.' });
    }
  }

  private constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 2_000 });
    this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE;');
    const { user_version: version } = this.#db.prepare('PRAGMA user_version').get() as { readonly user_version: number };
    if (version === 0) this.#db.exec(`${SCHEMA} PRAGMA user_version = ${String(VERSION)};`);
    this.#db.exec('COMMIT');
    if (version > VERSION) throw new Error('it was made by a newer program');
  }

  /** `now`: milliseconds since the epoch. What is known already is written again once an hour. */
  note(device: string, runs: readonly Run[], now: number): void {
    for (const { product, sequence } of runs) {
      const known = this.#db.prepare('SELECT sequence, seen FROM runs WHERE device = ? AND product = ?').get(device, product) as { readonly sequence: number; readonly seen: number } | undefined;
      if (known?.sequence === sequence && known.seen <= now && now - known.seen < RUNS_NOTE_MS) continue;
      this.#db.prepare('INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)').run(device, product, sequence, now);
      if (this.#notes++ % PRUNE_EVERY === 0) this.#prune(now);
    }
  }

  /** Of devices that said something in the last thirty days; the release that most devices run first. */
  counts(now: number): readonly RunCount[] {
    const rows = this.#db.prepare('SELECT product, sequence, COUNT(*) AS devices FROM runs WHERE seen > ? GROUP BY product, sequence ORDER BY product, devices DESC, sequence DESC').all(now - RUNS_COUNTED_MS);
    return rows.map(({ product, sequence, devices }) => ({ product: product as string, sequence: sequence as number, devices: devices as number }));
  }

  /** All that is remembered, by device. */
  all(): readonly DeviceRun[] {
    const rows = this.#db.prepare('SELECT * FROM runs ORDER BY device, product').all();
    return rows.map(({ device, product, sequence, seen }) => ({ device: device as string, product: product as string, sequence: sequence as number, seen: seen as number }));
  }

  close(): void {
    this.#db.close();
  }

  /** Those who said nothing for longest go first. */
  #prune(now: number): void {
    this.#db.prepare('DELETE FROM runs WHERE seen <= ?').run(now - RUNS_KEPT_MS);
    const { rows } = this.#db.prepare('SELECT COUNT(*) AS rows FROM runs').get() as { readonly rows: number };
    if (rows > RUNS_MAX_ROWS) this.#db.prepare('DELETE FROM runs WHERE (device, product) IN (SELECT device, product FROM runs ORDER BY seen LIMIT ?)').run(rows - RUNS_MAX_ROWS);
  }
}
