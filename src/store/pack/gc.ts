import { ShoalError, isShoalError } from '../../core/errors.ts';
import type { ObjectId } from '../../core/ids.ts';
import { walkIndex } from '../reach.ts';
import type { GcReport } from '../types.ts';
import { Bits } from './bits.ts';
import type { PinBoard } from './pins.ts';
import { liveBytes, sweepPack } from './sweep.ts';
import type { Liveness, SweepParts } from './sweep.ts';

/** A pack is rewritten when this share of it is dead: each byte freed costs at most three copied. */
const DEAD_SHARE = 0.25;

/**
 * Mark and sweep. Marks everything that `roots` reach through their index pages and the objects put for them, then goes
 * through the packs. What was put after the mark began, or is pinned by a batch, lives. `owns` may say that an object is no
 * longer wanted by a root it was put for. Liveness is a bit per chunk.
 */
export async function collect(parts: SweepParts, pins: PinBoard, roots: ReadonlySet<ObjectId>, owns: (owner: ObjectId, id: ObjectId) => boolean = () => true): Promise<GcReport> {
  const { index, appender } = parts;
  const before = index.newest();
  const packs = index.packs().filter(({ retired }) => retired === undefined);
  const marked = await mark(parts, roots, owns);
  const alive: Liveness = {
    whole: (block) => block.id > before.block || pins.block(block.id),
    chunk: (block, position) => marked.chunks.has(block.first + position),
    object: (object) => object.number > before.object || marked.objects.has(object.number) || pins.object(object.number),
    claim: ({ owner, id }) => roots.has(owner) && owns(owner, id),
  };
  let freedBytes = 0;
  let keptBytes = 0;
  let rewrittenBytes = 0;
  // Packs without anything alive first: they give room for the copies of the others.
  const ranked = packs.map((pack) => ({ pack, live: liveBytes(index, pack, alive) })).sort((a, b) => a.live - b.live);
  const worthwhile = ranked.filter(({ pack, live }) => (pack.length - live) / Math.max(pack.length, 1) >= DEAD_SHARE);
  // Before the first copy: a copy must not land in a pack whose turn comes later, where the marks no longer fit it.
  for (const { pack } of worthwhile) await appender.avoid(pack.number);
  for (const entry of ranked) {
    const { pack } = entry;
    const copied = worthwhile.includes(entry) ? await sweepUnlessDamaged(parts, pack, alive) : undefined;
    if (copied === undefined) {
      keptBytes += pack.length;
      continue;
    }
    freedBytes += pack.length - copied;
    keptBytes += copied;
    rewrittenBytes += copied;
  }
  await appender.flush();
  return { freedBytes, keptBytes, rewrittenBytes };
}

async function sweepUnlessDamaged(...sweep: Parameters<typeof sweepPack>): Promise<number | undefined> {
  try {
    return await sweepPack(...sweep);
  } catch (error) {
    // What lies in a damaged pack is verify's to name; the other packs can still be swept.
    if (['STORE_DAMAGED', 'ZSTD_CORRUPT', 'ZSTD_TOO_LARGE'].some((code) => isShoalError(error, code))) return undefined;
    throw error;
  }
}

async function mark({ index, reader }: SweepParts, roots: ReadonlySet<ObjectId>, owns: (owner: ObjectId, id: ObjectId) => boolean): Promise<{ readonly chunks: Bits; readonly objects: Bits }> {
  const chunks = new Bits();
  const objects = new Bits();
  for (const root of roots) {
    for (const { number, id } of index.ownedBy(root)) if (owns(root, id)) objects.add(number);
    let known = { id: -1, first: 0 };
    await walkIndex(root, {
      page: (id) => reader.object('page', id),
      enter: (id) => {
        const row = index.object('page', id);
        return row === undefined || objects.add(row.number);
      },
      // Sweeping what hangs below a page that cannot be read would turn one lost page into a lost artifact.
      missing: (page) => {
        throw new ShoalError('STORE_DAMAGED', `gc cannot tell what is in use: index page ${page.slice(0, 12)}… of ${root.slice(0, 12)}… is missing or damaged`, {
          ids: { page, root }, hint: 'Publish that artifact again, or forget it, and run gc again.',
        });
      },
      leaf: (_id, leaf) => {
        for (const { id } of leaf.chunks) {
          const row = index.chunk(id);
          if (row === undefined) continue;
          if (row.block !== known.id) known = { id: row.block, first: index.block(row.block)?.first ?? 0 };
          chunks.add(known.first + row.position);
        }
      },
    });
  }
  return { chunks, objects };
}
