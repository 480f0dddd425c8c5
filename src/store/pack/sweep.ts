import type { ChunkRef } from '../../merkle/page.ts';
import type { Appender } from './appender.ts';
import { encodeBlock } from './encode.ts';
import { damaged, markerOf } from './format.ts';
import type { BlockHead, ObjectHead } from './format.ts';
import type { PackIndex } from './index-db.ts';
import type { BlockRow, ClaimRow, ObjectRow, PackRow } from './index-rows.ts';
import type { PackPool } from './pool.ts';
import type { PackReader } from './reader.ts';
import { readHead } from './scan.ts';

/** What decides over life and death. Asked in the same turn in which rows are removed. */
export interface Liveness {
  /** Keep the block as it is, whatever `chunk` says of its chunks: it is new, or pinned. */
  whole(block: BlockRow): boolean;
  /** Is the chunk at `position` of `block` alive? */
  chunk(block: BlockRow, position: number): boolean;
  object(object: ObjectRow): boolean;
  /** Asked once the objects of the pack have been judged. */
  claim(claim: ClaimRow): boolean;
}

export interface SweepParts {
  readonly index: PackIndex;
  readonly pool: PackPool;
  readonly reader: PackReader;
  readonly appender: Appender;
  readonly level: number;
  readonly now: () => number;
}

/** Estimates the live bytes of a pack. */
export function liveBytes(index: PackIndex, pack: PackRow, alive: Liveness): number {
  let live = 0;
  for (const block of index.blocksOf(pack.number)) {
    const chunks = alive.whole(block) ? block.count : countLive(block, alive);
    live += chunks === block.count ? block.head + block.stored : Math.ceil(((block.head + block.stored) * chunks) / block.count);
  }
  for (const object of index.objectsOf(pack.number)) if (alive.object(object)) live += object.head + object.stored;
  return live;
}

function countLive(block: BlockRow, alive: Liveness): number {
  let live = 0;
  for (let position = 0; position < block.count; position++) if (alive.chunk(block, position)) live++;
  return live;
}

/**
 * Empties a pack: dead rows go first, in one turn, so that from then on nobody can come to rely on them; then what lives
 * is copied, and the pack retired. Its file stays until no reader can be in it. A pack with a damaged block stays, so
 * that `verify` can name what is lost. Returns the bytes copied, or undefined when the pack had to stay.
 */
export async function sweepPack(parts: SweepParts, pack: PackRow, alive: Liveness): Promise<number | undefined> {
  const { index, pool, appender, now } = parts;
  await appender.avoid(pack.number);
  const marker = markerOf(pack.uid);
  const heads = new Map<number, BlockHead>();
  for (const block of index.blocksOf(pack.number)) {
    const head = await pool.use(pack.number, (file) => readHead(file, marker, block.offset));
    if (head?.kind !== 'block') return undefined;
    heads.set(block.id, head);
  }
  const keep: { readonly block: BlockRow; readonly chunks: readonly ChunkRef[] }[] = [];
  const objects: ObjectRow[] = [];
  // From here to the first await: one turn.
  for (const block of index.blocksOf(pack.number)) {
    const all = heads.get(block.id)?.chunks;
    if (all === undefined) return undefined;
    const chunks = alive.whole(block) ? all : all.filter((_chunk, position) => alive.chunk(block, position));
    if (chunks.length < all.length) {
      const kept = new Set(chunks);
      for (const chunk of all) if (!kept.has(chunk)) index.removeChunk(chunk.id, block.id);
    }
    if (chunks.length === 0) index.removeBlock(block.id);
    else keep.push({ block, chunks });
  }
  for (const object of index.objectsOf(pack.number)) {
    if (alive.object(object)) objects.push(object);
    else index.removeObject(object);
  }
  let copied = 0;
  for (const { block, chunks } of keep) copied += await copyBlock(parts, block, chunks, (heads.get(block.id) as BlockHead).chunks);
  for (const object of objects) copied += await copyObject(parts, object);
  for (const claim of index.claimsIn(pack.number)) {
    if (!alive.claim(claim)) continue;
    await appender.append({ kind: 'claim', object: claim.kind, id: claim.id, owner: claim.owner }, (number) => index.moveClaim(claim, number));
  }
  // Retiring what still holds something would lose it: better a pack too many than a chunk too few.
  if (index.blocksOf(pack.number).length > 0 || index.objectsOf(pack.number).length > 0) return undefined;
  index.retire(pack.number, now());
  return copied;
}

async function copyBlock({ index, reader, appender, level }: SweepParts, block: BlockRow, chunks: readonly ChunkRef[], all: readonly ChunkRef[]): Promise<number> {
  const move = (pack: number, offset: number, head: BlockHead): number => {
    index.moveBlock(block.id, pack, offset, head);
    return head.head + head.stored;
  };
  if (chunks.length === all.length) {
    const payload = await reader.payload(block, 'a block');
    return appender.append({ kind: 'block', coding: block.coding, raw: block.raw, chunks, payload }, move);
  }
  const raw = await reader.decode(block);
  const kept = new Set(chunks);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const chunk of all) {
    if (kept.has(chunk)) parts.push(raw.subarray(at, at + chunk.length));
    at += chunk.length;
  }
  if (at !== raw.byteLength) throw damaged(block.pack, block.offset, 'a block');
  const joined = Buffer.concat(parts);
  const { coding, payload } = await encodeBlock(joined, level);
  return appender.append({ kind: 'block', coding, raw: joined.byteLength, chunks, payload }, move);
}

async function copyObject({ index, reader, appender }: SweepParts, object: ObjectRow): Promise<number> {
  const payload = await reader.payload(object, `object ${object.id.slice(0, 12)}…`);
  // Its owners follow as claims.
  return appender.append({ kind: 'object', object: object.kind, id: object.id, owner: undefined, payload }, (pack, offset, head: ObjectHead) => {
    index.moveObject(object.number, pack, offset, head);
    return head.head + head.stored;
  });
}
