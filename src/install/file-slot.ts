import { basename, dirname, join } from 'node:path';
import { ShoalError } from '../core/errors.ts';
import type { VerifiedChunk } from '../merkle/verify.ts';
import type { Files, OpenFile } from '../store/files.ts';
import { hashesDirectly, readHashed } from '../kernel/hash-file.ts';
import { ProcessLock } from '../store/process-lock.ts';

/**
 * A file that an artifact is written to: beside its final place under another name until every byte of it is verified,
 * then renamed over it at once. No journal says what has been written: whoever resumes hashes what is there, because only
 * the hash of what is on the medium is worth believing after a crash.
 */
export class FileSlot {
  readonly path: string;
  readonly partial: string;
  readonly #files: Files;
  readonly #file: OpenFile;
  readonly #found: number;
  readonly #lock: ProcessLock;
  #written = 0;

  private constructor(files: Files, path: string, partial: string, file: OpenFile, found: number, lock: ProcessLock) {
    this.#files = files;
    this.path = path;
    this.partial = partial;
    this.#file = file;
    this.#found = found;
    this.#lock = lock;
  }

  /**
   * Opens, or finds again, the unfinished file for `path`. Throws `SLOT_BUSY` while another run has it: after the rename
   * a second one would write into the active file. Throws `BAD_OUTPUT` before anything is fetched when `path` cannot become a
   * file: a rename over a device node would take the node away. Throws what the file layer throws.
   */
  static async open(files: Files, path: string): Promise<FileSlot> {
    await checkPlace(files, path);
    const lock = new ProcessLock(join(dirname(path), `.${basename(path)}.shoal-lock`));
    if (!lock.tryAcquire()) throw new ShoalError('SLOT_BUSY', `another run is writing ${path}`, { ids: { path }, retry: 'again', hint: 'Wait until it has finished, or stop it.' });
    try {
      const partial = join(dirname(path), `.${basename(path)}.shoal-partial`);
      const file = await files.open(partial, 'create');
      return new FileSlot(files, path, partial, file, await file.size(), lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Bytes that an earlier run left: nothing beyond them can be right already. */
  get found(): number {
    return this.#found;
  }

  /** Bytes written by this run. */
  get written(): number {
    return this.#written;
  }

  async write(offset: number, chunk: VerifiedChunk): Promise<void> {
    await this.#file.write(chunk.bytes, offset);
    this.#written += chunk.bytes.byteLength;
  }

  /** Writes `chunks` one after another from `offset`. Those that lie side by side in memory go out in one write. */
  async writeRun(offset: number, chunks: readonly VerifiedChunk[]): Promise<void> {
    for (let at = 0, to = offset; at < chunks.length; ) {
      const first = chunks[at++]?.bytes;
      if (first === undefined) return;
      let length = first.byteLength;
      for (let next = chunks[at]?.bytes; next !== undefined && next.buffer === first.buffer && next.byteOffset === first.byteOffset + length; next = chunks[++at]?.bytes) {
        length += next.byteLength;
      }
      await this.#file.write(new Uint8Array(first.buffer, first.byteOffset, length), to);
      this.#written += length;
      to += length;
    }
  }

  /**
   * Makes what is at `offset` something else, so that whoever resumes finds it wrong and writes it anew: where the medium has other
   * bytes than the system remembers, what is read back the ordinary way looks right.
   */
  async spoil(offset: number): Promise<void> {
    const [first = 0] = await this.read(offset, 1);
    await this.#file.write(Uint8Array.of(first ^ 0xff), offset);
  }

  /** What is at `offset`; shorter than asked where the file ends. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.readInto(Buffer.allocUnsafe(length), offset);
  }

  /** The same into the caller's memory: returns the part of it that was filled. */
  async readInto(bytes: Uint8Array, offset: number): Promise<Uint8Array> {
    return bytes.subarray(0, await this.#file.read(bytes, offset));
  }

  /** Whether `hashes` needs room for a few hundred KiB and not for all. */
  get hashesDirectly(): boolean {
    return hashesDirectly(this.#file);
  }

  /** BLAKE3-256 of the pieces of `lengths` bytes that lie at `offset`, 32 bytes each. `room` and `medium` as in `readHashed`. */
  async hashes(offset: number, lengths: readonly number[], room: Uint8Array, medium = false): Promise<Uint8Array> {
    return (await readHashed(this.#file, room, offset, lengths, { medium })).hashes;
  }

  /** Brings what has been written so far to the medium. */
  async flush(): Promise<void> {
    await this.#file.sync();
  }

  /** Brings everything written to the medium and cuts the file to `size`. */
  async sync(size: number): Promise<void> {
    if ((await this.#file.size()) > size) await this.#file.truncate(size);
    await this.#file.sync();
  }

  /** Puts the file in its place, durably. Call it only when all of it has been verified. Throws `INCOMPLETE_SLOT` when it is too short. */
  async activate(size: number): Promise<void> {
    await this.sync(size);
    if ((await this.#file.size()) !== size) throw new ShoalError('INCOMPLETE_SLOT', `${this.partial} does not have the ${String(size)} bytes of the artifact`, { ids: { path: this.path } });
    await this.#file.close();
    await this.#files.rename(this.partial, this.path);
    await this.#files.syncDirectory(dirname(this.path));
    this.#lock.release();
  }

  /** Ends this run and keeps what it has for the next one. */
  async close(): Promise<void> {
    await this.#file.close();
    this.#lock.release();
  }
}

async function checkPlace(files: Files, path: string): Promise<void> {
  const there = await files.stat(path);
  if (there !== undefined && there.kind !== 'file') {
    const what = there.kind === 'directory' ? 'a directory' : 'not a plain file';
    throw new ShoalError('BAD_OUTPUT', `${path} is ${what}: the artifact cannot take its place`, { ids: { path }, hint: 'Name a file, new or old.' });
  }
  const folder = await files.stat(dirname(path));
  if (folder?.kind !== 'directory') throw new ShoalError('BAD_OUTPUT', `${dirname(path)} is not a directory, so ${path} cannot be written`, { ids: { path }, hint: 'Make the directory first.' });
}
