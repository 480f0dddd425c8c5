import { idFromBytes, idToBytes } from '../core/ids.ts';
import type { ObjectId } from '../core/ids.ts';
import { PAGE_MAX_BYTES } from '../core/limits.ts';
import { verifyPage } from '../merkle/verify.ts';
import type { VerifiedPage } from '../merkle/verify.ts';
import type { Files, OpenFile } from './files.ts';

const MAGIC = Buffer.from('SHOALPG1');
const ID_BYTES = 32;
const HEADER_BYTES = MAGIC.byteLength + ID_BYTES;
/** Id and length before every page. */
const RECORD_BYTES = ID_BYTES + 4;
const READ_BYTES = 1024 * 1024;

interface Place {
  readonly offset: number;
  readonly length: number;
}

/**
 * The index pages of one artifact on a device, as they arrived, one after another in a file: what lets a device go on after
 * a restart, and serve neighbours, without asking for them again. Nothing is synced and nothing is believed: a page is
 * hashed whenever it is read, and what a crash left of the end is cut off. One process at a time.
 */
export class PageFile {
  readonly root: ObjectId;
  readonly #file: OpenFile;
  readonly #places: Map<ObjectId, Place>;
  #end: number;

  private constructor(root: ObjectId, file: OpenFile, places: Map<ObjectId, Place>, end: number) {
    this.root = root;
    this.#file = file;
    this.#places = places;
    this.#end = end;
  }

  /** Opens the pages under `root`; those of another root that lie there are dropped. Throws what the file layer throws. */
  static async open(files: Files, path: string, root: ObjectId): Promise<PageFile> {
    const file = await files.open(path, 'create');
    try {
      const header = Buffer.concat([MAGIC, idToBytes(root)]);
      const found = new Uint8Array(HEADER_BYTES);
      if ((await file.read(found, 0)) === HEADER_BYTES && header.equals(found)) {
        const { places, end } = await scan(file);
        if ((await file.size()) > end) await file.truncate(end);
        return new PageFile(root, file, places, end);
      }
      await file.truncate(0);
      await file.write(header, 0);
      return new PageFile(root, file, new Map(), HEADER_BYTES);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The page, hashed as it is read, or undefined. */
  async get(id: ObjectId): Promise<VerifiedPage | undefined> {
    const place = this.#places.get(id);
    if (place === undefined) return undefined;
    const bytes = new Uint8Array(place.length);
    try {
      if ((await this.#file.read(bytes, place.offset)) === place.length) return verifyPage(id, bytes);
    } catch {
      // Damaged or unreadable: it is as good as absent, and can be had elsewhere.
    }
    this.#places.delete(id);
    return undefined;
  }

  async put({ id, encoded }: VerifiedPage): Promise<void> {
    if (this.#places.has(id)) return;
    const record = Buffer.allocUnsafe(RECORD_BYTES + encoded.byteLength);
    record.set(idToBytes(id));
    record.writeUInt32LE(encoded.byteLength, ID_BYTES);
    record.set(encoded, RECORD_BYTES);
    const offset = this.#end;
    this.#end += record.byteLength;
    await this.#file.write(record, offset);
    this.#places.set(id, { offset: offset + RECORD_BYTES, length: encoded.byteLength });
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Finds the records up to the first that cannot be one. */
async function scan(file: OpenFile): Promise<{ readonly places: Map<ObjectId, Place>; readonly end: number }> {
  const places = new Map<ObjectId, Place>();
  const window = Buffer.allocUnsafe(READ_BYTES);
  let end = HEADER_BYTES;
  for (;;) {
    const filled = await file.read(window, end);
    let at = 0;
    while (at + RECORD_BYTES <= filled) {
      const length = window.readUInt32LE(at + ID_BYTES);
      if (length === 0 || length > PAGE_MAX_BYTES) return { places, end: end + at };
      if (at + RECORD_BYTES + length > filled) break;
      places.set(idFromBytes(window.subarray(at, at + ID_BYTES)), { offset: end + at + RECORD_BYTES, length });
      at += RECORD_BYTES + length;
    }
    if (at === 0) return { places, end };
    end += at;
  }
}
