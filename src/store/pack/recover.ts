import { join } from 'node:path';
import type { Files } from '../files.ts';
import { PACK_HEADER_BYTES, decodePackHeader, markerOf } from './format.ts';
import type { PackIndex, PackRow } from './index-db.ts';
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
  const rows = new Map(index.packs().map((row) => [row.number, row]));
  let last = 0;
  for (const name of await files.list(directory)) {
    const number = packNumber(name);
    if (number === undefined) continue;
    last = Math.max(last, number);
    const row = rows.get(number);
    rows.delete(number);
    await recoverPack(recovery, number, join(directory, name), row, thorough);
  }
  for (const { number } of rows.values()) {
    last = Math.max(last, number);
    index.dropPackAndContents(number);
  }
  return last + 1;
}

async function recoverPack({ files, directory, index, pool }: Recovery, number: number, path: string, row: PackRow | undefined, thorough: boolean): Promise<void> {
  const size = (await files.stat(path))?.size ?? 0;
  if (row !== undefined && (row.retired !== undefined || (row.length === size && !thorough))) return;
  const file = await files.open(path, 'update');
  try {
    const header = new Uint8Array(PACK_HEADER_BYTES);
    const uid = decodePackHeader(header.subarray(0, await file.read(header, 0)));
    // A header that rotted is still known to the index.
    const known = row !== undefined && (uid === undefined || Buffer.compare(uid, row.uid) === 0) && row.length <= size;
    if (known && row.length === size) return;
    if (row !== undefined && !known) index.dropPackAndContents(number);
    const found = uid ?? (known ? row.uid : undefined);
    if (found === undefined) {
      // No record is written before the header is synced: a bare header was being created when the power failed.
      await (size <= PACK_HEADER_BYTES ? files.remove(path) : files.rename(path, `${path}.damaged`));
      await files.syncDirectory(directory);
      return;
    }
    let end = known ? row.length : PACK_HEADER_BYTES;
    if (!known) index.addPack(number, found, end);
    for await (const { offset, head } of scanPack(file, markerOf(found), end)) {
      if (head.kind === 'block') index.addBlock(number, offset, head);
      else index.addObject(number, offset, head);
      end = offset + head.head + head.stored;
    }
    if (end < size) await file.truncate(end);
    // Synced also when nothing was cut off: what was found may still be on its way to the medium.
    await file.sync();
    index.setLength(number, end);
    await pool.drop(number);
  } finally {
    await file.close();
  }
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
