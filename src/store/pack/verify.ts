import type { ObjectId } from '../../core/ids.ts';
import { chunkIdOf } from '../../merkle/verify.ts';
import { whatIsMissing } from '../reach.ts';
import type { IncompleteArtifact, VerifyOptions, VerifyReport } from '../types.ts';
import { markerOf } from './format.ts';
import type { Doubt, PackIndex } from './index-db.ts';
import type { BlockRow, PackRow } from './index-rows.ts';
import type { PackPool } from './pool.ts';
import { unlessDamaged } from './reader.ts';
import type { PackReader } from './reader.ts';
import { readHead } from './scan.ts';

interface Parts {
  readonly index: PackIndex;
  readonly pool: PackPool;
  readonly reader: PackReader;
}

/** Reads and hashes every block and object, then walks every artifact. gc must not run meanwhile. */
export async function verifyStore(parts: Parts, options: VerifyOptions): Promise<VerifyReport> {
  const { index, reader } = parts;
  const damaged = new Set<ObjectId>();
  const packs = index.packs().filter(({ retired }) => retired === undefined);
  const total = packs.reduce((sum, { length }) => sum + length, 0);
  let bytes = 0;
  let chunks = 0;
  let objects = 0;
  // Whoever puts it again, writes it again: it need not be forgotten for that.
  const note = (kind: Doubt, number: number, isBad: boolean): void => {
    if (!isBad) index.settle(kind, number);
    else if (!index.isDoubted(kind, number)) index.doubt(kind, number);
  };
  for (const pack of packs) {
    for (const block of index.blocksOf(pack.number)) {
      const result = await checkBlock(parts, pack, block);
      bytes += block.stored;
      chunks += result.good;
      for (const id of result.bad) {
        damaged.add(id);
        if (options.discard === true) index.removeChunk(id, block.id);
      }
      note('block', block.id, result.bad.length > 0 && options.discard !== true);
      options.onProgress?.(bytes, total);
    }
    for (const object of index.objectsOf(pack.number)) {
      const sound = await reader.isSoundObject(object);
      bytes += object.stored;
      note('object', object.number, !sound && options.discard !== true);
      if (sound) {
        objects++;
        continue;
      }
      damaged.add(object.id);
      if (options.discard === true) index.removeObject(object);
    }
  }
  const lacking: IncompleteArtifact[] = [];
  for (const artifact of index.artifacts()) {
    const missing = await whatIsMissing(
      artifact,
      (id) => (damaged.has(id) ? Promise.resolve(undefined) : unlessDamaged(reader.object('page', id))),
      (ids) => ids.map((id) => index.chunk(id) !== undefined && !damaged.has(id)),
    );
    if (missing.length > 0) lacking.push({ namespace: artifact.namespace, root: artifact.root, missing });
  }
  options.onProgress?.(total, total);
  return { chunks, objects, bytes, damaged: [...damaged], incomplete: lacking };
}

/** Chunks whose row points into this block, told apart by whether their bytes are what the id says. */
async function checkBlock({ index, pool, reader }: Parts, pack: PackRow, block: BlockRow): Promise<{ readonly good: number; readonly bad: readonly ObjectId[] }> {
  const head = await unlessDamaged(pool.use(pack.number, (file) => readHead(file, markerOf(pack.uid), block.offset)));
  if (head?.kind !== 'block') return { good: 0, bad: index.chunksOf(block.id).map(({ id }) => id) };
  const here = head.chunks.flatMap(({ id }) => {
    const row = index.chunk(id);
    return row?.block === block.id ? [{ id, ...row }] : [];
  });
  // Past the decoded-block cache: what counts is what lies on the medium.
  const raw = await unlessDamaged(reader.readBlock(block));
  if (raw === undefined) return { good: 0, bad: here.map(({ id }) => id) };
  const bad = here.filter(({ id, offset, length }) => chunkIdOf(raw.subarray(offset, offset + length)) !== id).map(({ id }) => id);
  return { good: here.length - bad.length, bad };
}
