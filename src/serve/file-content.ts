import type { Bitmap } from '../core/bitmap.ts';
import type { ObjectId } from '../core/ids.ts';
import type { ContentKey } from '../core/wire.ts';
import { ShoalError } from '../core/errors.ts';
import { SERVE_MAX_PASSING } from '../core/limits.ts';
import { remember } from '../core/remember.ts';
import { chunkSetOf } from '../core/wire.ts';
import { chunkOffsets } from '../merkle/reader.ts';
import type { VerifiedPage } from '../merkle/verify.ts';
import type { HashableFile } from '../kernel/hash-file.ts';
import type { Run } from '../store/types.ts';
import { ArtifactIndexes } from './artifacts.ts';
import type { ContentProvider, Holding } from './content.ts';
import { PieceBuffers, verifiedPieces } from './pieces.ts';
import type { PlacedChunk } from './pieces.ts';

/** Pages kept in memory: some 6 KiB each as a rule, 150 KiB at most. */
const RECENT_PAGES = 64;

/** A span of which a part is in its place, and the rest on its way there. */
export interface ArrivingSpan {
  /** Whether the chunk at `position` is in its place. */
  has(position: number): boolean;
  /** Resolves when more of it is, with false when nothing more will come. */
  more(): Promise<boolean>;
}

/** An artifact that lies in a file, whole or as far as it has arrived. */
export interface HeldFile {
  readonly key: ContentKey;
  readonly size: number;
  /** The spans that are whole in the file. Grows while it is being written; shrinks when a span turns out damaged. */
  readonly spans: Bitmap;
  /** What it belongs to, for people who look. */
  readonly release?: { readonly product: string; readonly version: string };
  /** Spans that are being brought over the backhaul. */
  readonly bringing?: ReadonlySet<number>;
  /** Those of them that are passed on while they come. */
  readonly arriving?: ReadonlyMap<number, ArrivingSpan>;
  /** From which base it is being rebuilt, as `Holding` has it. */
  readonly base?: ObjectId | 'none' | undefined;
  /** The index pages that are here. Whatever is here belongs to `key`. */
  page(id: ObjectId): Promise<VerifiedPage | undefined>;
  /** Where its bytes are. */
  readonly file: HashableFile;
}

/** Map pages and payloads that a device keeps: verified, by the artifact they make. */
export interface HeldDeltas {
  get(key: ContentKey, id: ObjectId): Uint8Array | undefined;
  holding(key: ContentKey, base: ObjectId): Bitmap | undefined;
}

/**
 * Serves artifacts out of the files of a device, each chunk hashed as it leaves: a file that changes behind our back
 * breaks off the answer, and its span is held no longer.
 */
export class FileContent implements ContentProvider {
  readonly #held = new Map<string, HeldFile>();
  readonly #buffers = new PieceBuffers();
  readonly #indexes = new ArtifactIndexes((key, id) => this.#page(key, id));
  /** Pages that were asked for last: who asks for a page asks for its span next. */
  readonly #recent = new Map<string, VerifiedPage>();
  readonly #deltas: HeldDeltas | undefined;
  /** How many wait for the rest of a span. */
  readonly #passing = new Map<ArrivingSpan, number>();

  /** `deltas`: what the device keeps of deltas, which are in no file. */
  constructor(deltas?: HeldDeltas) {
    this.#deltas = deltas;
  }

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
    return (await this.#page(key, id))?.encoded;
  }

  /** Only of what is held: the rest of what is kept is on its way out. */
  delta(key: ContentKey, id: ObjectId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#held.has(nameOf(key)) ? this.#deltas?.get(key, id) : undefined);
  }

  deltaHolding(key: ContentKey, base: ObjectId): Promise<Bitmap | undefined> {
    return Promise.resolve(this.#held.has(nameOf(key)) ? this.#deltas?.holding(key, base) : undefined);
  }

  async span(key: ContentKey, index: number, positions: string | undefined): Promise<readonly Run[] | undefined> {
    const held = this.#held.get(nameOf(key));
    const arriving = held?.spans.has(index) === true ? undefined : held?.arriving?.get(index);
    if (held === undefined || (arriving === undefined && !held.spans.has(index))) return undefined;
    const found = await this.#indexes.span(key, index);
    if (found === undefined) return undefined;
    const { span, chunks: all } = found;
    const wanted = positions === undefined ? [...all.keys()] : chunkSetOf(positions, all.length);
    const offsets = chunkOffsets(all);
    const placed = wanted.flatMap((position) => {
      const chunk = all[position];
      return chunk === undefined ? [] : [{ chunk, position, offset: span.offset + (offsets[position] ?? 0) }];
    });
    const length = placed.reduce((sum, { chunk }) => sum + chunk.length, 0);
    return [{ coding: 'identity', storedLength: length, rawLength: length, open: () => (arriving === undefined ? this.#checked(held, index, placed) : this.#passed(held, index, placed, arriving)) }];
  }

  async #page(key: ContentKey, id: ObjectId): Promise<VerifiedPage | undefined> {
    const held = this.#held.get(nameOf(key));
    if (held === undefined) return undefined;
    // Under the name of the artifact: knowing a page's hash opens nothing under another.
    const name = `${nameOf(key)}/${id}`;
    const page = this.#recent.get(name) ?? (await held.page(id));
    if (page !== undefined) remember(this.#recent, name, page, RECENT_PAGES);
    return page;
  }

  /** As they come. Throws `BUSY` when too many wait for them, `NOT_FOUND` when they cease to come. */
  async *#passed(held: HeldFile, span: number, placed: readonly (PlacedChunk & { readonly position: number })[], arriving: ArrivingSpan): AsyncGenerator<Uint8Array> {
    const passing = this.#passing.get(arriving) ?? 0;
    if (passing >= SERVE_MAX_PASSING) throw new ShoalError('BUSY', `span ${String(span)} is passed on to as many as can be while it comes; ask again later or ask another`, { retry: 'elsewhere' });
    this.#passing.set(arriving, passing + 1);
    try {
      for (let at = 0; at < placed.length; ) {
        const begin = at;
        for (let next = placed[at]; next !== undefined && arriving.has(next.position); next = placed[++at]);
        if (at > begin) yield* this.#checked(held, span, placed.slice(begin, at));
        else if (!(await arriving.more()) && !arriving.has(placed[at]?.position ?? 0)) throw new ShoalError('NOT_FOUND', `span ${String(span)} comes no further`, { retry: 'elsewhere' });
      }
    } finally {
      const left = (this.#passing.get(arriving) ?? 1) - 1;
      if (left === 0) this.#passing.delete(arriving);
      else this.#passing.set(arriving, left);
    }
  }

  async *#checked(held: HeldFile, span: number, placed: readonly PlacedChunk[]): AsyncGenerator<Uint8Array> {
    try {
      yield* verifiedPieces(placed, held.file, this.#buffers);
    } catch (error) {
      // Also when the disk fails to read: nobody is to ask for it here again.
      if (held.spans.has(span)) held.spans.delete(span);
      throw error;
    }
  }
}

function nameOf({ namespace, root }: ContentKey): string {
  return `${namespace}/${root}`;
}
