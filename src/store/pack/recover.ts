import type { Files } from '../files.ts';
import { PACK_HEADER_BYTES, decodePackHeader, markerOf } from './format.ts';
import type { PackIndex } from './index-db.ts';
import type { PackRow } from './index-rows.ts';
import { packNumber } from './pool.ts';
import type { PackPool } from './pool.ts';
import { scanPack } from './scan.ts';

export interface Recovery {
  readonly files: Files;
  readonly directory: string;
  readonly index: PackIndex;
  readonly pool: PackPool;
}

/**
 * Brings the index in line with the packs that are there, whatever happened: crash in the middle of a write, index lost,
 * restored from an older copy, or newer than the packs. Packs are the truth; the index follows. Returns the number for
 * the next pack. Only for the one that holds the writer's lock.
 *
 * `thorough` compares the uid of every pack (once per process); otherwise only packs whose length changed are opened.
 */
export async function recover(recovery: Recovery, thorough: boolean): Promise<number> {
  const { files, directory, index } = recovery;
  const found = new Map<number, FoundPack>();
  for (const name of await files.list(directory)) {
    const number = packNumber(name);
    if (number !== undefined) found.set(number, await look(recovery, number, index.pack(number), thorough));
  }
  const rows = index.packs();
  const next = Math.max(0, ...found.keys(), ...rows.map(({ number }) => number)) + 1;
  for (const { number, retired } of rows) {
    const pack = found.get(number);
    if (pack?.matches === true) continue;
    if (pack === undefined && retired !== undefined) {
      index.dropPack(number);
      continue;
    }
    // The index speaks of packs that are not there: it is a copy from another time. What it says of the others cannot be
    // mended piece by piece either, because a chunk that is in two packs is noted for one of them.
    index.clear();
    for (const [each, { path, size }] of found) found.set(each, { path, size, matches: false, uid: await readUid(files, path) });
    break;
  }
  for (const [number, pack] of found) await follow(recovery, number, pack, index.pack(number));
  return next;
}

interface FoundPack {
  readonly path: string;
  readonly size: number;
  readonly uid: Uint8Array | undefined;
  /** What the index says of it is so, as far as it goes. */
  readonly matches: boolean;
}

async function look({ files, pool }: Recovery, number: number, row: PackRow | undefined, thorough: boolean): Promise<FoundPack> {
  const path = pool.path(number);
  const size = (await files.stat(path))?.size ?? 0;
  if (row !== undefined && (row.retired !== undefined || (row.length === size && !thorough))) return { path, size, uid: row.uid, matches: true };
  const uid = await readUid(files, path);
  // A header that rotted is still known to the index.
  const matches = row !== undefined && (uid === undefined || Buffer.compare(uid, row.uid) === 0) && row.length <= size;
  return { path, size, uid: uid ?? (matches ? row.uid : undefined), matches };
}

async function readUid(files: Files, path: string): Promise<Uint8Array | undefined> {
  const file = await files.open(path, 'read');
  try {
    const header = new Uint8Array(PACK_HEADER_BYTES);
    return decodePackHeader(header.subarray(0, await file.read(header, 0)));
  } finally {
    await file.close();
  }
}

/** Notes what is in a pack beyond what the index knows, and cuts off what is not whole. */
async function follow({ files, directory, index, pool }: Recovery, number: number, pack: FoundPack, row: PackRow | undefined): Promise<void> {
  const { path, size, uid } = pack;
  if (row !== undefined && (row.retired !== undefined || row.length === size)) return;
  if (uid === undefined) {
    // No record is written before the header is synced: a bare header was being created when the power failed.
    await (size <= PACK_HEADER_BYTES ? files.remove(path) : files.rename(path, `${path}.damaged`));
    await files.syncDirectory(directory);
    return;
  }
  let end = row?.length ?? PACK_HEADER_BYTES;
  if (row === undefined) index.addPack(number, uid, end);
  const file = await files.open(path, 'update');
  try {
    for await (const { offset, head } of scanPack(file, markerOf(uid), end)) {
      if (head.kind === 'block') index.addBlock(number, offset, head);
      else index.addObject(number, offset, head);
      end = offset + head.head + head.stored;
    }
    if (end < size) await file.truncate(end);
    // Synced also when nothing was cut off: what was found may still be on its way to the medium.
    await file.sync();
  } finally {
    await file.close();
  }
  index.setLength(number, end);
  await pool.drop(number);
}

/** Removes the files of packs that were retired before `before` and have no reader here. Returns the bytes that came back. */
export async function removeRetired({ files, directory, index, pool }: Recovery, before: number): Promise<number> {
  let bytes = 0;
  for (const { number, length, retired } of index.packs()) {
    if (retired === undefined || retired > before || pool.busy(number)) continue;
    await pool.drop(number);
    await files.remove(pool.path(number));
    index.dropPack(number);
    bytes += length;
  }
  // Durable before the index forgets the packs, else they would come back as packs nobody knows.
  if (bytes > 0) await files.syncDirectory(directory);
  return bytes;
}
