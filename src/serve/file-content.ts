import type { Bitmap } from '../core/bitmap.ts';
import type { ObjectId } from '../core/ids.ts';
import { SERVE_PIECE_BYTES } from '../core/limits.ts';
import type { ContentKey } from '../core/wire.ts';
import { chunkSetOf } from '../core/wire.ts';
import type { ChunkRef } from '../merkle/page.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { Run } from '../store/types.ts';
import { ArtifactIndexes } from './artifacts.ts';
import type { ContentProvider, Holding } from './content.ts';
import { verifiedChunks } from './verified-runs.ts';

/** An artifact that lies in a file, whole or as far as it has arrived. */
export interface HeldFile {
  readonly key: ContentKey;
  readonly size: number;
  /** The spans that are whole in the file. Grows while it is being written; shrinks when a span turns out damaged. */
  readonly spans: Bitmap;
  /** The index pages that are here. Whatever is here belongs to `key`. */
  page(id: ObjectId): Promise<Uint8Array | undefined>;
  /** Fills `into` from `offset`; returns how many bytes there were. */
  read(into: Uint8Array, offset: number): Promise<number>;
}

interface Stretch {
  readonly offset: number;
  readonly length: number;
}

/**
 * Serves artifacts out of the files of a device, each chunk hashed as it leaves: a file that changes behind our back
 * breaks off the answer, and its span is held no longer.
 */
export class FileContent implements ContentProvider {
  readonly #held = new Map<string, HeldFile>();
  readonly #indexes = new ArtifactIndexes((key, id) => this.page(key, id));

  add(file: HeldFile): void {
    this.#indexes.forget(file.key);
    this.#held.set(nameOf(file.key), file);
  }

  /** Forgets `file`, unless another one has taken its place since. */
  remove(file: HeldFile): void {
    if (this.#held.get(nameOf(file.key)) !== file) return;
    this.#held.delete(nameOf(file.key));
    this.#indexes.forget(file.key);
  }

  holdings(): Promise<readonly Holding[]> {
    return Promise.resolve([...this.#held.values()]);
  }

  holding(key: ContentKey): Promise<Holding | undefined> {
    return Promise.resolve(this.#held.get(nameOf(key)));
  }

  async page(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    return this.#held.get(nameOf(key))?.page(id);
  }

  async span(key: ContentKey, index: number, positions: string | undefined): Promise<readonly Run[] | undefined> {
    const held = this.#held.get(nameOf(key));
    if (held?.spans.has(index) !== true) return undefined;
    const found = await this.#indexes.span(key, index);
    if (found === undefined) return undefined;
    const { span, chunks: all } = found;
    const wanted = positions === undefined ? [...all.keys()] : chunkSetOf(positions, all.length);
    const offsets = chunkOffsets(all);
    const chunks = wanted.flatMap((position) => all[position] ?? []);
    const stretches: Stretch[] = [];
    for (const position of wanted) {
      const offset = span.offset + (offsets[position] ?? 0);
      const length = all[position]?.length ?? 0;
      const last = stretches.at(-1);
      if (last !== undefined && last.offset + last.length === offset) stretches[stretches.length - 1] = { offset: last.offset, length: last.length + length };
      else stretches.push({ offset, length });
    }
    const length = chunks.reduce((sum, each) => sum + each.length, 0);
    return [{ coding: 'identity', storedLength: length, rawLength: length, open: () => checked(held, index, stretches, chunks) }];
  }
}

async function* checked(held: HeldFile, span: number, stretches: readonly Stretch[], chunks: readonly ChunkRef[]): AsyncGenerator<Uint8Array> {
  try {
    yield* verifiedChunks({ open: () => pieces(held, stretches) }, chunks);
  } catch (error) {
    // Also when the disk fails to read: nobody is to ask for it here again.
    if (held.spans.has(span)) held.spans.delete(span);
    throw error;
  }
}

async function* pieces(held: HeldFile, stretches: readonly Stretch[]): AsyncGenerator<Uint8Array> {
  for (const { offset, length } of stretches) {
    for (let done = 0; done < length; ) {
      const piece = new Uint8Array(Math.min(SERVE_PIECE_BYTES, length - done));
      const read = await held.read(piece, offset + done);
      if (read === 0) return;
      done += read;
      yield piece.subarray(0, read);
    }
  }
}

function nameOf({ namespace, root }: ContentKey): string {
  return `${namespace}/${root}`;
}
