import { ShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import { settleScratch } from '../kernel/scratch.ts';
import { verifyChunks } from '../merkle/verify.ts';
import { IndexReader } from '../merkle/reader.ts';
import type { StoreReader } from '../store/types.ts';

/** The index of an artifact in a store. Throws `NO_SUCH_ARTIFACT` as soon as a page of it is missing. */
function storedIndex(store: StoreReader, root: ObjectId): Promise<IndexReader> {
  const page = async (id: ObjectId): Promise<Uint8Array> => {
    const encoded = await store.object('page', id);
    if (encoded === undefined) throw gone(root);
    return encoded;
  };
  return IndexReader.open(root, undefined, { page });
}

/**
 * Reads an artifact out of a store, every chunk verified, into `into`, which is as long. Returns where its spans end.
 * Throws `NO_SUCH_ARTIFACT` when something of it is missing, `CHUNK_MISMATCH` when something is damaged.
 */
export async function readStored(store: StoreReader, root: ObjectId, into: Uint8Array, signal?: AbortSignal): Promise<readonly number[]> {
  const index = await storedIndex(store, root);
  const ends: number[] = [];
  if (index.bytes !== into.byteLength) throw gone(root);
  for await (const span of index.allSpans()) {
    signal?.throwIfAborted();
    const { chunks } = await index.leaf(span);
    const runs = await store.runs(chunks.map(({ id }) => id), ['identity']);
    if (runs === undefined) throw gone(root);
    let at = span.offset;
    for (const run of runs) {
      for await (const piece of run.open()) {
        if (at + piece.byteLength > span.offset + span.bytes) throw gone(root);
        into.set(piece, at);
        at += piece.byteLength;
      }
    }
    verifyChunks(chunks, into.subarray(span.offset, at));
    ends.push(span.offset + span.bytes);
    settleScratch();
  }
  return ends;
}

/** What a device with `base`, and nothing else, would fetch of `target` without a delta: chunks as they travel, and leaf pages. Bytes. */
export async function contentCost(store: StoreReader, base: ObjectId, target: ObjectId, signal?: AbortSignal): Promise<number> {
  const known = new Set<ObjectId>();
  const before = await storedIndex(store, base);
  for await (const span of before.allSpans()) {
    signal?.throwIfAborted();
    known.add(span.leaf);
    for (const { id } of (await before.leaf(span)).chunks) known.add(id);
  }
  let bytes = 0;
  const index = await storedIndex(store, target);
  for await (const span of index.allSpans()) {
    signal?.throwIfAborted();
    // The pages above the leaves are fetched either way.
    if (!known.has(span.leaf)) bytes += (await store.object('page', span.leaf))?.byteLength ?? 0;
    const missing = (await index.leaf(span)).chunks.filter(({ id }) => !known.has(id)).map(({ id }) => id);
    for (const id of missing) known.add(id);
    if (missing.length === 0) continue;
    const runs = await store.runs([...new Set(missing)], ['zstd', 'identity']);
    if (runs === undefined) throw gone(target);
    for (const { storedLength } of runs) bytes += storedLength;
  }
  return bytes;
}

function gone(root: ObjectId): ShoalError {
  return new ShoalError('NO_SUCH_ARTIFACT', `the artifact ${root.slice(0, 12)}… is not whole in the store`, { ids: { root } });
}
