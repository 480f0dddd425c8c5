import { join } from 'node:path';
import { idFromBytes, idToBytes } from '../core/ids.ts';
import { BASE_INDEX_MAX_BYTES, BASE_INDEXES_MAX } from '../core/limits.ts';
import type { ChunkingRecord } from '../core/manifest.ts';
import { blake3 } from '../kernel/hash.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { makeDirectories, readWhole, writeDurably } from '../store/durable.ts';
import type { Files } from '../store/files.ts';

const MAGIC = Buffer.from('SHOALBX1');
const ID_BYTES = 32;
const ENTRY_BYTES = ID_BYTES + 4;
const SUFFIX = '.chunks';

/** Which file was cut, when, and how: an index is good for as long as these are the same. */
interface Subject {
  readonly path: string;
  readonly size: number;
  readonly modified: number;
  readonly chunking: ChunkingRecord;
}

/**
 * What chunks the files of a device have, kept between runs so that a base is cut once and not at every update. Only a
 * hint: chunks are hashed when they are taken, so an index that is wrong finds nothing and harms nobody. A file whose size
 * or time of change differs is cut anew.
 */
export class BaseIndexes {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /**
   * Tells `each` the chunks of `path` in order, as they were when the file was what it is now; says whether that is known.
   * One at a time: a large base has more of them than should be in memory as objects.
   */
  async recall(path: string, chunking: ChunkingRecord, each: (chunk: ChunkRef) => void): Promise<boolean> {
    const subject = await this.#subject(path, chunking);
    if (subject === undefined) return false;
    let entries: Buffer | undefined;
    try {
      entries = entriesIn(await readWhole(this.#files, this.#place(path), BASE_INDEX_MAX_BYTES), subject);
    } catch {
      // Unreadable is as good as absent.
    }
    if (entries === undefined) return false;
    for (let at = 0; at < entries.byteLength; at += ENTRY_BYTES) each({ id: idFromBytes(entries.subarray(at, at + ID_BYTES)), length: entries.readUInt32LE(at + ID_BYTES) });
    return true;
  }

  /** Keeps the chunks of `path`, unless there are too many for an index file. Where that fails, the file is cut again next time. */
  async keep(path: string, chunking: ChunkingRecord, chunks: ChunkEntries | AsyncIterable<ChunkRef>): Promise<void> {
    try {
      const subject = await this.#subject(path, chunking);
      if (subject === undefined) return;
      let entries: ChunkEntries;
      if (chunks instanceof ChunkEntries) {
        entries = chunks;
      } else {
        entries = new ChunkEntries();
        for await (const chunk of chunks) entries.add(chunk);
      }
      const bytes = encode(subject, entries.bytes);
      if (bytes === undefined) return;
      await makeDirectories(this.#files, this.#directory);
      await writeDurably(this.#files, this.#place(path), bytes);
      await this.#trim();
    } catch {
      // A full disk must not stop an update that has room for what matters.
    }
  }

  async #subject(path: string, chunking: ChunkingRecord): Promise<Subject | undefined> {
    const stat = await this.#files.stat(path);
    if (stat?.kind !== 'file') return undefined;
    const { algorithm, min, avg, max } = chunking;
    return { path, size: stat.size, modified: stat.modified, chunking: { algorithm, min, avg, max } };
  }

  #place(path: string): string {
    return join(this.#directory, `${idFromBytes(blake3(Buffer.from(path))).slice(0, 32)}${SUFFIX}`);
  }

  /** The oldest go when there are too many. */
  async #trim(): Promise<void> {
    const names = (await this.#files.list(this.#directory)).filter((name) => name.endsWith(SUFFIX));
    if (names.length <= BASE_INDEXES_MAX) return;
    const dated = await Promise.all(names.map(async (name) => ({ name, modified: (await this.#files.stat(join(this.#directory, name)))?.modified ?? 0 })));
    for (const { name } of dated.sort((a, b) => b.modified - a.modified).slice(BASE_INDEXES_MAX)) await this.#files.remove(join(this.#directory, name));
  }
}

/** Chunks in order as an index file has them, one after another in memory that grows. */
export class ChunkEntries {
  #bytes = Buffer.allocUnsafe(1024 * ENTRY_BYTES);
  #end = 0;

  add({ id, length }: ChunkRef): void {
    if (this.#end > BASE_INDEX_MAX_BYTES) return;
    if (this.#end === this.#bytes.byteLength) this.#bytes = Buffer.concat([this.#bytes], this.#end * 2);
    this.#bytes.set(idToBytes(id), this.#end);
    this.#bytes.writeUInt32LE(length, this.#end + ID_BYTES);
    this.#end += ENTRY_BYTES;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#end);
  }
}

/** Magic, length and text of the subject, the entries, BLAKE3-256 of all that. Undefined when it would be too long. */
function encode(subject: Subject, entries: Uint8Array): Uint8Array | undefined {
  const text = Buffer.from(JSON.stringify(subject));
  const head = MAGIC.byteLength + 4 + text.byteLength;
  const total = head + entries.byteLength + ID_BYTES;
  if (total > BASE_INDEX_MAX_BYTES) return undefined;
  const bytes = Buffer.alloc(total);
  bytes.set(MAGIC);
  bytes.writeUInt32LE(text.byteLength, MAGIC.byteLength);
  bytes.set(text, MAGIC.byteLength + 4);
  bytes.set(entries, head);
  bytes.set(blake3(bytes.subarray(0, total - ID_BYTES)), total - ID_BYTES);
  return bytes;
}

function entriesIn(found: Uint8Array | undefined, subject: Subject): Buffer | undefined {
  if (found === undefined) return undefined;
  const bytes = Buffer.from(found.buffer, found.byteOffset, found.byteLength);
  const end = bytes.byteLength - ID_BYTES;
  if (end < MAGIC.byteLength + 4 || !bytes.subarray(0, MAGIC.byteLength).equals(MAGIC)) return undefined;
  if (!bytes.subarray(end).equals(blake3(bytes.subarray(0, end)))) return undefined;
  const head = MAGIC.byteLength + 4 + bytes.readUInt32LE(MAGIC.byteLength);
  if (head > end || (end - head) % ENTRY_BYTES !== 0) return undefined;
  if (bytes.toString('utf8', MAGIC.byteLength + 4, head) !== JSON.stringify(subject)) return undefined;
  return bytes.subarray(head, end);
}
