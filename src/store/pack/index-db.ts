import { rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { StatementSync } from 'node:sqlite';
import { ShoalError } from '../../core/errors.ts';
import { idToBytes } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ContentKey } from '../../core/wire.ts';
import type { ObjectKind, StoredArtifact } from '../types.ts';
import { codingNumber, objectKindNumber, objectKindOf } from './format.ts';
import type { BlockHead, ObjectHead } from './format.ts';
import { DOUBTS, SCHEMA, blockOf, idOf, objectOf, packOf } from './index-rows.ts';
import type { BlockRow, ChunkRow, ClaimRow, ObjectRow, PackRow, Row } from './index-rows.ts';

/**
 * The index of the packs: where each chunk and object lies. It is a cache of what the packs and the catalog say, and can
 * be lost, old or thrown away. Rows are written inside one open transaction that is committed only after the packs they
 * speak of are synced; until then only this connection sees them. Memory: SQLite's page cache, bounded below.
 */

const VERSION = 1;

/** What can be found damaged. */
export type Doubt = 'block' | 'object';

const doubtOf = (kind: Doubt, number: number): string => `${kind} ${String(number)}`;

/** KiB of SQLite page cache. */
const CACHE_KIB = 32 * 1024;

export class PackIndex {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #writing = false;
  #nextChunk = 0;
  /** What is in doubt, if anything: nearly always it is nothing, and then nobody looks further. */
  #doubts: ReadonlySet<string> = new Set();

  /** `path` is a file, or `:memory:`. A file that is no index, or one of another version, is replaced by an empty index. */
  static open(path: string): PackIndex {
    try {
      const index = new PackIndex(path);
      if (index.#version() === VERSION) return index;
      index.close();
    } catch (error) {
      if (![11, 26].includes((error as { readonly errcode?: number }).errcode ?? 0)) throw indexError(error);
    }
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    return new PackIndex(path);
  }

  private constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 30_000 });
    // FULL: a committed transaction is on the medium, so the index is never older than what it has acknowledged.
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -${String(CACHE_KIB)}; PRAGMA temp_store = MEMORY;`);
    if (this.#version() === 0) this.#db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${String(VERSION)}; COMMIT;`);
    this.refresh();
  }

  #version(): number {
    return (this.#db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
  }

  /** Takes note of what other processes wrote. */
  refresh(): void {
    this.#nextChunk = (this.#get('SELECT coalesce(max(first + count), 0) AS next FROM blocks')?.next as number | undefined) ?? 0;
    // Stores that were made before there were doubts have no table for them until there is one.
    const known = this.#get("SELECT 1 AS one FROM sqlite_master WHERE type = 'table' AND name = 'doubts'") !== undefined;
    this.#doubts = new Set(known ? this.#all('SELECT kind, number FROM doubts').map(({ kind, number }) => doubtOf(kind as Doubt, number as number)) : []);
  }

  /** Whether a block or object was found damaged, and has not been looked at since. */
  isDoubted(kind: Doubt, number: number): boolean {
    return this.#doubts.size > 0 && this.#doubts.has(doubtOf(kind, number));
  }

  get hasDoubts(): boolean {
    return this.#doubts.size > 0;
  }

  /** Notes that a block or object was found damaged: whoever puts what it holds looks whether it is. */
  doubt(kind: Doubt, number: number): void {
    this.#doubts = new Set(this.#doubts).add(doubtOf(kind, number));
    this.#run(DOUBTS);
    this.#run('INSERT OR IGNORE INTO doubts VALUES (?, ?)', kind, number);
  }

  /** It turned out to be sound, or is somewhere else now. */
  settle(kind: Doubt, number: number): void {
    const left = new Set(this.#doubts);
    if (!left.delete(doubtOf(kind, number))) return;
    this.#doubts = left;
    this.#run('DELETE FROM doubts WHERE kind = ? AND number = ?', kind, number);
  }

  chunk(id: ObjectId): ChunkRow | undefined {
    return this.#get('SELECT block, position, offset, length FROM chunks WHERE id = ?', idToBytes(id)) as ChunkRow | undefined;
  }

  block(id: number): BlockRow | undefined {
    const row = this.#get('SELECT * FROM blocks WHERE id = ?', id);
    return row && blockOf(row);
  }

  blocksOf(pack: number): readonly BlockRow[] {
    return this.#all('SELECT * FROM blocks WHERE pack = ? ORDER BY offset', pack).map(blockOf);
  }

  /** The chunks that are read from a block. Looks through all chunks of the store: an index by block would be a third of the database. */
  chunksOf(block: number): readonly (ChunkRow & { readonly id: ObjectId })[] {
    return this.#all('SELECT * FROM chunks WHERE block = ?', block).map((row) => ({
      id: idOf(row.id), block, position: row.position as number, offset: row.offset as number, length: row.length as number,
    }));
  }

  object(kind: ObjectKind, id: ObjectId): ObjectRow | undefined {
    const row = this.#get('SELECT * FROM objects WHERE kind = ? AND id = ?', objectKindNumber(kind), idToBytes(id));
    return row && objectOf(row);
  }

  objectsOf(pack: number): readonly ObjectRow[] {
    return this.#all('SELECT * FROM objects WHERE pack = ? ORDER BY offset', pack).map(objectOf);
  }

  claimsIn(pack: number): readonly ClaimRow[] {
    return this.#all('SELECT owner, kind, id FROM claims WHERE pack = ?', pack).map((row) => ({ owner: idOf(row.owner), kind: objectKindOf(row.kind as number), id: idOf(row.id) }));
  }

  hasClaim(owner: ObjectId, kind: ObjectKind, id: ObjectId): boolean {
    return this.#get('SELECT 1 AS one FROM claims WHERE owner = ? AND kind = ? AND id = ?', idToBytes(owner), objectKindNumber(kind), idToBytes(id)) !== undefined;
  }

  /** The objects that were put for `owner`. */
  ownedBy(owner: ObjectId): readonly { readonly number: number; readonly id: ObjectId }[] {
    return this.#all('SELECT objects.number AS number, objects.id AS id FROM claims JOIN objects USING (kind, id) WHERE owner = ?', idToBytes(owner)).map((row) => ({ number: row.number as number, id: idOf(row.id) }));
  }

  packs(): readonly PackRow[] {
    return this.#all('SELECT * FROM packs ORDER BY number').map(packOf);
  }

  pack(number: number): PackRow | undefined {
    const row = this.#get('SELECT * FROM packs WHERE number = ?', number);
    return row && packOf(row);
  }

  /** Largest ids given out: what came later was put later. */
  newest(): { readonly block: number; readonly object: number } {
    const row = this.#get('SELECT (SELECT coalesce(max(id), 0) FROM blocks) AS block, (SELECT coalesce(max(number), 0) FROM objects) AS object');
    return { block: row?.block as number, object: row?.object as number };
  }

  /** Bytes of all packs, retired ones included. */
  bytes(): number {
    return this.#get('SELECT coalesce(sum(length), 0) AS bytes FROM packs')?.bytes as number;
  }

  artifacts(): readonly StoredArtifact[] {
    return this.#all('SELECT * FROM artifacts ORDER BY namespace, root').map((row) => ({
      namespace: row.namespace as string, root: idOf(row.root), size: row.size as number, spans: row.spans as number,
    }));
  }

  holdsRoot(root: ObjectId): boolean {
    return this.#get('SELECT 1 AS one FROM artifacts WHERE root = ? LIMIT 1', idToBytes(root)) !== undefined;
  }

  addArtifact({ namespace, root, size, spans }: StoredArtifact): void {
    this.#run('INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?)', namespace, idToBytes(root), size, spans);
  }

  removeArtifact({ namespace, root }: ContentKey): void {
    this.#run('DELETE FROM artifacts WHERE namespace = ? AND root = ?', namespace, idToBytes(root));
  }

  addPack(number: number, uid: Uint8Array, length: number): void {
    this.#run('INSERT OR REPLACE INTO packs VALUES (?, ?, ?, NULL)', number, uid, length);
  }

  setLength(pack: number, length: number): void {
    this.#run('UPDATE packs SET length = ? WHERE number = ?', length, pack);
  }

  /** Forgets what lies in a pack whose live content is elsewhere; the file stays for readers that are still in it. */
  retire(pack: number, now: number): void {
    this.#run('DELETE FROM claims WHERE pack = ?', pack);
    this.#run('UPDATE packs SET retired = ? WHERE number = ?', now, pack);
  }

  dropPack(pack: number): void {
    this.#run('DELETE FROM packs WHERE number = ?', pack);
  }

  /** Forgets every chunk and object in a pack. */
  dropContents(pack: number): void {
    if (this.hasDoubts) for (const { id } of this.blocksOf(pack)) this.settle('block', id);
    this.#run('DELETE FROM chunks WHERE block IN (SELECT id FROM blocks WHERE pack = ?)', pack);
    this.#run('DELETE FROM blocks WHERE pack = ?', pack);
    this.#run('DELETE FROM objects WHERE pack = ?', pack);
  }

  /** Forgets everything but the artifacts: the packs are about to be read again. */
  clear(): void {
    for (const table of ['chunks', 'blocks', 'objects', 'claims', 'packs', ...(this.hasDoubts ? ['doubts'] : [])]) this.#run(`DELETE FROM ${table}`);
    this.#doubts = new Set();
  }

  /** Adds a block and those of its chunks that are nowhere else. Returns its number. */
  addBlock(pack: number, offset: number, head: BlockHead): number {
    const id = Number(this.#run(
      'INSERT INTO blocks (pack, offset, head, stored, raw, coding, crc, count, first) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      pack, offset, head.head, head.stored, head.raw, codingNumber(head.coding), head.crc, head.chunks.length, this.#nextChunk,
    ).lastInsertRowid);
    this.#nextChunk += head.chunks.length;
    let at = 0;
    for (const [position, chunk] of head.chunks.entries()) {
      this.#run('INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?)', idToBytes(chunk.id), id, position, at, chunk.length);
      at += chunk.length;
    }
    return id;
  }

  /** Points a block at its copy elsewhere. Its chunks may be fewer than before: the ones left out have no rows any more. */
  moveBlock(id: number, pack: number, offset: number, head: BlockHead): void {
    this.settle('block', id);
    this.#run('UPDATE blocks SET pack = ?, offset = ?, head = ?, stored = ?, raw = ?, coding = ?, crc = ?, count = ? WHERE id = ?',
      pack, offset, head.head, head.stored, head.raw, codingNumber(head.coding), head.crc, head.chunks.length, id);
    let at = 0;
    for (const [position, chunk] of head.chunks.entries()) {
      this.#run('UPDATE chunks SET position = ?, offset = ? WHERE id = ? AND block = ?', position, at, idToBytes(chunk.id), id);
      at += chunk.length;
    }
  }

  removeChunk(id: ObjectId, of: number): void {
    this.#run('DELETE FROM chunks WHERE id = ? AND block = ?', idToBytes(id), of);
  }

  removeBlock(id: number): void {
    this.settle('block', id);
    this.#run('DELETE FROM blocks WHERE id = ?', id);
  }

  /** Adds an object, or another owner of one. Returns its number. */
  addObject(pack: number, offset: number, head: ObjectHead): number {
    const kind = objectKindNumber(head.object);
    const id = idToBytes(head.id);
    if (head.owner !== undefined) this.#run('INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?)', idToBytes(head.owner), kind, id, pack);
    if (head.kind === 'object') {
      this.#run('INSERT OR IGNORE INTO objects (kind, id, pack, offset, head, stored, crc) VALUES (?, ?, ?, ?, ?, ?, ?)', kind, id, pack, offset, head.head, head.stored, head.crc);
    }
    return this.object(head.object, head.id)?.number ?? 0;
  }

  moveObject(number: number, pack: number, offset: number, head: ObjectHead): void {
    this.#run('UPDATE objects SET pack = ?, offset = ?, head = ? WHERE number = ?', pack, offset, head.head, number);
  }

  moveClaim(claim: ClaimRow, pack: number): void {
    this.#run('UPDATE claims SET pack = ? WHERE owner = ? AND kind = ? AND id = ?', pack, idToBytes(claim.owner), objectKindNumber(claim.kind), idToBytes(claim.id));
  }

  removeObject({ number, kind, id }: ObjectRow): void {
    this.#run('DELETE FROM objects WHERE number = ?', number);
    this.#run('DELETE FROM claims WHERE kind = ? AND id = ?', objectKindNumber(kind), idToBytes(id));
  }

  /** Makes what was written durable. Only after the packs it speaks of were synced. Says whether there was anything. */
  commit(): boolean {
    if (!this.#writing) return false;
    try {
      this.#db.exec('COMMIT');
    } catch (error) {
      throw indexError(error);
    }
    this.#writing = false;
    return true;
  }

  rollback(): void {
    if (this.#writing && this.#db.isTransaction) this.#db.exec('ROLLBACK');
    this.#writing = false;
    this.refresh();
  }

  /** A copy of what is committed, as its own file: for tests and backups. */
  copyTo(path: string): void {
    this.#db.prepare('VACUUM INTO ?').run(path);
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }

  #get(sql: string, ...values: (number | string | Uint8Array)[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  #all(sql: string, ...values: (number | string | Uint8Array)[]): Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  #run(sql: string, ...values: (number | string | Uint8Array)[]): { readonly lastInsertRowid: number | bigint } {
    try {
      if (!this.#writing) {
        this.#statement('BEGIN IMMEDIATE').run();
        this.#writing = true;
      }
      return this.#statement(sql).run(...values);
    } catch (error) {
      throw indexError(error);
    }
  }
}

/** SQLite's codes of a full disk, and of files that this process may not write or open: these are no damage, and nothing is to be removed. */
const [FULL, READ_ONLY, CANNOT_OPEN] = [13, 8, 14];
const HINTS: Readonly<Record<number, string>> = {
  [FULL]: 'Free some space and try again.',
  [READ_ONLY]: 'Run it as the user that the store belongs to, where it may be written.',
  [CANNOT_OPEN]: 'Run it as the user that the store belongs to, where it may be written.',
};

function indexError(cause: unknown): ShoalError {
  if (cause instanceof ShoalError) return cause;
  const { errcode = 0 } = cause as { readonly errcode?: number };
  const full = errcode === FULL;
  return new ShoalError(full ? 'DISK_FULL' : 'STORE_INDEX', `the store's index: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
    retry: full ? 'again' : 'never',
    hint: HINTS[errcode & 0xff] ?? 'The index can be removed: it is made again from the packs when the store is opened.',
  });
}
