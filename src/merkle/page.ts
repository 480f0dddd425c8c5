import { ByteReader, ByteWriter } from '../core/codec.ts';
import { ShoalError } from '../core/errors.ts';
import { ID_BYTES, idsFromBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import {
  ARTIFACT_MAX_BYTES,
  ARTIFACT_MAX_SPANS,
  CHUNK_MAX_BYTES,
  INDEX_MAX_LEVEL,
  INNER_FANOUT,
  LEAF_MAX_CHUNKS,
  PAGE_MAX_BYTES,
  SPAN_MAX_BYTES,
} from '../core/limits.ts';

/**
 * Pages of the Merkle index (docs/format.md). A leaf page lists the chunks of one span; an inner page lists pages one
 * level down. The encoding is canonical: fixed header, fixed-width entries, no optional parts, so a page has one id.
 *
 *   header  "SHPG"  version u8 = 1  level u8 (0 = leaf)  count u16
 *   leaf    count × ( length u24, chunk id 32 )
 *   inner   count × ( bytes u48, spans u32, page id 32 )
 */

export interface ChunkRef {
  readonly id: ObjectId;
  /** Raw bytes, 1 … CHUNK_MAX_BYTES. */
  readonly length: number;
}

export interface PageRef {
  readonly id: ObjectId;
  /** Artifact bytes below the page. */
  readonly bytes: number;
  /** Spans below the page. */
  readonly spans: number;
}

export interface LeafPage {
  readonly level: 0;
  readonly chunks: readonly ChunkRef[];
  /** Raw bytes of the span: the sum of the chunks. */
  readonly bytes: number;
}

export interface InnerPage {
  /** Levels down to the leaves: 1 … INDEX_MAX_LEVEL. */
  readonly level: number;
  readonly children: readonly PageRef[];
  readonly bytes: number;
  readonly spans: number;
}

export type Page = LeafPage | InnerPage;

const MAGIC = Buffer.from('SHPG', 'latin1');
const VERSION = 1;
const HEADER_BYTES = 8;
const LENGTH_BYTES = 3;
const LEAF_ENTRY_BYTES = LENGTH_BYTES + ID_BYTES;
const SUBTREE_BYTES = 6;
const INNER_ENTRY_BYTES = SUBTREE_BYTES + 4 + ID_BYTES;

export function isLeaf(page: Page): page is LeafPage {
  return page.level === 0;
}

function bad(problem: string): ShoalError {
  return new ShoalError('BAD_PAGE', `the index page is malformed: ${problem}`, { retry: 'elsewhere' });
}

/** Throws `BAD_PAGE` unless the chunks make a lawful span: 1 to LEAF_MAX_CHUNKS chunks, at most 4 MiB. */
export function makeLeaf(chunks: readonly ChunkRef[]): LeafPage {
  if (chunks.length < 1 || chunks.length > LEAF_MAX_CHUNKS) throw bad(`a leaf with ${String(chunks.length)} chunks`);
  let bytes = 0;
  for (const { length } of chunks) {
    if (!Number.isSafeInteger(length) || length < 1 || length > CHUNK_MAX_BYTES) throw bad(`a chunk of ${String(length)} bytes`);
    bytes += length;
  }
  if (bytes > SPAN_MAX_BYTES) throw bad(`a span of ${String(bytes)} bytes`);
  return { level: 0, chunks, bytes };
}

/** Throws `BAD_PAGE` unless level, counts and sums are lawful. Only level 1 may be empty: the index of nothing. */
export function makeInner(level: number, children: readonly PageRef[]): InnerPage {
  if (!Number.isSafeInteger(level) || level < 1 || level > INDEX_MAX_LEVEL) throw bad(`level ${String(level)}`);
  if (children.length > INNER_FANOUT || (children.length === 0 && level > 1)) throw bad(`an inner page with ${String(children.length)} entries`);
  let bytes = 0;
  let spans = 0;
  const mostSpans = INNER_FANOUT ** (level - 1);
  for (const [index, child] of children.entries()) {
    const last = index === children.length - 1;
    if (!Number.isSafeInteger(child.spans) || child.spans < 1 || child.spans > mostSpans) throw bad(`an entry with ${String(child.spans)} spans`);
    // Pages are filled from the left (docs/format.md, "Shape"): the shape follows from the number of spans alone.
    if (!last && child.spans !== mostSpans) throw bad('an entry before the last that is not full');
    if (!Number.isSafeInteger(child.bytes) || child.bytes < child.spans || child.bytes > child.spans * SPAN_MAX_BYTES) {
      throw bad(`an entry of ${String(child.bytes)} bytes in ${String(child.spans)} spans`);
    }
    bytes += child.bytes;
    spans += child.spans;
  }
  if (bytes > ARTIFACT_MAX_BYTES || spans > ARTIFACT_MAX_SPANS) throw bad('an artifact beyond the size limit');
  return { level, children, bytes, spans };
}

function header(level: number, count: number, entryBytes: number): ByteWriter {
  return new ByteWriter(HEADER_BYTES + count * entryBytes).raw(MAGIC).uint(VERSION, 1).uint(level, 1).uint(count, 2);
}

export function encodePage(page: Page): Uint8Array {
  if (isLeaf(page)) {
    const writer = header(0, page.chunks.length, LEAF_ENTRY_BYTES);
    for (const { id, length } of page.chunks) writer.uint(length, 3).id(id);
    return writer.finish();
  }
  const writer = header(page.level, page.children.length, INNER_ENTRY_BYTES);
  for (const { id, bytes, spans } of page.children) writer.uint(bytes, 6).uint(spans, 4).id(id);
  return writer.finish();
}

/** Reads a page from outside. Throws `BAD_PAGE`, `TRUNCATED` or `TRAILING_BYTES`; nothing is allocated from a count before its bound. */
export function decodePage(bytes: Uint8Array): Page {
  if (bytes.byteLength > PAGE_MAX_BYTES) throw bad(`${String(bytes.byteLength)} bytes are more than a page can have`);
  const reader = new ByteReader(bytes, 'index page');
  if (!MAGIC.equals(reader.raw(4))) throw bad('it does not begin with SHPG');
  const version = reader.uint(1);
  if (version !== VERSION) throw bad(`version ${String(version)} is unknown`);
  const level = reader.uint(1);
  const count = reader.uint(2);
  if (reader.remaining !== count * (level === 0 ? LEAF_ENTRY_BYTES : INNER_ENTRY_BYTES)) throw bad('its length does not match its number of entries');
  if (level === 0) {
    if (count > LEAF_MAX_CHUNKS) throw bad(`a leaf with ${String(count)} chunks`);
    return makeLeaf(entries(bytes, count, LEAF_ENTRY_BYTES, LENGTH_BYTES, (view, at, id) => ({ length: view.getUint16(at, true) + view.getUint8(at + 2) * 2 ** 16, id })));
  }
  if (count > INNER_FANOUT) throw bad(`an inner page with ${String(count)} entries`);
  return makeInner(level, entries(bytes, count, INNER_ENTRY_BYTES, SUBTREE_BYTES + 4, (view, at, id) => ({
    bytes: view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32,
    spans: view.getUint32(at + SUBTREE_BYTES, true),
    id,
  })));
}

/** The entries of a page whose length is right; the id of each comes last in it. */
function entries<Entry>(bytes: Uint8Array, count: number, size: number, idAt: number, read: (view: DataView, at: number, id: ObjectId) => Entry): readonly Entry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return idsFromBytes(bytes, count, size, HEADER_BYTES + idAt).map((id, index) => read(view, HEADER_BYTES + index * size, id));
}
