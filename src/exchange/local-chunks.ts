import { walkChunks } from '../chunk/walk.ts';
import type { ByteReaderAt } from '../chunk/walk.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunk } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import { nodeFiles } from '../store/files.ts';
import type { Files, OpenFile } from '../store/files.ts';
import { ChunkEntries } from './base-index.ts';
import type { BaseIndexes } from './base-index.ts';
import { ChunkTable } from './chunk-table.ts';

export interface ScanOptions {
  /** Where the chunks of a file are kept, so that it is not cut again. */
  readonly indexes?: BaseIndexes | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: those of this machine. */
  readonly files?: Files | undefined;
}

/**
 * Chunks that older files on this device have. Files are cut once, as the new artifact was; what is read from them later
 * is hashed again, so a file that changes meanwhile only stops being of use.
 */
export class LocalChunks {
  readonly #files: OpenFile[] = [];
  readonly #places = new ChunkTable();

  /** Cuts `paths`, or recalls how they were cut. Throws `UNREADABLE` naming the one that cannot be read. */
  static async scan(paths: readonly string[], chunking: ChunkingRecord, options: ScanOptions = {}): Promise<LocalChunks> {
    const found = new LocalChunks();
    try {
      for (const path of paths) await found.#add(path, chunking, options);
    } catch (error) {
      await found.close();
      throw error;
    }
    return found;
  }

  /** Says that there is nothing to be found here. */
  get empty(): boolean {
    return this.#files.length === 0;
  }

  /** The chunk, verified as it is read, or undefined. */
  async chunk({ id, length }: ChunkRef): Promise<VerifiedChunk | undefined> {
    const place = this.#places.place(id);
    const file = place === undefined ? undefined : this.#files[place.file];
    if (place === undefined || file === undefined) return undefined;
    const bytes = Buffer.allocUnsafe(length);
    try {
      await file.read(bytes, place.offset);
      return verifyChunk(id, bytes);
    } catch (error) {
      if (!isShoalError(error, 'CHUNK_MISMATCH') && !isShoalError(error, 'FILE_IO')) throw error;
      return undefined;
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  async #add(path: string, chunking: ChunkingRecord, { indexes, signal, files = nodeFiles }: ScanOptions): Promise<void> {
    const chunks = new ChunkEntries();
    try {
      const file = await files.open(path, 'read');
      const number = this.#files.push(file) - 1;
      let next = 0;
      const note = ({ id, length }: ChunkRef): void => {
        this.#places.note(id, number, next);
        next += length;
      };
      if ((await indexes?.recall(path, chunking, note)) === true) return;
      for await (const { id, length } of walkChunks(reader(file), chunking)) {
        signal?.throwIfAborted();
        note({ id, length });
        if (indexes !== undefined) chunks.add({ id, length });
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw new ShoalError('UNREADABLE', `cannot read the base ${path}: ${messageOf(cause)}`, { ids: { path }, cause });
    }
    await indexes?.keep(path, chunking, chunks);
  }
}

function reader(file: OpenFile): ByteReaderAt {
  return { read: async (buffer, offset, length, position) => ({ bytesRead: await file.read(buffer.subarray(offset, offset + length), position) }) };
}
