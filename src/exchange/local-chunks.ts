import { walkChunks } from '../chunk/walk.ts';
import type { ByteReaderAt } from '../chunk/walk.ts';
import { isShoalError } from '../core/errors.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { verifyChunk } from '../merkle/verify.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import { nodeFiles, unreadable } from '../store/files.ts';
import type { Files, OpenFile } from '../store/files.ts';
import { ChunkEntries } from './base-index.ts';
import type { BaseIndexes } from './base-index.ts';
import { BaseSpans } from './base-spans.ts';
import { ChunkTable } from './chunk-table.ts';

export interface ScanOptions {
  /** Where the chunks of a file are kept, so that it is not cut again. */
  readonly indexes?: BaseIndexes | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: those of this machine. */
  readonly files?: Files | undefined;
}

/** An older file as it was scanned. */
export interface LocalBase {
  readonly path: string;
  readonly size: number;
  /** Root of the index that a release with these bytes has. */
  readonly root: ObjectId;
  readonly file: OpenFile;
}

/** A stretch of a base that is a span. */
interface PlacedSpan {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Chunks that older files on this device have. Files are cut once, as the new artifact was; what is read from them later
 * is hashed again, so a file that changes meanwhile only stops being of use.
 */
export class LocalChunks {
  readonly #files: OpenFile[] = [];
  readonly #places = new ChunkTable();
  readonly #bases: LocalBase[] = [];
  /** Spans of the bases by the id of their leaf page: what is in a base as a whole needs no page to be found. */
  readonly #spans = new Map<ObjectId, PlacedSpan>();

  /** Cuts `paths`, or recalls how they were cut. Throws `UNREADABLE` naming the one that cannot be read; close it all the same. */
  async scan(paths: readonly string[], chunking: ChunkingRecord, options: ScanOptions = {}): Promise<void> {
    for (const path of paths) await this.#add(path, chunking, options);
  }

  /** Says that there is nothing to be found here. */
  get empty(): boolean {
    return this.#files.length === 0;
  }

  get bases(): readonly LocalBase[] {
    return this.#bases;
  }

  /** Fills `into` with the bytes that a base had where the span with this leaf page lay. Undefined when none had it. */
  async span(leaf: ObjectId, into: Uint8Array): Promise<Uint8Array | undefined> {
    const place = this.#spans.get(leaf);
    const file = place === undefined ? undefined : this.#files[place.file];
    if (place === undefined || file === undefined) return undefined;
    try {
      return into.subarray(0, await file.read(into.subarray(0, place.bytes), place.offset));
    } catch (error) {
      if (!isShoalError(error, 'FILE_IO')) throw error;
      return undefined;
    }
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
      const spans = new BaseSpans();
      const note = ({ id, length }: ChunkRef): void => {
        this.#places.note(id, number, spans.bytes);
        spans.add({ id, length });
      };
      const recalled = (await indexes?.recall(path, chunking, note)) === true;
      if (!recalled) {
        for await (const { id, length } of walkChunks(byteReader(file), chunking)) {
          signal?.throwIfAborted();
          note({ id, length });
          if (indexes !== undefined) chunks.add({ id, length });
        }
      }
      const { root, leaves } = await spans.end();
      for (const { id, offset, bytes } of leaves) if (!this.#spans.has(id)) this.#spans.set(id, { file: number, offset, bytes });
      this.#bases.push({ path, size: spans.bytes, root, file });
      if (recalled) return;
    } catch (cause) {
      signal?.throwIfAborted();
      throw unreadable(cause, path, 'a base');
    }
    await indexes?.keep(path, chunking, chunks);
  }
}

/** An open file as those want it who read the way of node:fs. */
export function byteReader(file: OpenFile): ByteReaderAt {
  return { ...(file.fd === undefined ? {} : { fd: file.fd }), read: async (buffer, offset, length, position) => ({ bytesRead: await file.read(buffer.subarray(offset, offset + length), position) }) };
}
