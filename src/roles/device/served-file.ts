import { Bitmap } from '../../core/bitmap.ts';
import type { Clock } from '../../core/clock.ts';
import type { ObjectId } from '../../core/ids.ts';
import type { ArtifactRecord } from '../../core/manifest.ts';
import type { ContentKey } from '../../core/wire.ts';
import type { ChunkRef } from '../../merkle/page.ts';
import { IndexReader } from '../../merkle/reader.ts';
import type { VerifiedPage } from '../../merkle/verify.ts';
import { ShoalError, isShoalError } from '../../core/errors.ts';
import type { ArrivingSpan, HeldFile } from '../../serve/file-content.ts';
import type { OpenFile } from '../../store/files.ts';
import type { PageFile } from '../../store/page-file.ts';

/** How long after the last sign a device counts as being at work, milliseconds. */
const WORKING_MS = 5_000;

/** An artifact in a file of this device, open for neighbours: the file by its inode, so that a rename changes nothing. */
export class ServedFile implements HeldFile {
  readonly key: ContentKey;
  readonly size: number;
  readonly spans: Bitmap;
  readonly bringing = new Set<number>();
  readonly arriving = new Map<number, ArrivingSpan>();
  /** What it belongs to. */
  readonly release: { readonly product: string; readonly version: string };
  /** From which base it is being rebuilt, `none`, or undefined while that is not known. */
  base: ObjectId | 'none' | undefined;
  readonly file: OpenFile;
  readonly #pages: PageFile;
  readonly #clock: Clock;
  #worked = -Infinity;

  constructor(key: ContentKey, size: number, spans: number, file: OpenFile, pages: PageFile, clock: Clock, { product, version }: ServedFile['release']) {
    this.key = key;
    this.size = size;
    this.spans = new Bitmap(spans);
    this.file = file;
    this.#pages = pages;
    this.#clock = clock;
    this.release = { product, version };
  }

  get working(): boolean {
    return !this.spans.complete && this.#clock.now() - this.#worked < WORKING_MS;
  }

  /** Notes a sign that more of it is on its way. */
  work(): void {
    this.#worked = this.#clock.now();
  }

  page(id: ObjectId): Promise<VerifiedPage | undefined> {
    return this.#pages.get(id);
  }

  /** Offers all of it. What is not as it should be shows when it is asked for. */
  addAll(): void {
    for (let span = 0; span < this.spans.count; span++) this.spans.add(span);
  }

  async close(): Promise<void> {
    await this.file.close();
    await this.#pages.close();
  }
}

/** The index of `artifact` from the pages that are here, and nowhere else. Undefined when the top page is not. */
export async function localIndex({ root, size }: ArtifactRecord, pages: PageFile): Promise<IndexReader | undefined> {
  const page = async (id: ObjectId): Promise<VerifiedPage> => {
    const kept = await pages.get(id);
    if (kept === undefined) throw new ShoalError('NO_SUCH_PAGE', `index page ${id.slice(0, 12)}… is not here`, { ids: { page: id }, retry: 'elsewhere' });
    return kept;
  };
  try {
    return await IndexReader.open(root, size, { page });
  } catch (error) {
    if (isShoalError(error, 'NO_SUCH_PAGE')) return undefined;
    throw error;
  }
}

/** All chunks in order, one page of them at a time. Throws what the source of the pages throws. */
export async function* eachChunk(index: IndexReader): AsyncGenerator<ChunkRef> {
  for await (const span of index.allSpans()) yield* (await index.leaf(span)).chunks;
}
