import { idFromBytes } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { Coding, ObjectKind } from '../types.ts';
import { codingOf, objectKindOf } from './format.ts';

/** Tables of the index, and what their rows are in the program. */

export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS packs (number INTEGER PRIMARY KEY, uid BLOB NOT NULL, length INTEGER NOT NULL, retired INTEGER);
  CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY AUTOINCREMENT, pack INTEGER NOT NULL, offset INTEGER NOT NULL, head INTEGER NOT NULL,
    stored INTEGER NOT NULL, raw INTEGER NOT NULL, coding INTEGER NOT NULL, crc INTEGER NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS blocks_by_pack ON blocks (pack);
  CREATE TABLE IF NOT EXISTS chunks (id BLOB PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS objects (number INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, id BLOB NOT NULL, pack INTEGER NOT NULL,
    offset INTEGER NOT NULL, head INTEGER NOT NULL, stored INTEGER NOT NULL, crc INTEGER NOT NULL, UNIQUE (kind, id));
  CREATE INDEX IF NOT EXISTS objects_by_pack ON objects (pack);
  CREATE TABLE IF NOT EXISTS claims (owner BLOB NOT NULL, kind INTEGER NOT NULL, id BLOB NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (owner, kind, id)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS claims_by_object ON claims (kind, id);
  CREATE TABLE IF NOT EXISTS artifacts (namespace TEXT NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL, spans INTEGER NOT NULL, PRIMARY KEY (namespace, root)) WITHOUT ROWID;
`;

/** Blocks and objects that were found damaged: made when the first one is. */
export const DOUBTS = 'CREATE TABLE IF NOT EXISTS doubts (kind TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (kind, number)) WITHOUT ROWID';

export interface PackRow {
  readonly number: number;
  readonly uid: Uint8Array;
  /** Bytes of header and records known here. */
  readonly length: number;
  /** When its live content had moved elsewhere (milliseconds since the epoch); undefined while it is in use. */
  readonly retired: number | undefined;
}

export interface ChunkRow {
  readonly block: number;
  /** Place among the chunks of the block. */
  readonly position: number;
  /** Byte offset in the decoded block. */
  readonly offset: number;
  readonly length: number;
}

/** Where a payload lies. */
export interface Place {
  readonly pack: number;
  readonly offset: number;
  /** Bytes of the record before its payload. */
  readonly head: number;
  readonly stored: number;
  readonly crc: number;
}

export interface BlockRow extends Place {
  readonly id: number;
  readonly raw: number;
  readonly coding: Coding;
  readonly count: number;
  /** Number of its first chunk in the running count of all chunks ever stored: the key of liveness bitmaps. */
  readonly first: number;
}

export interface ObjectRow extends Place {
  readonly number: number;
  readonly kind: ObjectKind;
  readonly id: ObjectId;
}

export interface ClaimRow {
  readonly owner: ObjectId;
  readonly kind: ObjectKind;
  readonly id: ObjectId;
}

/** A row as SQLite gives it. */
export type Row = Record<string, number | string | Uint8Array | null>;

export const idOf = (value: Row[string] | undefined): ObjectId => idFromBytes(value as Uint8Array);
const placeOf = (row: Row): Place => ({ pack: row.pack as number, offset: row.offset as number, head: row.head as number, stored: row.stored as number, crc: row.crc as number });
export const blockOf = (row: Row): BlockRow => ({
  ...placeOf(row), id: row.id as number, raw: row.raw as number, coding: codingOf(row.coding as number), count: row.count as number, first: row.first as number,
});
export const packOf = (row: Row): PackRow => ({
  number: row.number as number, uid: row.uid as Uint8Array, length: row.length as number, retired: (row.retired as number | null) ?? undefined,
});
export const objectOf = (row: Row): ObjectRow => ({ ...placeOf(row), number: row.number as number, kind: objectKindOf(row.kind as number), id: idOf(row.id) });
