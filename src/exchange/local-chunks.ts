import { walkChunks } from '../chunk/walk.ts';
import type { ByteReaderAt } from '../chunk/walk.ts';
import { ShoalError, isShoalError, messageOf } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunk } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import { nodeFiles } from '../store/files.ts';
import type { Files, OpenFile } from '../store/files.ts';
import type { BaseIndexes } from './base-index.ts';

interface Place {
  readonly file: OpenFile;
  readonly offset: number;
}

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
  readonly #places = new Map<ObjectId, Place>();

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

  /** The chunk, verified as it is read, or undefined. */
  async chunk({ id, length }: ChunkRef): Promise<VerifiedChunk | undefined> {
    const place = this.#places.get(id);
    if (place === undefined) return undefined;
    const bytes = Buffer.allocUnsafe(length);
    try {
      await place.file.read(bytes, place.offset);
      return verifyChunk(id, bytes);
    } catch (error) {
      if (!isShoalError(error, 'CHUNK_MISMATCH') && !isShoalError(error, 'FILE_IO')) throw error;
      this.#places.delete(id);
      return undefined;
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  async #add(path: string, chunking: ChunkingRecord, { indexes, signal, files = nodeFiles }: ScanOptions): Promise<void> {
    const chunks: ChunkRef[] = [];
    try {
      const file = await files.open(path, 'read');
      this.#files.push(file);
      const known = await indexes?.find(path, chunking);
      if (known !== undefined) {
        let offset = 0;
        for (const { id, length } of known) {
          this.#note(id, file, offset);
          offset += length;
        }
        return;
      }
      for await (const { id, offset, length } of walkChunks(reader(file), chunking)) {
        signal?.throwIfAborted();
        this.#note(id, file, offset);
        if (indexes !== undefined) chunks.push({ id, length });
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw new ShoalError('UNREADABLE', `cannot read the base ${path}: ${messageOf(cause)}`, { ids: { path }, cause });
    }
    await indexes?.keep(path, chunking, chunks);
  }

  #note(id: ObjectId, file: OpenFile, offset: number): void {
    if (!this.#places.has(id)) this.#places.set(id, { file, offset });
  }
}

function reader(file: OpenFile): ByteReaderAt {
  return { read: async (buffer, offset, length, position) => ({ bytesRead: await file.read(buffer.subarray(offset, offset + length), position) }) };
}
