import { crc32 } from 'node:zlib';
import { ByteReader, ByteWriter } from '../../core/codec.ts';
import { ShoalError } from '../../core/errors.ts';
import { ID_BYTES } from '../../core/ids.ts';
import type { ObjectId } from '../../core/ids.ts';
import { LEAF_MAX_CHUNKS } from '../../core/limits.ts';
import type { ChunkRef } from '../../merkle/page.ts';
import type { Coding, ObjectKind } from '../types.ts';

/**
 * Pack files (docs/store.md): a header, then records, each of which says what it is and carries checksums, so that the
 * index can be made again from the packs alone and a torn end is recognised.
 *
 *   header  "SHOALPK1"  uid 16  crc32 of the 24 bytes before  zero u32
 *   record  marker 8  kind u8  coding u8  count u16  raw u32  stored u32  payload crc32  head crc32  table  payload
 *
 * The marker is the first half of the pack's random uid: nobody who gets bytes into a payload can forge a record, so a
 * damaged stretch is skipped by looking for the next marker. The head checksum covers the 24 bytes before it and the table.
 */

export const PACK_HEADER_BYTES = 32;
export const UID_BYTES = 16;
export const MARKER_BYTES = 8;
const FIXED_BYTES = 28;
const CHUNK_ENTRY_BYTES = 35;
const OBJECT_TABLE_BYTES = 1 + 2 * ID_BYTES;
const MAGIC = Buffer.from('SHOALPK1', 'latin1');

/** The most bytes a record's head (fixed part and table) can have. */
export const HEAD_MAX_BYTES = FIXED_BYTES + LEAF_MAX_CHUNKS * CHUNK_ENTRY_BYTES;

const CODINGS: readonly Coding[] = ['identity', 'zstd'];
const OBJECT_KINDS: readonly ObjectKind[] = ['page', 'delta'];
const NO_OWNER = '0'.repeat(2 * ID_BYTES) as ObjectId;

/** What a record is, without its payload. A claim is an object record without bytes: it adds an owner. */
export type RecordHead = BlockHead | ObjectHead;

interface Lengths {
  /** Payload bytes as stored and once decoded. */
  readonly stored: number;
  readonly raw: number;
  readonly coding: Coding;
  readonly crc: number;
  /** Bytes before the payload. */
  readonly head: number;
}

export interface BlockHead extends Lengths {
  readonly kind: 'block';
  readonly chunks: readonly ChunkRef[];
}

export interface ObjectHead extends Lengths {
  readonly kind: 'object' | 'claim';
  readonly object: ObjectKind;
  readonly id: ObjectId;
  readonly owner: ObjectId | undefined;
}

/** What is written as one record. */
export type NewRecord =
  | { readonly kind: 'block'; readonly coding: Coding; readonly raw: number; readonly chunks: readonly ChunkRef[]; readonly payload: Uint8Array }
  | { readonly kind: 'object'; readonly object: ObjectKind; readonly id: ObjectId; readonly owner: ObjectId | undefined; readonly payload: Uint8Array }
  | { readonly kind: 'claim'; readonly object: ObjectKind; readonly id: ObjectId; readonly owner: ObjectId };

const KINDS = ['block', 'object', 'claim'] as const;

export function encodePackHeader(uid: Uint8Array): Uint8Array {
  const writer = new ByteWriter(PACK_HEADER_BYTES).raw(MAGIC).raw(uid);
  return writer.uint(crc32(writer.finish()), 4).uint(0, 4).finish();
}

/** The uid of a pack, or undefined when the bytes are no pack header. */
export function decodePackHeader(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.byteLength < PACK_HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes, 'pack header');
  const magic = reader.raw(8);
  const uid = reader.raw(UID_BYTES);
  return MAGIC.equals(magic) && reader.uint(4) === crc32(bytes.subarray(0, 24)) ? Uint8Array.from(uid) : undefined;
}

export function markerOf(uid: Uint8Array): Uint8Array {
  return uid.subarray(0, MARKER_BYTES);
}

/** The record in one piece, and its head as a reader will see it. With `memory` it lies there if there is room. */
export function encodeRecord(marker: Uint8Array, record: NewRecord, memory?: Uint8Array): { readonly bytes: Uint8Array; readonly head: RecordHead } {
  const payload = record.kind === 'claim' ? new Uint8Array(0) : record.payload;
  const crc = crc32(payload);
  const coding = record.kind === 'block' ? record.coding : 'identity';
  const raw = record.kind === 'block' ? record.raw : payload.byteLength;
  const table = record.kind === 'block' ? chunkTable(record.chunks) : objectTable(record.object, record.id, record.owner);
  const writer = new ByteWriter(FIXED_BYTES + table.byteLength + payload.byteLength, memory)
    .raw(marker)
    .uint(KINDS.indexOf(record.kind), 1)
    .uint(CODINGS.indexOf(coding), 1)
    .uint(record.kind === 'block' ? record.chunks.length : 0, 2)
    .uint(raw, 4)
    .uint(payload.byteLength, 4)
    .uint(crc, 4);
  writer.uint(crc32(table, crc32(writer.view())), 4).raw(table).raw(payload);
  const lengths = { stored: payload.byteLength, raw, coding, crc, head: FIXED_BYTES + table.byteLength };
  const head: RecordHead = record.kind === 'block'
    ? { ...lengths, kind: 'block', chunks: record.chunks }
    : { ...lengths, kind: record.kind, object: record.object, id: record.id, owner: record.owner };
  return { bytes: writer.view(), head };
}

function chunkTable(chunks: readonly ChunkRef[]): Uint8Array {
  const writer = new ByteWriter(chunks.length * CHUNK_ENTRY_BYTES);
  for (const { id, length } of chunks) writer.uint(length, 3).id(id);
  return writer.finish();
}

function objectTable(kind: ObjectKind, id: ObjectId, owner: ObjectId | undefined): Uint8Array {
  return new ByteWriter(OBJECT_TABLE_BYTES).uint(OBJECT_KINDS.indexOf(kind), 1).id(id).id(owner ?? NO_OWNER).finish();
}

/** The head at the start of `bytes`, or undefined when there is no whole, undamaged one. */
export function decodeHead(marker: Uint8Array, bytes: Uint8Array): RecordHead | undefined {
  if (bytes.byteLength < FIXED_BYTES) return undefined;
  const reader = new ByteReader(bytes, 'pack record');
  if (Buffer.compare(reader.raw(MARKER_BYTES), marker) !== 0) return undefined;
  const kind = KINDS[reader.uint(1)];
  const coding = CODINGS[reader.uint(1)];
  const count = reader.uint(2);
  const raw = reader.uint(4);
  const stored = reader.uint(4);
  const crc = reader.uint(4);
  const headCrc = reader.uint(4);
  if (kind === undefined || coding === undefined || count > LEAF_MAX_CHUNKS) return undefined;
  const tableBytes = kind === 'block' ? count * CHUNK_ENTRY_BYTES : OBJECT_TABLE_BYTES;
  if (reader.remaining < tableBytes) return undefined;
  const head = FIXED_BYTES + tableBytes;
  if (headCrc !== crc32(bytes.subarray(FIXED_BYTES, head), crc32(bytes.subarray(0, FIXED_BYTES - 4)))) return undefined;
  const lengths = { stored, raw, coding, crc, head };
  if (kind === 'block') return { ...lengths, kind, chunks: Array.from({ length: count }, () => ({ length: reader.uint(3), id: reader.id() })) };
  const object = OBJECT_KINDS[reader.uint(1)];
  const id = reader.id();
  const owner = reader.id();
  return object === undefined ? undefined : { ...lengths, kind, object, id, owner: owner === NO_OWNER ? undefined : owner };
}

export const codingNumber = (coding: Coding): number => CODINGS.indexOf(coding);
export const codingOf = (number: number): Coding => CODINGS[number] ?? 'identity';
export const objectKindNumber = (kind: ObjectKind): number => OBJECT_KINDS.indexOf(kind);
export const objectKindOf = (number: number): ObjectKind => OBJECT_KINDS[number] ?? 'page';

/** Stored bytes that are not what their checksum says. */
export function damaged(pack: number, offset: number, what: string, ids: Readonly<Record<string, string | number>> = {}): ShoalError {
  return new ShoalError('STORE_DAMAGED', `${what} in pack ${String(pack)} at byte ${String(offset)} is damaged on the medium`, {
    ids: { pack, offset, ...ids },
    retry: 'elsewhere',
    hint: 'Run "shoal verify" to list what is damaged; publish or fetch it again to heal it.',
  });
}
